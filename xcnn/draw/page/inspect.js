/** The inspector: one map enlarged with its kernel, and how the pixel that is pointed at comes about. */

import { make, number, shapeText } from "./figures.js";
import { asking } from "./latest.js";
import { Plate, factorFor, kernels, matrix, tiled } from "./plate.js";
import { signedScaleOf } from "./palette.js";
import { Working } from "./working.js";

const SIDE = 264; // pixels of the enlarged map
const APART = 24; // kernels up to which each has its own number
const TILE = 36;
const ROW = 13; // height of a kernel that is one row
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Fills the panel `root`; it is hidden until a map is chosen. */
export class Inspector {
  constructor(root, state) {
    Object.assign(this, { root, state, card: null, channel: null, at: null, told: null, drawn: false, chosen: false });
    this.plate = new Plate();
    this.plate.canvas.id = "inspect-map";
    this.plate.canvas.tabIndex = 0;
    this.plate.canvas.setAttribute("role", "application");
    this.dot = make("i.pixel");
    this.mark = make("i.pixel");
    this.title = make("h2");
    this.value = make("p.value", { "aria-live": "polite" });
    this.kernel = make("figure.kernel");
    this.working = new Working();
    const facts = make("div.facts", {}, this.value, this.kernel);
    this.map = make("div", {},
      make("span.plate", {}, this.plate.canvas, this.dot),
      make("p.hint", {}, "Point at a pixel, or move with the arrow keys."));
    root.replaceChildren(
      make("div.titlebar", {}, this.title, make("button", { type: "button", click: () => this.close(true) }, "Close")),
      make("div.bench", {}, make("div.specimen", {}, this.map, facts), this.working.element));
    root.hidden = true;
    this.ask = asking((id, at) => state.explain(id, at), (told, id, at) => this.tellOf(told, id, at));
    this.listen();
  }

