/** The microscope: what every layer makes of the drawing, how each number comes about, and why the answer is what it is. */

import { Inspector } from "./inspect.js";
import { onTheme } from "./palette.js";
import { Strip } from "./strip.js";
import { Why } from "./why.js";

const REST = 250; // milliseconds after which the hand is said to rest

/**
 * Fill `#microscope`, `#inspect` and `#why`, and keep them at what is on the pad.
 * @param {EventTarget} state Fires "model" (detail: the reply of `GET /model`) and "looked" (detail: that of
 *     `POST /layers`, null for an empty pad); `explain(id, at)`, `layer(id)` and `why()` ask the server.
 */
export function attach(state) {
  const find = (id) => document.getElementById(id);
  const inspector = new Inspector(find("inspect"), state);
  const why = new Why(find("why"), state);
  const strip = new Strip(find("microscope"), {
    select: (card, channel, position) => inspector.open(card, channel, position),
    switched: () => inspector.outline(),
  });
  let looked = null;
  let frame = 0;
  let resting = 0;
  let models = 0;

  function draw() {
    frame = 0;
    strip.show(looked);
    inspector.show(looked !== null);
  }

  function rest() {
    strip.say();
    why.show(looked);
  }

  state.addEventListener("model", ({ detail }) => {
    looked = null;
    inspector.close();
    strip.build(detail);
    rest();
    describe(detail);
  });

  state.addEventListener("looked", ({ detail }) => {
    looked = detail;
    frame ||= requestAnimationFrame(draw);
    clearTimeout(resting);
    resting = setTimeout(rest, detail ? REST : 0);
  });

  /** Ask for kernels and dead channels, one layer after the other. */
  async function describe({ layers }) {
    const model = ++models;
    for (const { id } of layers) {
      if (!strip.cards.has(id)) continue;
      let detail;
      try {
        detail = await state.layer(id);
      } catch {
        continue; // what the server has to say, the next drawing asks again
      }
      if (model !== models) return;
      strip.tell(detail);
      inspector.tell(detail.id);
    }
    strip.say();
  }

  onTheme(() => {
    strip.draw();
    inspector.draw();
    why.draw();
  });
}
