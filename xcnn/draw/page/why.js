/** Why the answer is what it is: the gradient with respect to the picture, and what covering a part of it does. */

import { make, number } from "./figures.js";
import { asking } from "./latest.js";
import { css, signedScaleOf } from "./palette.js";
import { Plate, factorFor } from "./plate.js";

const SIDE = 252; // pixels of each picture
const INKED = 0.5; // share of the largest number from which on a pixel belongs to a stroke

/** One measure drawn over the outline of the strokes, with its scale and a caption. */
class Measure {
  constructor(id, name) {
    this.canvas = make("canvas", { id, role: "img", "aria-label": name });
    this.legend = new Plate().size(127, 1, 1, 8);
    [this.low, this.middle, this.high] = [make("span"), make("span"), make("span")];
    this.caption = make("p");
    this.element = make("figure.measure", {},
      make("h3", {}, name), this.canvas,
      make("div.range", { "aria-hidden": "true" }, this.low, this.legend.canvas, this.high), this.caption);
  }

  show(values, picture, caption) {
    this.caption.textContent = caption;
    const colours = signedScaleOf(values);
    const { bound } = colours;
    draw(this.canvas, values, colours, picture);
    [this.low.textContent, this.high.textContent] = [number(-bound), number(bound)];
    this.legend.numbers(Array.from({ length: 127 }, (_, k) => ((k - 63) / 63) * bound), colours);
  }
}

/** Draw numbers as squares, and around the strokes of the picture a line. */
function draw(canvas, values, colours, picture) {
  const [height, width] = [values.length, values[0].length];
  const factor = Math.max(1, Math.round(factorFor(Math.max(height, width), SIDE) * Math.min(2, devicePixelRatio)));
  canvas.width = width * factor;
  canvas.height = height * factor;
  const context = canvas.getContext("2d");
  values.forEach((row, r) => row.forEach((value, c) => {
    context.fillStyle = css(colours.rgb(value ?? 0));
    context.fillRect(c * factor, r * factor, factor, factor);
  }));
  if (!picture || picture.length !== height || picture[0].length !== width) return;
  context.strokeStyle = getComputedStyle(canvas).color;
  context.lineWidth = 1.5 * Math.min(2, devicePixelRatio);
  context.stroke(outline(picture, factor));
}

/** Return the path between the pixels of a picture (H, W) that are inked and those that are not. */
function outline(picture, factor) {
  const path = new Path2D();
  const level = INKED * Math.max(...picture.flat());
  const inked = (r, c) => (picture[r]?.[c] ?? 0) > level;
  const line = (x, y, dx, dy) => {
    path.moveTo(x * factor, y * factor);
    path.lineTo((x + dx) * factor, (y + dy) * factor);
  };
  for (let r = 0; r <= picture.length; r++) {
    for (let c = 0; c <= picture[0].length; c++) {
      if (inked(r, c) !== inked(r - 1, c)) line(c, r, 1, 0);
      if (inked(r, c) !== inked(r, c - 1)) line(c, r, 0, 1);
    }
  }
  return path;
}

/** Fills the section `root`; asks when it is seen, and again when the hand rests. */
export class Why {
  constructor(root, state) {
    Object.assign(this, { root, looked: null, stale: false, seen: false, found: null, picture: null });
    this.gradient = new Measure("why-gradient", "Gradient");
    this.product = new Measure("why-product", "Gradient × picture");
    this.occlusion = new Measure("why-occlusion", "Occlusion");
    this.title = make("h2");
    this.empty = make("p.note", {}, "Draw something: this is worked out from the drawing.");
    this.measures = make("div.measures", {}, this.gradient.element, this.product.element, this.occlusion.element);
    root.replaceChildren(make("div.titlebar", {}, this.title), this.empty, this.measures);
    this.ask = asking(() => state.why(), (found, looked) => this.take(found, looked));
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      this.refresh();
    }, { rootMargin: "200px" }).observe(root);
    this.show(null);
  }

  /** A drawing is done, or (null) there is none. */
  show(looked) {
    this.looked = looked;
    this.stale = looked !== null;
    if (!looked) {
      this.found = null;
      this.draw();
    }
    this.refresh();
  }

  refresh() {
    if (!this.stale || !this.seen) return;
    this.stale = false;
    this.ask(this.looked);
  }

  take(found, looked) {
    if (looked !== this.looked) return;
    this.found = found;
    const { values } = looked.input;
    this.picture = values.length === 1 ? values[0] : null;
    this.draw();
  }

  draw() {
    const { found } = this;
    this.title.textContent = found?.class ? `Why ${found.class}?` : "Why this answer?";
    this.empty.hidden = found !== null;
    this.measures.hidden = found === null;
    if (!found) return;
    const [gradient, covered] = [found.gradient, found.occlusion];
    this.gradient.show(gradient.values, this.picture,
      `Orange: were the pixel brighter, ${found.target} would rise; blue: it would fall.${
        this.picture ? " The line is the edge of the strokes." : ""}`);
    this.product.element.hidden = !found.product;
    if (found.product) {
      this.product.show(found.product.values, this.picture,
        `The gradient times the pixel: what the light that is there does for ${found.target} (orange) or against it (blue).`);
    }
    this.occlusion.element.hidden = !covered;
    if (!covered) return;
    const target = covered.target ?? `the probability of ${found.class}`;
    const from = covered.before === undefined ? "" : `, which is ${number(covered.before)}`;
    const square = `a square of ${covered.size} × ${covered.size} pixels`;
    this.occlusion.show(covered.values, this.picture,
      `Orange: covering ${square} around here lowers ${target}${from}; blue: raises it.`);
  }
}
