/** Auto, light or dark: the choice decides when the dark tokens hold, and is kept in this browser. */

const MEDIA = { auto: "(prefers-color-scheme: dark)", light: "not all", dark: "all" };
const KEY = "xcnn-theme";

function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function keep(choice) {
  try {
    localStorage.setItem(KEY, choice);
  } catch {
    // A browser that keeps nothing still shows the theme.
  }
}

/**
 * Drive the theme by a select.
 *
 * @param {HTMLSelectElement} select
 * @param {HTMLLinkElement} dark the style sheet of the dark tokens
 * @param {() => void} changed called whenever other colours hold
 */
export function theme(select, dark, changed) {
  function apply() {
    dark.media = MEDIA[select.value];
    document.documentElement.dataset.theme = matchMedia(dark.media).matches ? "dark" : "light";
    changed();
  }
  const choice = kept();
  select.value = choice in MEDIA ? choice : "auto";
  select.addEventListener("change", () => {
    keep(select.value);
    apply();
  });
  matchMedia(MEDIA.auto).addEventListener("change", apply);
  dark.addEventListener("load", apply);
  apply();
}
