/** What the microscope is given: the picture last looked at, and the questions that may be asked about it. */

import * as api from "./api.js";

/** Emits "model" (the reply of GET /model) and "looked" (of POST /layers, or null: nothing on the pad). */
export class Session extends EventTarget {
  #status;
  #model = null;
  #picture = null;

  constructor(status) {
    super();
    this.#status = status;
  }

  /** Another model is looked into. */
  use(model) {
    this.#model = model.name;
    this.#emit("model", model);
  }

  /** Another picture was looked at, or none is left. */
  look(found) {
    this.#picture = found?.input.values ?? null;
    this.#emit("looked", found);
  }

  explain(id, at) {
    return this.#told(api.explain(this.#model, this.#picture, id, at));
  }

  layer(id) {
    return this.#told(api.layer(this.#model, id));
  }

  why() {
    return this.#told(api.why(this.#model, this.#picture));
  }

  async #told(asked) {
    try {
      const reply = await asked;
      this.#status.mend("microscope");
      return reply;
    } catch (error) {
      this.#status.fail(error, "microscope");
      throw error;
    }
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
