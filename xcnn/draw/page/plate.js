/** Pictures of numbers: a canvas with one pixel for each, redrawn in place, and kernels laid side by side. */

import { packed, signedScaleOf } from "./palette.js";

/** A canvas with one pixel for each of `width` × `height` numbers. */
export class Plate {
  constructor(canvas = document.createElement("canvas")) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.image = null;
  }

  /** Show each number `factor` pixels wide and `tall` pixels high; what was drawn stays if there are as many. */
  size(width, height, factor, tall = factor) {
    if (this.image?.width !== width || this.image.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.image = new ImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.canvas.style.width = `${width * factor}px`;
    this.canvas.style.height = `${height * tall}px`;
    this.canvas.classList.toggle("smooth", factor < 1);
    return this;
  }

  /** Draw bytes from `start` on, by a table of 256 packed colours; pixels that are left are transparent. */
  bytes(bytes, start, colours) {
    const { pixels } = this;
    const stop = Math.min(pixels.length, bytes.length - start);
    for (let k = 0; k < stop; k++) pixels[k] = colours[bytes[start + k]];
    pixels.fill(0, stop);
    this.context.putImageData(this.image, 0, 0);
  }

  /** Draw numbers by a colour scale; what is null is transparent. */
  numbers(values, colours) {
    values.forEach((value, k) => {
      this.pixels[k] = value === null ? 0 : packed(colours.rgb(value));
    });
    this.context.putImageData(this.image, 0, 0);
  }

  /** Draw one colour everywhere. */
  fill(rgb) {
    this.pixels.fill(packed(rgb));
    this.context.putImageData(this.image, 0, 0);
  }
}

/** How many screen pixels a number gets where `side` numbers stand in a row and about `target` pixels are free. */
export const factorFor = (side, target) => (side <= target ? Math.floor(target / side) : target / side);

/** Return matrices, all of one size, as one: `columns` side by side, a gap of nulls between them; rows lie close. */
export function tiled(matrices, columns) {
  const [{ width, height }] = matrices;
  const gap = height > 1 ? 1 : 0;
  columns ??= gap ? Math.ceil(Math.sqrt(matrices.length)) : 1;
  const rows = Math.ceil(matrices.length / columns);
  const whole = { width: columns * (width + gap) - gap, height: rows * (height + gap) - gap };
  whole.values = new Array(whole.width * whole.height).fill(null);
  matrices.forEach(({ values }, k) => {
    const top = Math.floor(k / columns) * (height + gap);
    const left = (k % columns) * (width + gap);
    for (let r = 0; r < height; r++) {
      for (let c = 0; c < width; c++) {
        whole.values[(top + r) * whole.width + left + c] = values[r * width + c];
      }
    }
  });
  return whole;
}

export const matrix = (rows) => ({ width: rows[0].length, height: rows.length, values: rows.flat() });

/** Return the weights of a unit as matrices: one for each channel where channels were flattened, else one row. */
function folded(weights, shape) {
  if (!shape) return [{ width: weights.length, height: 1, values: weights }];
  const [channels, height, width] = shape;
  return Array.from({ length: channels }, (_, c) => ({
    width,
    height,
    values: weights.slice(c * height * width, (c + 1) * height * width),
  }));
}

/**
 * Return a layer's kernels as matrices: for each filter or unit, one for each channel that it sees.
 * @param {object} detail As `GET /layers/{id}` tells it.
 * @param {number[]|null} flattened The shape that was flattened before a dense layer.
 * @returns {{of: object[][], colours: object}|null} Null where the layer has none, or they weren't sent.
 */
export function kernels(detail, flattened) {
  if (!detail?.kernels) return null;
  const { values, shape, min, max } = detail.kernels;
  const fold = (w) => (shape.length === 4 ? w.map(matrix) : folded(w, flattened));
  return { of: values.map(fold), colours: { ...signedScaleOf([min, max]), min, max } };
}
