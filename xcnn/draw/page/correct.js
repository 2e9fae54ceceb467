/** A wrong answer put right: the picture is saved under the class it is chosen to be. */

import { save } from "./api.js";

/**
 * Drive the form of corrections.
 *
 * @param {object} parts `form`, `select` and `button`; `status`; `current()` gives `{name, values}` or null
 * @returns {{offer: (model: object) => void, reset: () => void}}
 */
export function correction({ form, select, button, status, current }) {
  let classes = [];

  function reset() {
    select.value = "";
    button.disabled = true;
  }

  function offer(model) {
    classes = model.classes;
    form.hidden = !model.examples;
    select.replaceChildren(new Option("…", ""), ...classes.map((name, k) => new Option(name, k)));
    reset();
  }

  select.addEventListener("change", () => {
    button.disabled = select.value === "";
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const picture = current();
    if (picture === null) {
      status.tell("There is no picture yet.");
      return;
    }
    const name = classes[select.value];
    button.disabled = true;
    try {
      const { saved, folder, counts } = await save(picture.name, picture.values, select.value);
      status.tell(`Saved as ${name}: ${folder}/${saved} (${counts[name]} of ${name} so far).`);
      reset();
    } catch (error) {
      status.fail(error, "save");
      button.disabled = false;
    }
  });
  return { offer, reset };
}
