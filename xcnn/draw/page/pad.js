/** The pad: strokes as vectors, by mouse, touch, pen and keys, with undo and redo; told by its event "change". */

import { Ink, SIZE, place, png } from "./picture.js";

const BLANK = { image: null, strokes: [] };
const UNDONE = 200; // steps that can be taken back

/**
 * Emits "change" when what is on it changes, and when a stroke ends.
 *
 * `detail.ended` is when a stroke ended, null while one goes on; `detail.anew` is false where the end alone is news.
 */
export class Pad extends EventTarget {
  #canvas;
  #ink = null;
  #page = BLANK;
  #past = [];
  #future = [];
  #stroke = null;
  #frame = 0;

  /** Width of the brush, in the pad's units; and the keyboard's pen `{x, y}`, or null where it isn't used. */
  brush = 20;
  cursor = null;

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    new ResizeObserver(() => this.redraw()).observe(canvas);
    this.#listen();
  }

  get empty() {
    return !this.#page.image && this.#page.strokes.length === 0;
  }

  /** The image that is looked at instead of a drawing, or null. */
  get image() {
    return this.#page.image;
  }

  get undoable() {
    return this.#past.length > 0;
  }

  get redoable() {
    return this.#future.length > 0;
  }

  get drawing() {
    return this.#stroke !== null;
  }

  /** What is on the pad as a file: the image as it came, or the drawing as a PNG. */
  picture() {
    return this.#page.image?.file ?? png(this.#page.strokes);
  }

  /** Show an image as the thing being looked at: `{file: Blob, bitmap: ImageBitmap}`. */
  show(image) {
    this.#turn({ image, strokes: [] });
  }

  clear() {
    if (!this.empty) this.#turn(BLANK);
  }

  undo() {
    this.#leaf(this.#past, this.#future);
  }

  redo() {
    this.#leaf(this.#future, this.#past);
  }

  /** Put the pen down; a drawing begins on an empty page where an image was. */
  begin(x, y, width = this.brush) {
    const stroke = [{ x, y, width }];
    this.#turn({ image: null, strokes: [...this.#page.strokes, stroke] }, stroke);
  }

  move(x, y, width = this.brush) {
    const last = this.#stroke.at(-1);
    if (Math.hypot(x - last.x, y - last.y) < 0.5) return;
    this.#stroke.push({ x, y, width });
    this.#frame ||= requestAnimationFrame(() => this.#changed(null));
  }

  /** Lift the pen, at `time` on the clock of `performance.now()`. */
  end(time) {
    this.#stroke = null;
    this.#changed(time, this.#frame !== 0);
  }

  /** Draw what is on the pad, at the screen's resolution and in the theme's colours. */
  redraw() {
    const canvas = this.#canvas;
    const side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (side === 0) return;
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const style = getComputedStyle(canvas);
    const context = canvas.getContext("2d");
    context.setTransform(side / SIZE, 0, 0, side / SIZE, 0, 0);
    context.clearRect(0, 0, SIZE, SIZE);
    if (this.#page.image) place(context, this.#page.image.bitmap);
    if (this.#ink?.side !== side || this.#ink.colour !== style.color) this.#ink = new Ink(side, style.color);
    this.#ink.draw(context, this.#page.strokes);
    if (this.cursor) this.#ring(context, style.getPropertyValue("--accent"));
  }

  #ring(context, colour) {
    const { x, y } = this.cursor;
    context.beginPath();
    context.arc(x, y, this.brush / 2 + 2, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: colour, lineWidth: this.drawing ? 3 : 1.5 });
    context.stroke();
  }

  #turn(page, stroke = null) {
    this.#past = [...this.#past.slice(1 - UNDONE), this.#page];
    this.#future = [];
    this.#page = page;
    this.#stroke = stroke;
    this.#changed(stroke ? null : performance.now());
  }

  #leaf(from, to) {
    if (from.length === 0) return;
    this.#stroke = null;
    to.push(this.#page);
    this.#page = from.pop();
    this.#changed(performance.now());
  }

  #changed(ended, anew = true) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.redraw();
    this.dispatchEvent(new CustomEvent("change", { detail: { ended, anew } }));
  }

  #listen() {
    const canvas = this.#canvas;
    let pointer = null;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      const unit = SIZE / canvas.clientWidth;
      const pressed = event.pointerType === "pen" && event.pressure > 0;
      const width = pressed ? this.brush * (0.4 + 1.2 * event.pressure) : this.brush;
      return [(event.clientX - box.left) * unit, (event.clientY - box.top) * unit, width];
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (pointer !== null || event.button !== 0) return;
      pointer = event.pointerId;
      canvas.setPointerCapture(pointer);
      this.cursor = null;
      this.begin(...place(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== pointer || !this.drawing) return;
      const fine = event.getCoalescedEvents?.() ?? [];
      for (const each of fine.length ? fine : [event]) this.move(...place(each));
    });
    for (const type of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(type, (event) => {
        if (event.pointerId !== pointer) return;
        pointer = null;
        if (this.drawing) this.end(event.timeStamp);
      });
    }
  }
}
