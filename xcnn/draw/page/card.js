/** One layer of the microscope: its name and size, its maps as they are now, its kernels, what is dead in it. */

import { make, near, number, shapeText } from "./figures.js";
import { packed, scale, table } from "./palette.js";
import { Plate, factorFor, tiled } from "./plate.js";

const HEIGHT = 236; // pixels for the maps of a layer
const BARS = 20; // so many numbers of a flat output get a bar each; more are cells of one picture
const ROWS = 11; // of bars
const BAR = 96;
const TALL = 13;
const CELL = 16;
const LARGEST = 9; // pixels of the screen for one of a map
const SIDES = [[1, 112], [8, 72], [16, 56], [32, 44], [64, 30], [Infinity, 24]]; // of a map, by how many there are
const FIRST = { Conv2D: "filter", ConvTranspose2D: "filter", Dense: "unit" };

/** Return how the outputs of a layer are laid out: which kind, how many maps, and of what size. */
function layout(shape) {
  if (shape.length === 3) {
    const [count, height, width] = shape;
    const factor = Math.min(LARGEST, factorFor(Math.max(height, width), SIDES.find(([most]) => count <= most)[1]));
    const gap = count > 32 ? 4 : 6;
    const rows = Math.max(1, Math.floor((HEIGHT + gap) / (height * factor + gap)));
    return { kind: "maps", count, width, height, factor, gap, columns: Math.ceil(count / rows) };
  }
  const count = shape.reduce((a, b) => a * b, 1);
  if (count <= BARS) return { kind: "units", count, width: BAR, height: 1, factor: 1, gap: 16, columns: Math.ceil(count / ROWS) };
  const width = Math.ceil(Math.sqrt(count));
  const factor = Math.max(2, Math.min(CELL, Math.floor(HEIGHT / width)));
  return { kind: "cells", count: 1, width, height: Math.ceil(count / width), factor, columns: 1, cells: count };
}

/** A card; `select(card, channel, position)` is called when a map is clicked. */
export class Card {
  constructor(layer, { classes = null, flattened = null, select = null, prefix = "" }) {
    Object.assign(this, { layer, classes, flattened, prefix, bytes: null, min: 0, max: 0, detail: null });
    Object.assign(this, layout(layer.output_shape));
    this.first = FIRST[layer.type] ?? (this.kind === "maps" ? "channel" : "feature");
    this.certain = /Softmax|Sigmoid/.test(layer.title) && this.kind !== "maps";
    this.silent = new Set();
    this.dead = new Set();
    this.state = make("p.state");
    this.low = make("span");
    this.high = make("span");
    this.legend = new Plate().size(64, 1, 1, 8);
    this.grid = make(`div.grid.${this.kind}`, { role: "group", "aria-label": this.name() });
    this.grid.style.setProperty("--columns", this.columns);
    this.grid.style.setProperty("--between", `${this.gap ?? 0}px`);
    this.maps = Array.from({ length: this.count }, (_, channel) => this.map(channel, select));
    this.grid.append(...this.maps.map(({ button }) => button));
    this.range = make("div.range", { "aria-hidden": "true" }, this.low, this.legend.canvas, this.high);
    const heading = make("h3", { title: layer.path ?? "" });
    if (layer.id !== null) heading.append(make("span.number", {}, String(layer.id)), " ");
    heading.append(layer.title);
    this.element = make("section.layer", { "aria-label": this.name() },
      heading, make("p.size", {}, this.sizes()), this.state, this.grid, this.range);
    if (layer.id === null) this.element.classList.replace("layer", "picture");
    else this.element.dataset.id = layer.id;
    if (select) this.rove();
    this.lay(false);
  }

  name() {
    return this.layer.id === null ? "the picture" : `layer ${this.layer.id}, ${this.layer.title}`;
  }

  sizes() {
    const count = this.layer.parameters;
    const size = shapeText(this.layer.output_shape);
    return count ? `${size} · ${count.toLocaleString("en")} parameter${count > 1 ? "s" : ""}` : size;
  }

