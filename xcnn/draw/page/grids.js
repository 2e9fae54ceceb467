/** Numbers in small coloured grids and sums set below each other: how one output pixel comes about, on the page. */

import { make, together } from "./figures.js";
import { css, textOn } from "./palette.js";
import { Plate, factorFor } from "./plate.js";

const LEGIBLE = 7; // rows and columns up to which each number is written
const SIDE = 168; // pixels of a larger grid, which is a picture

/** A matrix under a title: written numbers on their colours, or a picture where it is large. */
export class Grid {
  constructor(title) {
    this.title = make("figcaption");
    this.body = make("div");
    this.power = make("p.power");
    this.element = make("figure.matrix", {}, this.title, this.body, this.power);
    this.say(title);
  }

  say(title) {
    this.title.textContent = title;
  }

  /**
   * Show numbers.
   * @param {(number|null)[][]} rows
   * @param {object} colours From `scale`.
   * @param {{inside?: boolean[][], mark?: number[]|null, style?: object}} [options] What lies in the picture (the
   *     rest is padding, a dot), which cell is outlined, and how numbers are written (from `together`).
   */
  show(rows, colours, { inside = null, mark = null, style = together(rows.flat()) } = {}) {
    const [height, width] = [rows.length, rows[0]?.length ?? 0];
    if (this.height !== height || this.width !== width) this.build(height, width);
    this.power.textContent = this.cells ? style.power : "";
    if (!this.cells) {
      this.plate.numbers(rows.flatMap((row, r) => row.map((v, c) => (inside?.[r][c] === false ? null : v))), colours);
      return;
    }
    rows.forEach((row, r) => row.forEach((value, c) => {
      const cell = this.cells[r * width + c];
      const padding = inside !== null && !inside[r][c];
      const rgb = colours.rgb(padding ? 0 : value ?? 0);
      cell.textContent = padding ? "·" : style.text(value);
      cell.style.backgroundColor = css(rgb);
      cell.style.color = textOn(rgb);
      cell.classList.toggle("mark", mark !== null && mark[0] === r && mark[1] === c);
    }));
  }

  build(height, width) {
    Object.assign(this, { height, width, cells: null, plate: null });
    if (height > LEGIBLE || width > LEGIBLE) {
      this.plate = new Plate().size(width, height, Math.max(1, factorFor(Math.max(height, width), SIDE)));
      this.body.replaceChildren(this.plate.canvas);
      return;
    }
    const row = () => make("tr", {}, ...Array.from({ length: width }, () => make("td")));
    const table = make("table.grid-of-numbers", {}, make("tbody", {}, ...Array.from({ length: height }, row)));
    this.cells = [...table.querySelectorAll("td")];
    this.body.replaceChildren(table);
  }
}

/**
 * Make a sum: one term below the other, the results under a line.
 * @param {[string, string, number][]} rows Sign, name and number; the sign "=" begins the results.
 * @returns {HTMLElement}
 */
export function sum(rows) {
  const style = together(rows.map(([, , value]) => value), 4);
  const lines = rows.map(([sign, name, value]) =>
    make(sign === "=" ? "tr.result" : "tr", {},
      make("td.sign", {}, sign), make("th", { scope: "row" }, name), make("td", {}, style.text(value))));
  const power = style.power ? make("caption", {}, style.power) : null;
  return make("table.sum", {}, power, make("tbody", {}, ...lines));
}

/**
 * Make the table of the largest products of a dense unit.
 * @param {{feature: string, x: number, w: number, product: number}[]} terms
 * @param {{x: object, w: object, product: object}} colours A scale for each column.
 * @returns {HTMLElement}
 */
export function products(terms, colours) {
  const columns = ["x", "w", "product"];
  const styles = Object.fromEntries(columns.map((key) => [key, together(terms.map((term) => term[key]))]));
  const cell = (key, value) => {
    const rgb = colours[key].rgb(value ?? 0);
    const made = make("td", {}, styles[key].text(value));
    made.style.backgroundColor = css(rgb);
    made.style.color = textOn(rgb);
    return made;
  };
  const head = ["feature", "x", "weight", "product"].map((name) => make("th", { scope: "col" }, name));
  const powers = columns.map((key) => make("td", {}, styles[key].power));
  const foot = columns.some((key) => styles[key].power) ? make("tfoot", {}, make("tr", {}, make("th"), ...powers)) : null;
  return make("table.products", {},
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...terms.map((term) =>
      make("tr", {}, make("th", { scope: "row" }, term.feature), ...columns.map((key) => cell(key, term[key]))))),
    foot);
}
