/** The model as a row of layers from left to right, in a strip that scrolls, with the switch between maps and kernels. */

import { Card } from "./card.js";
import { make } from "./figures.js";
import { kernels } from "./plate.js";
import { before, parallel, passing, tree, walk } from "./tree.js";

/** Bytes of base64 text, by the browser's own decoder where it has one. */
const decoded = Uint8Array.fromBase64
  ? (text) => Uint8Array.fromBase64(text)
  : (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** Return the picture the network saw as bytes, so that it is shown as maps are. */
function asBytes(values) {
  const flat = values.flat(Infinity);
  const [min, max] = [Math.min(0, ...flat), Math.max(0, ...flat)];
  const bytes = Uint8Array.from(flat, (v) => Math.round((255 * (v - min)) / (max - min || 1)));
  return { bytes, min, max, silent: [] };
}

const seenOf = ({ maps, min, max, silent }, exact) =>
  maps === null || min === null ? null : { bytes: decoded(maps), min, max, silent, exact };

/** How many brackets stand over a node's card: those of the layers around it, and its own. */
const depth = (node) => (node.above ? depth(node.above) : 0) + (node.parts.length > 0);

/** The strip; `select(card, channel, position)` is called when a map is clicked, `switched` when kernels are shown. */
export class Strip {
  constructor(root, { select, switched }) {
    Object.assign(this, { select, switched, cards: new Map(), picture: null });
    this.count = make("span.note");
    this.back = this.arrow(-1, "‹", "Earlier layers");
    this.on = this.arrow(1, "›", "Later layers");
    this.row = make("div.strip", { role: "group", "aria-label": "The layers, from left to right", scroll: () => this.ends() });
    const heading = make("h2", {}, "Layer by layer");
    this.sample = make("span");
    const marks = make("p.marks", {},
      make("span", { hidden: true }, make("i.mark.dead", { "aria-hidden": "true" }), this.sample),
      make("span", {}, make("i.mark.silent", { "aria-hidden": "true" }), "silent: 0 for this drawing"));
    const bar = make("div.titlebar", {}, heading, this.count, this.views(), make("div.arrows", {}, this.back, this.on));
    root.replaceChildren(bar, this.row, marks);
    new ResizeObserver(() => this.ends()).observe(this.row);
  }

  /** The switch: what the canvases show. */
  views() {
    const choice = (value, checked) =>
      make("label", {}, make("input", { type: "radio", name: "view", value, checked, change: () => this.view(value) }), value);
    const legend = make("legend.unseen", {}, "Show of each layer");
    return make("fieldset.views", {}, legend, choice("maps", true), choice("kernels", false));
  }

  arrow(way, text, label) {
    return make("button", {
      type: "button", "aria-label": label, title: label, disabled: true,
      click: () => {
        const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;
        this.row.scrollBy({ left: 0.8 * way * this.row.clientWidth, behavior: smooth ? "smooth" : "auto" });
      },
    }, text);
  }

  /** Say at which ends there is more. */
  ends() {
    const { scrollLeft, scrollWidth, clientWidth } = this.row;
    this.back.disabled = scrollLeft < 2;
    this.on.disabled = scrollLeft + clientWidth > scrollWidth - 2;
    this.row.classList.toggle("more-before", !this.back.disabled);
    this.row.classList.toggle("more-after", !this.on.disabled);
  }

  /** Set up the cards of a model. */
  build(model) {
    const nodes = tree(model.layers);
    this.cards.clear();
    this.sample.parentElement.hidden = true;
    this.classes = model.classes;
    this.size = model.output_shape.join();
    this.deepest = Math.max(...[...walk(nodes)].map(depth));
    this.picture = new Card({ id: null, title: "Picture", output_shape: model.input_shape, parameters: 0 }, {});
    this.picture.element.style.setProperty("--above", this.deepest);
    this.row.replaceChildren(this.picture.element, ...nodes.map((node) => this.place(node)));
    const count = [...walk(nodes)].filter((node) => !passing(node)).length;
    this.count.textContent = `${count} layer${count > 1 ? "s" : ""}, ${model.parameters.toLocaleString("en")} parameters`;
    for (const card of this.cards.values()) card.source = this.source(card);
    this.view("maps");
    this.row.parentElement.querySelector("[value=maps]").checked = true;
    this.show(null);
    this.row.scrollLeft = 0;
    this.ends();
  }

  /** Return a layer's card; layers that hold others stand as a bracket around them, their sum behind them. */
  place(node) {
    if (!node.parts.length) return this.card(node).element;
    const { id, title, path } = node.layer;
    const label = make("p.bracket", { title: path }, 
      make("span.label", {}, make("span.number", {}, String(id)), ` ${this.branch(node)}${title}`));
    const inside = make("div.inside", {}, ...node.parts.map((part) => this.place(part)));
    if (!passing(node)) inside.append(this.card(node).element);
    return make("div.nest", { role: "group", "aria-label": `layer ${id}, ${title}` }, label, inside);
  }

  card(node) {
    const from = before(node);
    const flattened = from?.layer.type === "Flatten" && from.layer.input_shape.length === 3 ? from.layer.input_shape : null;
    const ends = node.layer.output_shape.join() === this.size;
    const card = new Card(node.layer, { classes: ends ? this.classes : null, flattened, select: this.select });
    card.from = from;
    card.element.style.setProperty("--above", this.deepest - depth(node)); // headings stand in one line
    this.cards.set(node.layer.id, card);
    return card;
  }

  branch(node) {
    return parallel(node.above) ? `branch ${node.above.parts.indexOf(node)}: ` : "";
  }

  /** Return the card of what a layer looks at. */
  source(card) {
    const found = card.from ? this.cards.get(card.from.layer.id) : this.picture;
    return found?.layer.output_shape.join() === card.layer.input_shape.join() ? found : null;
  }

  /** Show what a model made of a picture: the reply of `POST /layers`, or null. */
  show(looked) {
    this.picture?.show(looked && asBytes(looked.input.values));
    const layers = new Map(looked?.layers.map((layer) => [layer.id, layer]));
    const last = [...this.cards.values()].at(-1);
    for (const [id, card] of this.cards) {
      const exact = card === last && card.certain ? looked?.prediction.probabilities : null;
      card.show(layers.has(id) ? seenOf(layers.get(id), exact) : null);
    }
  }

  /** Draw all again, in the colours that hold now. */
  draw() {
    this.picture?.draw();
    for (const card of this.cards.values()) card.draw();
  }

  say() {
    for (const card of this.cards.values()) card.say();
  }

  /** Take in what `GET /layers/{id}` tells. */
  tell(detail) {
    this.cards.get(detail.id).tell(detail);
    this.sample.parentElement.hidden = detail.dead === null;
    this.sample.textContent = `dead: 0 for all ${detail.sample} images of the sample`;
    if (this.shown === "kernels") this.view("kernels");
  }

  /** Show "maps", or "kernels" where a layer has some. */
  view(shown) {
    this.shown = shown;
    for (const card of this.cards.values()) {
      card.unsent = shown === "kernels" && Boolean(card.detail?.kernels_left_out);
      card.lay(shown === "kernels" ? kernels(card.detail, card.flattened) : null);
      if (card.colours) card.draw();
      card.say();
    }
    this.ends();
    this.switched();
  }
}
