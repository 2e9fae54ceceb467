/** Small things that the figures share: elements, and numbers as text. */

const MINUS = "\u2212";

/**
 * Make an element.
 * @param {string} tag Name and classes: "div.card.wide".
 * @param {object} [properties] Attributes; functions are listeners.
 * @param {...(Node|string|null)} children
 * @returns {HTMLElement}
 */
export function make(tag, properties = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.classList.add(...classes);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Return a number with three significant digits. */
export function number(value) {
  if (value === null || !Number.isFinite(value)) return "not finite";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text =
    size < 1e-3 || size >= 1e5
      ? power(size.toExponential(1))
      : size >= 1000
        ? Math.round(size).toLocaleString("en")
        : size.toFixed(Math.min(5, 2 - Math.floor(Math.log10(size) + 1e-9)));
  return value < 0 ? MINUS + text : text;
}

const SUPERSCRIPT = { "-": "\u207b", 0: "\u2070", 1: "\u00b9", 2: "\u00b2", 3: "\u00b3" };

function superscript(digits) {
  return [...digits].map((d) => SUPERSCRIPT[d] ?? String.fromCharCode(0x2070 + Number(d))).join("");
}

function power(text) {
  const [mantissa, exponent] = text.split("e");
  return `${mantissa} × 10${superscript(exponent.replace("+", ""))}`;
}

/** Return a number that is known to the next multiple of `step`, with the digits that this leaves. */
export function near(value, step) {
  if (!(step > 0)) return number(value);
  const places = Math.max(0, Math.min(5, Math.round(-Math.log10(step))));
  return places && Math.abs(value) >= step / 2 ? value.toFixed(places).replace("-", MINUS) : number(Math.round(value));
}

/**
 * Return how numbers that stand together are written: the same decimals, a common power of ten taken out.
 * @param {number[]} values
 * @param {number} [digits] Of the largest.
 * @returns {{text: function(number): string, power: string}}
 */
export function together(values, digits = 3) {
  const largest = Math.max(0, ...values.filter(Number.isFinite).map(Math.abs));
  const order = largest ? Math.floor(Math.log10(largest) + 1e-9) : 0;
  const out = order < -2 || order > 3 ? order : 0;
  const whole = values.every((v) => Number.isInteger(v));
  const places = whole ? 0 : Math.max(0, Math.min(digits, digits - 1 - (order - out)));
  const text = (value) => {
    if (value === null || !Number.isFinite(value)) return "nan";
    const shown = (Math.abs(value) / 10 ** out).toFixed(places);
    return Number(shown) === 0 ? "0" : (value < 0 ? MINUS : "") + shown;
  };
  return { text, power: out ? `× 10${superscript(String(out))}` : "" };
}

export const shapeText = (shape) => shape.join(" × ");
