/** One model's answer: the winner large, a bar for each class, and the picture the network sees. */

const MANY = 20;
const BEST = 10;

/** A probability as a percentage, without claiming certainty that isn't there. */
function percentage(p) {
  if (p > 0.999) return "> 99.9\u202f%";
  if (p < 0.001) return "< 0.1\u202f%";
  return `${(100 * p).toFixed(1)}\u202f%`;
}

/** Which classes get a bar, in their order on the page: all, or of many the likeliest. */
function chosen(probabilities) {
  const indices = probabilities.map((_, k) => k);
  if (probabilities.length <= MANY) return indices;
  return indices.sort((a, b) => probabilities[b] - probabilities[a]).slice(0, BEST);
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Draw (C, H, W) values from 0 to 1 as they are, one pixel each. */
function paint(canvas, values) {
  const [red, green, blue] = values.length >= 3 ? values : [values[0], values[0], values[0]];
  const [height, width] = [red.length, red[0].length];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0, k = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      for (const plane of [red, green, blue]) image.data[k++] = Math.round(255 * plane[i][j]);
      image.data[k++] = 255;
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function bar() {
  const item = document.createElement("li");
  for (const className of ["name", "bar", "share"]) {
    item.append(Object.assign(document.createElement("span"), { className }));
  }
  return item;
}

/** The elements of one answer; `suffix` is "" for the first model and "-b" for the second. */
export class Reading {
  #classes = [];

  constructor(suffix) {
    const find = (name) => document.getElementById(name + suffix);
    [this.whose, this.winner, this.sure, this.bars, this.seen] = ["whose", "answer", "sure", "bars", "seen"].map(find);
    this.caption = document.getElementById(`seen${suffix}-caption`);
    this.box = this.winner.closest(".reading");
  }

  /** Make room for a model's classes and the size of its pictures. */
  prepare({ name, classes, input_shape: [, height, width] }) {
    this.#classes = classes;
    say(this.whose, name);
    say(this.caption, `what the network sees: ${height} × ${width}`);
    this.bars.dataset.many = classes.length > MANY;
    const items = Array.from({ length: classes.length > MANY ? BEST : classes.length }, bar);
    this.bars.replaceChildren(...items);
    Object.assign(this.seen, { width, height });
    this.clear();
  }

  /** Show a prediction and the (C, H, W) picture it was made of. */
  show({ class: name, probability, probabilities }, values) {
    this.box.dataset.empty = false;
    say(this.winner, name);
    this.winner.classList.toggle("word", name.length > 2);
    this.winner.style.setProperty("--length", name.length);
    say(this.sure, percentage(probability));
    this.#fill(probabilities, name);
    paint(this.seen, values);
  }

  clear() {
    this.box.dataset.empty = true;
    say(this.winner, "");
    say(this.sure, "");
    this.#fill(this.#classes.map(() => 0), null);
    if (this.#classes.length > MANY) for (const item of this.bars.children) say(item.children[0], "");
    this.seen.getContext("2d").clearRect(0, 0, this.seen.width, this.seen.height);
  }

  #fill(probabilities, winner) {
    chosen(probabilities).forEach((k, row) => {
      const item = this.bars.children[row];
      const [name, track, share] = item.children;
      item.dataset.class = this.#classes[k];
      item.classList.toggle("won", this.#classes[k] === winner);
      say(name, this.#classes[k]);
      track.style.setProperty("--share", probabilities[k]);
      say(share, winner === null ? "" : percentage(probabilities[k]));
    });
  }
}
