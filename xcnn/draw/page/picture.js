/** Strokes as curves, and the pad as the opaque picture that the network is asked about. */

/** The pad's side, in the unit in which strokes and brush widths are told. */
export const SIZE = 280;

const RUN = 32; // pieces of a stroke that are drawn as one path

const middle = (p, q) => ({ x: (p.x + q.x) / 2, y: (p.y + q.y) / 2 });

const count = (points) => Math.max(1, points.length - 2);

/**
 * A stroke's piece `i`: quadratic curves from midpoint to midpoint with the points as controls, so that it is smooth.
 *
 * @param {{x: number, y: number, width: number}[]} points
 * @returns {{from: object, control: object, to: object, width: number}}
 */
function piece(points, i) {
  const last = points.at(-1);
  if (points.length < 3) return { from: points[0], control: points[0], to: last, width: last.width };
  const control = points[i + 1];
  return {
    from: i === 0 ? points[0] : middle(points[i], control),
    control,
    to: i === points.length - 3 ? last : middle(control, points[i + 2]),
    width: control.width,
  };
}

function dot(context, { x, y, width }) {
  context.beginPath();
  context.arc(x, y, width / 2, 0, 2 * Math.PI);
  context.fill();
}

/** Draw the pieces from `start` to before `stop`; in a run, those of one width are one path. */
function trace(context, points, start, stop) {
  if (start === stop) return;
  if (start === 0) dot(context, points[0]);
  for (let i = start, width = null; i < stop; i++) {
    const { from, control, to, width: own } = piece(points, i);
    if (own !== width || i % RUN === 0) {
      if (i > start) context.stroke();
      context.beginPath();
      context.moveTo(from.x, from.y);
      context.lineWidth = width = own;
    }
    context.quadraticCurveTo(control.x, control.y, to.x, to.y);
  }
  context.stroke();
}

/** Strokes in one colour on a canvas that remembers them, so that only what is new has to be traced. */
export class Ink {
  #layer;
  #strokes = []; // that are on the layer, the last one as far as its piece `#traced`
  #traced = 0;

  constructor(side, colour, settings = {}) {
    Object.assign(this, { side, colour });
    const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
    this.#layer = canvas.getContext("2d", settings);
    this.#ready(this.#layer);
    this.#layer.scale(side / SIZE, side / SIZE);
  }

  /** Draw strokes, in the context's units, where SIZE is the layer's side. */
  draw(context, strokes) {
    if (this.#strokes.some((points, k) => points !== strokes[k])) this.#forget();
    strokes.slice(Math.max(0, this.#strokes.length - 1)).forEach((points) => this.#add(points, points === strokes.at(-1)));
    context.drawImage(this.#layer.canvas, 0, 0, SIZE, SIZE);
    if (strokes.length === 0) return;
    this.#ready(context);
    trace(context, strokes.at(-1), this.#traced, count(strokes.at(-1)));
  }

  /** Trace a stroke on the layer; of the last, which may go on, whole runs of pieces that stay as they are. */
  #add(points, last) {
    if (points !== this.#strokes.at(-1)) {
      this.#strokes.push(points);
      this.#traced = 0;
    }
    const stop = last ? RUN * Math.floor((count(points) - 1) / RUN) : count(points);
    trace(this.#layer, points, this.#traced, stop);
    this.#traced = stop;
  }

  #forget() {
    this.#strokes = [];
    this.#layer.clearRect(0, 0, SIZE, SIZE);
  }

  #ready(context) {
    Object.assign(context, { strokeStyle: this.colour, fillStyle: this.colour, lineCap: "round", lineJoin: "round" });
  }
}

/** Fit an image into the square of side SIZE, whole and in the middle; small ones keep their pixels sharp. */
export function place(context, image) {
  const scale = SIZE / Math.max(image.width, image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  context.imageSmoothingEnabled = scale < 3;
  context.drawImage(image, (SIZE - width) / 2, (SIZE - height) / 2, width, height);
}

const white = new Ink(SIZE, "#fff", { willReadFrequently: true });
const black = Object.assign(document.createElement("canvas"), { width: SIZE, height: SIZE });

/**
 * The strokes as a PNG of SIZE x SIZE pixels, white on black, whatever the screen and the theme.
 *
 * It is encoded here and now: `toBlob` waits for the browser to be idle, a whole frame while one draws.
 *
 * @returns {Blob}
 */
export function png(strokes) {
  const context = black.getContext("2d", { alpha: false, willReadFrequently: true });
  context.fillStyle = "#000";
  context.fillRect(0, 0, SIZE, SIZE);
  white.draw(context, strokes);
  const encoded = atob(black.toDataURL("image/png").split(",")[1]);
  return new Blob([Uint8Array.from(encoded, (letter) => letter.charCodeAt(0))], { type: "image/png" });
}
