/** Drawing without a pointer, and the shortcuts: arrows move the pen, Space puts it down and lifts it. */

import { SIZE } from "./picture.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 8;
const inside = (value) => Math.min(SIZE, Math.max(0, value));

/** Keys on the canvas drive the pad's pen; arrows held together move it aslant. */
export function pen(pad, canvas) {
  const held = new Set();

  function step(fine) {
    const length = fine ? STEP / 4 : STEP;
    let { x, y } = pad.cursor ?? { x: SIZE / 2, y: SIZE / 2 };
    for (const key of held) {
      x = inside(x + length * ARROWS[key][0]);
      y = inside(y + length * ARROWS[key][1]);
    }
    pad.cursor = { x, y };
    if (pad.drawing) pad.move(x, y);
    else pad.redraw();
  }

  function press(time) {
    pad.cursor ??= { x: SIZE / 2, y: SIZE / 2 };
    if (pad.drawing) pad.end(time);
    else pad.begin(pad.cursor.x, pad.cursor.y);
  }

  function leave(time) {
    held.clear();
    if (pad.cursor && pad.drawing) pad.end(time);
    pad.cursor = null;
    pad.redraw();
  }

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) {
      held.add(event.key);
      step(event.shiftKey);
    } else if (event.key === " ") {
      if (!event.repeat) press(event.timeStamp);
    } else if (event.key === "Escape" && pad.drawing) {
      press(event.timeStamp);
    } else {
      return;
    }
    event.preventDefault();
  });
  canvas.addEventListener("keyup", (event) => held.delete(event.key));
  canvas.addEventListener("blur", (event) => leave(event.timeStamp));
  canvas.addEventListener("focus", () => {
    if (!canvas.matches(":focus-visible")) return;
    pad.cursor = { x: SIZE / 2, y: SIZE / 2 };
    pad.redraw();
  });
}

/** Ctrl+Z, Ctrl+Shift+Z (or Ctrl+Y) and Delete, wherever no field is being filled in. */
export function shortcuts(pad) {
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input:not([type=range], [type=checkbox]), select, textarea")) return;
    const key = event.key.toLowerCase();
    const command = event.ctrlKey || event.metaKey;
    if (command && key === "z") event.shiftKey ? pad.redo() : pad.undo();
    else if (command && key === "y") pad.redo();
    else if (!command && event.key === "Delete") pad.clear();
    else return;
    event.preventDefault();
  });
}
