/** The one line of messages: an error stays until what failed succeeds, a note for a few seconds. */

const STAY = 8000;

export class Status {
  #element;
  #timer = 0;
  #source = null;

  constructor(element) {
    this.#element = element;
  }

  /** Something was done. */
  tell(text) {
    this.#put(text, "note", null);
    this.#timer = setTimeout(() => this.#put("", "", null), STAY);
  }

  /** Something failed; `source` names what it was. */
  fail(error, source) {
    this.#put(error.message, "error", error.source ?? source);
  }

  /** The same thing succeeded, or is no longer wanted; whatever succeeds, the server is there again. */
  mend(source) {
    if (this.#source === source || this.#source === "server") this.#put("", "", null);
  }

  #put(text, kind, source) {
    clearTimeout(this.#timer);
    this.#source = source;
    this.#element.dataset.kind = kind;
    if (this.#element.textContent !== text) this.#element.textContent = text;
  }
}
