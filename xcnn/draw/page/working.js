/** How one number of a layer's output comes about, worked out: a convolution, a pooling, a dense unit, or in words. */

import { make, number, together } from "./figures.js";
import { Grid, products, sum } from "./grids.js";
import { scaleOf, signedScaleOf } from "./palette.js";

const CHANNELS = matchMedia("(max-width: 44rem)").matches ? 1 : 3; // of a convolution, shown at first

const named = (card) => (card ? (card.layer.id === null ? "the picture" : `layer ${card.layer.id}`) : "its input");
const span = (name, [from, to]) => (from === to ? `${name} ${from}` : `${name}s ${from} to ${to}`);

/** Return the bias, z and the activation as the last rows of a sum. */
function ending({ bias, z, activation, y }) {
  const rows = [["+", "bias", bias], ["=", "z", z]];
  return activation ? [...rows, ["", `y = ${activation}(z)`, y]] : [rows[0], ["=", "y", y]];
}

/** The part of the inspector that shows the reply of `POST /layers/{id}`; what stays the same isn't made anew. */
export class Working {
  constructor() {
    this.sees = make("p.sees");
    this.body = make("div.workings");
    this.element = make("div.working", {}, this.sees, this.body);
    this.clear();
  }

  clear() {
    Object.assign(this, { key: null, rows: [], most: CHANNELS, told: null });
    this.sees.textContent = "";
    this.body.replaceChildren();
  }

  /** Show a reply; `card` is the layer's, `colours` the scale of its kernels or null. */
  show(told, card, colours) {
    this.told = [told, card, colours];
    const { window: seen } = told;
    const where = seen && `${span("row", seen.rows)}, ${span("column", seen.columns)}`;
    const padding = told.inside?.flat().filter((inside) => !inside).length;
    this.sees.textContent = where
      ? `It sees ${where} of ${named(card.source)}${padding ? `; ${padding} of these pixels are padding (·)` : ""}.`
      : "";
    this[told.kind in Working.prototype ? told.kind : "other"](told, card, colours);
  }

  /** Keep what is there for another number of the same layer; else begin anew by `make`. */
  once(key, build) {
    if (this.key === key) return;
    this.key = key;
    this.body.replaceChildren(...build());
  }

  convolution(told, card, colours) {
    const order = told.products
      .map((rows, k) => [k, rows.flat().reduce((total, v) => total + Math.abs(v ?? 0), 0)])
      .sort((a, b) => b[1] - a[1])
      .map(([k]) => k);
    const shown = order.slice(0, this.most).sort((a, b) => a - b);
    const rest = told.sums.length + (told.others_count ?? 0) - shown.length;
    this.once(`convolution ${told.id} ${shown.length}`, () => this.channelRows(shown.length));
    const pick = (key) => shown.map((k) => told[key][k]);
    const values = { patch: pick("patch"), kernel: pick("kernel"), products: pick("products") };
    const style = Object.fromEntries(Object.entries(values).map(([key, all]) => [key, together(all.flat(2))]));
    const scales = {
      patch: card.source?.colours ?? scaleOf(values.patch),
      kernel: colours ?? signedScaleOf(values.kernel),
      products: signedScaleOf(values.products),
    };
    shown.forEach((k, row) => {
      for (const [key, grid] of Object.entries(this.rows[row])) {
        const inside = key === "kernel" ? null : told.inside;
        grid.show(values[key][row], scales[key], { inside, style: style[key] });
      }
      this.rows[row].patch.say(`channel ${told.channels[k]} of ${named(card.source)}`);
    });
    this.more.hidden = rest === 0 || shown.length === told.sums.length;
    this.more.textContent = `and ${rest} more channels`;
    const own = shown.map((k) => told.sums[k]);
    const name = (k) =>
      told.sums.length > 1 ? `products of channel ${told.channels[k]}` : `sum of ${told.products[k].flat().length} products`;
    const rows = shown.map((k, row) => [row ? "+" : "", name(k), told.sums[k]]);
    if (rest) rows.push(["+", `${rest} other channel${rest > 1 ? "s" : ""}`, told.sum - own.reduce((a, b) => a + b, 0)]);
    this.total.replaceChildren(sum([...rows, ...ending(told)]));
  }

  channelRows(count) {
    this.rows = Array.from({ length: count }, () => ({
      patch: new Grid("patch"), kernel: new Grid("kernel"), products: new Grid("products"),
    }));
    this.total = make("div.total");
    this.more = make("button.more", { type: "button", click: () => this.unfold() });
    const sign = (text) => make("span.operator", {}, text);
    const lines = this.rows.map(({ patch, kernel, products: own }) =>
      make("div.line", {}, patch.element, sign("×"), kernel.element, sign("="), own.element));
    return [make("div.lines", {}, ...lines, this.more), this.total];
  }

  /** Show more channels of a wide layer. */
  unfold() {
    this.most += 8;
    this.show(...this.told);
  }

  pooling(told, card) {
    this.once(`pooling ${told.id}`, () => {
      this.rows = [{ patch: new Grid("window") }];
      this.total = make("div.total");
      return [make("div.lines", {}, this.rows[0].patch.element), this.total];
    });
    const [{ patch }] = this.rows;
    patch.element.hidden = !told.patch;
    patch.say(`channel ${told.position[0]} of ${named(card.source)}`);
    if (told.patch) {
      patch.show(told.patch, card.source?.colours ?? scaleOf(told.patch), { inside: told.inside, mark: told.winner });
    }
    const count = told.inside?.flat().filter(Boolean).length ?? told.count;
    const line = told.mean
      ? `The mean of ${told.count} pixels: ${number(told.y)}.`
      : `The largest of ${count} pixels: ${number(told.y)}, at row ${told.source[1]}, column ${told.source[2]}.`;
    this.total.replaceChildren(make("p", {}, line), ...(told.left_out ? [make("p", {}, told.left_out)] : []));
  }

  dense(told, card, colours) {
    this.once(null, () => []);
    const { flattened } = card;
    const place = (f) => {
      const [, height, width] = flattened;
      const [channel, rest] = [Math.floor(f / (height * width)), f % (height * width)];
      return `channel ${channel}, row ${Math.floor(rest / width)}, column ${f % width}`;
    };
    const terms = told.terms.map((term) => ({
      ...term, feature: flattened ? `${term.feature}  (${place(term.feature)})` : String(term.feature),
    }));
    const scales = {
      x: card.source?.colours ?? scaleOf(terms.map(({ x }) => x)),
      w: colours ?? signedScaleOf(terms.map(({ w }) => w)),
      product: signedScaleOf(terms.map(({ product }) => product)),
    };
    const largest = told.sum - (told.others ?? 0);
    const rows = told.others_count
      ? [["", `${terms.length} largest products`, largest], ["+", `${told.others_count} other products`, told.others]]
      : [["", `sum of ${terms.length} products`, told.sum]];
    this.body.replaceChildren(products(terms, scales), make("div.total", {}, sum([...rows, ...ending(told)])));
  }

  other(told) {
    this.once(null, () => []);
    const own = told.text.slice(1).map((line) => line.trim());
    const end = own.indexOf(""); // what follows tells of the layers inside, which have cards of their own
    const lines = own.slice(0, end < 0 ? own.length : end).map((line) => make("p", {}, line));
    this.body.replaceChildren(make("div.words", {}, ...lines));
  }
}