  /** Make one map: a button with a canvas, and for bars its name and number. */
  map(channel, select) {
    const plate = new Plate();
    const button = make(select ? "button.map" : "div.map", { type: select && "button", "data-channel": channel });
    const value = this.kind === "units" ? make("span.value") : null;
    if (value) button.append(make("span.name", {}, this.classes?.[channel] ?? String(channel)));
    button.append(make("span.plate", {}, plate.canvas, make("i.window")));
    if (value) button.append(value);
    if (select) {
      button.tabIndex = channel ? -1 : 0;
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", (event) => {
        const byHand = event.detail > 0 && this.kind === "cells"; // keys point at no number
        select(this, channel, byHand ? this.pointed(event, channel) : null);
      });
    }
    return { button, plate, value, canvas: plate.canvas };
  }

  /** Arrow keys go from map to map; Tab goes on to the next layer. */
  rove() {
    this.grid.addEventListener("keydown", (event) => {
      const from = this.maps.findIndex(({ button }) => button === event.target.closest(".map"));
      const ways = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns };
      const to = event.key === "Home" ? 0 : event.key === "End" ? this.count - 1 : from + (ways[event.key] ?? 0);
      if (to === from || !this.maps[to]) return;
      event.preventDefault();
      this.focusable(to);
      this.maps[to].button.focus();
    });
  }

  focusable(channel) {
    this.maps.forEach(({ button }, k) => (button.tabIndex = k === channel ? 0 : -1));
  }

  /** Give the canvases their size, for maps or for kernels. */
  lay(kernels) {
    this.kernels = kernels;
    this.element.classList.toggle("kernels", Boolean(kernels));
    const side = Math.max(this.width, this.height) * this.factor;
    const tall = this.kind === "units" ? TALL : this.factor;
    for (const [channel, { plate }] of this.maps.entries()) {
      const shown = kernels && this.kernel(channel);
      if (!shown) plate.size(this.width, this.height, this.factor, tall);
      else {
        const factor = Math.max(1, factorFor(Math.max(shown.width, shown.height), side));
        plate.size(shown.width, shown.height, factor, shown.height === 1 ? tall : factor);
      }
    }
  }

  /** Return all kernels of a filter as one matrix; of cells, those of all units. */
  kernel(channel) {
    if (this.kind === "cells") return tiled(this.kernels.of.map((own) => tiled(own)));
    const own = this.kernels.of[channel];
    return tiled(own, this.kind === "units" ? Math.min(own.length, 8) : undefined);
  }

  /** Show what the layer made of a picture: {bytes, min, max, silent, exact}; null is no picture. */
  show(seen) {
    this.bytes = seen?.bytes ?? null;
    this.min = seen?.min ?? 0;
    this.max = seen?.max ?? 0;
    this.silent = new Set(seen?.silent);
    this.exact = null;
    const close = (value, k) => Math.abs(value - this.at(k)) <= this.step(); // calibrated probabilities are not
    if (seen?.exact?.every(close)) this.exact = seen.exact;
    this.draw(false);
  }

  /** Draw all maps, or the kernels, which stay the same from drawing to drawing. */
  draw(again = true) {
    this.colours = scale(Math.min(0, this.min), this.certain ? 1 : Math.max(0, this.max));
    const { colours, bytes, kernels } = this;
    this.grid.style.setProperty("--zero", `${(-100 * colours.min) / (colours.max - colours.min || 1)}%`);
    const painted = table(colours, this.min, this.max);
    this.maps.forEach(({ button, plate, value }, channel) => {
      if (!kernels) this.drawMap(plate, channel, painted);
      else if (again) plate.numbers(this.kernel(channel).values, kernels.colours);
      if (value) value.textContent = bytes ? this.written(channel) : "";
      button.classList.toggle("silent", this.silent.has(channel) && this.kind !== "cells");
    });
    this.measure(kernels ? kernels.colours : bytes && this.kind !== "units" && { ...colours, min: this.min, max: this.max });
  }

  /** Draw the number of a bar, from 0 to where it ends. */
  bar({ pixels, context, image }, value) {
    const { min, max, rgb } = this.colours;
    const place = (v) => Math.round(((v - min) / (max - min || 1)) * BAR);
    const [start, stop] = [place(0), place(value)].sort((a, b) => a - b);
    pixels.fill(0);
    pixels.fill(packed(rgb(value < 0 ? min : this.colours.bound)), start, Math.max(stop, start + 1));
    context.putImageData(image, 0, 0);
  }

  /** Show the range of the colours. */
  measure(colours) {
    this.range.classList.toggle("empty", !colours);
    if (!colours) return;
    const { min, max } = colours;
    this.low.textContent = number(min);
    this.high.textContent = number(max);
    this.legend.numbers(Array.from({ length: 64 }, (_, k) => min + ((max - min) * k) / 63), colours);
  }

  /** Take in what `GET /layers/{id}` tells. */
  tell(detail) {
    this.detail = detail;
    this.dead = new Set(this.kind === "cells" ? [] : detail.dead);
    this.maps.forEach(({ button }, channel) => button.classList.toggle("dead", this.dead.has(channel)));
  }

  /** Say in words what the colours say; costs more than drawing, so it is done when the hand rests. */
  say() {
    const total = this.layer.output_shape[0];
    const dead = this.detail?.dead?.length;
    const silent = this.bytes ? [...this.silent].filter((c) => !this.detail?.dead?.includes(c)).length : 0;
    const rest = this.unsent ? "kernels too large to send" : silent ? `${silent} silent` : "";
    this.state.replaceChildren(
      dead ? make("span.some", {}, `${dead} of ${total} dead`) : "", dead && rest ? " · " : "", rest);
    this.maps.forEach(({ button }, channel) => {
      if (button.type) button.setAttribute("aria-label", `${this.name()}, ${this.words(channel)}`);
    });
  }

  words(channel) {
    const area = this.width * this.height;
    const own = this.bytes?.subarray(channel * area, (channel + 1) * area);
    const most = own && this.min + ((this.max - this.min) * own.reduce((a, b) => Math.max(a, b), 0)) / 255;
    if (this.kind === "cells") return `${this.cells} numbers${own ? `: largest ${number(this.max)}` : ""}`;
    const name = `${this.first} ${channel}`;
    if (this.dead.has(channel)) return `${name}: dead, 0 for all ${this.detail.sample} images of the sample`;
    if (!own) return name;
    if (this.silent.has(channel)) return `${name}: silent, 0 everywhere for this drawing`;
    return this.kind === "units" ? `${name}: ${this.written(channel)}` : `${name}: largest ${near(most, this.step())}`;
  }

  /** The number at a place of the whole output: exact where that is known, else to what a byte tells. */
  at(place) {
    return this.exact?.[place] ?? this.min + ((this.max - this.min) * this.bytes[place]) / 255;
  }

  /** The number of a bar, in digits that are known. */
  written(place) {
    return this.exact ? this.exact[place].toFixed(3) : near(this.at(place), this.step());
  }

  step() {
    return (this.max - this.min) / 255;
  }

  /** The position, as the server counts, of a pixel of a map. */
  position(channel, x, y) {
    if (this.kind === "maps") return [channel, y, x];
    return this.kind === "units" ? [channel] : [Math.min(this.cells - 1, y * this.width + x)];
  }

  /** The pixel of a position. */
  pixel(position) {
    if (this.kind === "maps") return { x: position[2], y: position[1] };
    return { x: position[0] % this.width, y: Math.floor(position[0] / this.width) };
  }

  /** The position that a pointer is over, on its map of the card or on another canvas that shows it. */
  pointed({ clientX, clientY }, channel, canvas = this.maps[channel].canvas) {
    if (this.kind === "units" || (this.kernels && canvas === this.maps[channel].canvas)) return null;
    const box = canvas.getBoundingClientRect();
    const pixel = (at, start, length, count) => Math.min(count - 1, Math.max(0, Math.floor(((at - start) / length) * count)));
    const x = pixel(clientX, box.left, box.width, this.width);
    const y = pixel(clientY, box.top, box.height, this.height);
    return this.position(channel, x, y);
  }

  /** Draw a map on a plate of its size, its own or another. */
  drawMap(plate, channel, painted = table(this.colours, this.min, this.max)) {
    if (!this.bytes) plate.fill(this.colours.rgb(0));
    else if (this.kind === "units") this.bar(plate, this.at(channel));
    else plate.bytes(this.bytes, channel * this.width * this.height, painted);
  }

  /** Which map, or of a flat output which number, a position lies in. */
  named([first]) {
    return `${this.first} ${this.classes?.[first] ?? first}`;
  }

  /** Where a map is largest in size: the position to begin with. */
  strongest(channel) {
    if (this.kind === "units") return [channel];
    const area = this.kind === "cells" ? this.cells : this.width * this.height;
    let best = 0;
    for (let k = 0; k < area; k++) {
      if (Math.abs(this.at(channel * area + k)) > Math.abs(this.at(channel * area + best))) best = k;
    }
    return this.position(channel, best % this.width, Math.floor(best / this.width));
  }

  /** Outline what another layer sees of the maps `channels`: rows and columns, both ends included. */
  outline(channels, rows, columns) {
    const seen = new Set(channels);
    const share = (value, whole) => `${(100 * value) / whole}%`;
    const { style } = this.grid;
    style.setProperty("--left", share(columns[0], this.width));
    style.setProperty("--top", share(rows[0], this.height));
    style.setProperty("--right", share(this.width - 1 - columns[1], this.width));
    style.setProperty("--bottom", share(this.height - 1 - rows[1], this.height));
    this.maps.forEach(({ button }, channel) => button.classList.toggle("looked-at", !this.kernels && seen.has(channel)));
  }

  /** Take the outline off. */
  clear() {
    this.maps.forEach(({ button }) => button.classList.remove("looked-at"));
  }

  press(channel) {
    this.maps.forEach(({ button }, k) => button.setAttribute("aria-pressed", String(k === channel)));
    if (channel !== null) this.focusable(channel);
  }
}