  listen() {
    const { canvas } = this.plate;
    const move = (event) => this.card && this.go(this.card.pointed(event, this.channel, canvas));
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      move(event);
    });
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in WAYS) || !this.at || this.card.kind === "units") return;
      event.preventDefault();
      const { x, y } = this.card.pixel(this.at);
      const [dx, dy] = WAYS[event.key];
      const inside = (v, count) => Math.min(count - 1, Math.max(0, v));
      this.go(this.card.position(this.channel, inside(x + dx, this.card.width), inside(y + dy, this.card.height)));
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.card) return;
      const { activeElement: active } = document;
      if (this.root.contains(active) || this.card.element.contains(active)) this.close(true);
    });
  }

  /** Show a map of a card, at a position or where it is largest. */
  open(card, channel, at) {
    this.leave();
    Object.assign(this, { card, channel, told: null, chosen: at !== null });
    this.at = card.bytes ? at ?? card.strongest(channel) : null;
    card.press(channel);
    this.here = new AbortController();
    const { button } = card.maps[channel];
    button.addEventListener("pointermove", (event) => this.go(card.pointed(event, channel)), { signal: this.here.signal });
    button.querySelector(".plate").append(this.mark);
    this.root.hidden = false;
    this.working.clear();
    this.map.hidden = card.kind === "units";
    if (card.kind !== "units") {
      this.plate.size(card.width, card.height, Math.max(1, factorFor(Math.max(card.width, card.height), SIDE)));
    }
    this.draw();
    if (this.at) this.go(this.at, true);
    (card.kind === "units" ? this.root.querySelector("button") : this.plate.canvas).focus({ preventScroll: true });
    this.root.scrollIntoView({ block: "nearest" });
  }

  /** Take all marks off the strip. */
  leave() {
    this.here?.abort();
    this.mark.remove();
    this.card?.press(null);
    this.card?.source?.clear();
  }

  /** Hide the panel; `back` gives the focus to the map it was opened from. */
  close(back = false) {
    if (!this.card) return;
    const { button } = this.card.maps[this.channel];
    this.leave();
    this.root.hidden = true;
    Object.assign(this, { card: null, channel: null, at: null, told: null });
    if (back) button.focus();
  }

  /** Another drawing: `drawn` is false for an empty pad. */
  show(drawn) {
    this.drawn = drawn;
    if (!this.card) return;
    if (!drawn) Object.assign(this, { told: null, at: null, chosen: false });
    else if (!this.chosen) this.at = this.card.strongest(this.channel);
    this.draw();
    if (this.at) this.go(this.at, true);
  }

  /** Point at a position, and ask how its number comes about. */
  go(at, again = false) {
    if (!at || !this.drawn || (!again && String(at) === String(this.at))) return;
    this.at = at;
    this.chosen ||= !again;
    this.point();
    this.ask(this.card.layer.id, at);
  }

  tellOf(told, id, at) {
    if (this.card?.layer.id !== id || !this.drawn || at[0] !== this.at?.[0]) return;
    this.told = told;
    this.draw();
  }

  /** Kernels have come for a layer. */
  tell(id) {
    if (this.card?.layer.id === id) this.draw();
  }

  /** Draw what is known, in the colours that hold now. */
  draw() {
    const { card, channel, told } = this;
    if (!card) return;
    const own = kernels(card.detail, card.flattened);
    this.title.textContent = `Layer ${card.layer.id}, ${card.layer.title}: ${card.named(this.at ?? [channel])}`;
    this.plate.canvas.setAttribute("aria-label", `${this.title.textContent}, enlarged. Arrow keys move from pixel to pixel.`);
    if (card.kind !== "units") card.drawMap(this.plate, channel);
    this.drawKernel(own, told?.position[0] ?? channel);
    if (told) this.working.show(told, card, own?.colours ?? null);
    else this.working.clear();
    this.point();
    this.outline();
  }

  /** Mark the pixel, here and on the strip, and say its number. */
  point() {
    const { card, at, told } = this;
    for (const mark of [this.dot, this.mark]) {
      mark.hidden = !at || card.kind === "units";
      if (mark.hidden) continue;
      const { x, y } = card.pixel(at);
      const share = (value, whole) => `${(100 * value) / whole}%`;
      Object.assign(mark.style, {
        left: share(x, card.width), top: share(y, card.height), width: share(1, card.width), height: share(1, card.height),
      });
    }
    this.mark.hidden ||= Boolean(card.kernels);
    const place = at && (card.kind === "maps" ? `row ${at[1]}, column ${at[2]}` : card.named(at));
    const exact = told && String(told.position) === String(at);
    this.value.textContent = at ? `${place}: ${exact ? number(told.value) : "…"}` : "Nothing is drawn yet.";
  }

  /** Outline what the pixel sees, on the maps of the layer before. */
  outline() {
    const { card, told } = this;
    if (!card?.source) return;
    card.source.clear();
    if (!told) return;
    const { source, layer } = card;
    if (told.window && source.kind === "maps") {
      source.outline(told.channels ?? [told.position[0]], told.window.rows, told.window.columns);
    } else if (source.kind !== "units" && told.source.length === source.layer.output_shape.length && layer.id !== null) {
      const { x, y } = source.pixel(told.source);
      source.outline([source.kind === "maps" ? told.source[0] : 0], [y, y], [x, x]);
    }
  }

  /** Draw the kernel of a filter, or the weights of a unit: one matrix for each channel of the input. */
  drawKernel(own, which) {
    const { card, told } = this;
    const { min, max, matrices, first, colours } = own ? ofFilter(own, which, card) : asTold(told);
    this.kernel.hidden = !matrices;
    if (!matrices) return;
    const [{ width, height }] = matrices;
    const size = matrices.length > 1 ? [matrices.length, height, width] : [height, width];
    const name = card.first === "unit" ? "weights" : "kernel";
    const drawn = matrices.length > APART
      ? [drawnAs(tiled(matrices), colours, SIDE)]
      : matrices.map((matrix, k) => make("span.tile", {},
        drawnAs(matrix, colours, matrices.length > 1 ? TILE : Math.max(2 * TILE, Math.min(SIDE, 8 * width))),
        matrices.length > 1 ? make("small", {}, String(first + k)) : ""));
    this.kernel.replaceChildren(
      make("figcaption", {}, `${name} ${shapeText(size)}, ${number(min)} to ${number(max)}`),
      make("div.tiles", {}, ...drawn));
  }
}

/** Return a filter's kernel as `GET /layers/{id}` told it, and the first channel that it sees. */
function ofFilter({ of, colours }, which, { detail, layer }) {
  const { shape } = detail.kernels;
  const groups = shape.length === 4 ? layer.input_shape[0] / shape[1] : 1;
  const first = Math.floor((which * groups) / shape[0]) * of[which].length;
  const { min, max } = extent(of[which]);
  return { matrices: of[which], first, colours, min, max };
}

/** Return the kernel that an explanation tells of: that of a layer which has too many to send them all. */
function asTold(told) {
  if (told?.kind !== "convolution" || !told.kernel.length) return {};
  const matrices = told.kernel.map(matrix);
  const { min, max } = extent(matrices);
  return { matrices, first: told.channels[0], colours: signedScaleOf(told.kernel), min, max };
}

function extent(matrices) {
  const all = matrices.flatMap(({ values }) => values);
  return { min: Math.min(...all), max: Math.max(...all) };
}

/** Return a canvas of a matrix, about `target` pixels large. */
function drawnAs({ width, height, values }, colours, target) {
  const factor = Math.max(1, factorFor(Math.max(width, height), target));
  const plate = new Plate().size(width, height, factor, height === 1 ? ROW : factor);
  plate.numbers(values, colours);
  return plate.canvas;
}
