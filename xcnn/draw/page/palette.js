/** Colours of maps and numbers, from the page's tokens: ground to ink, or negative to ground to positive. */

const STEPS = 255;
const TOKENS = { zero: "--ground", ink: "--ink", positive: "--positive", negative: "--negative" };
const listeners = new Set();
let ramps = null;

/** Return [r, g, b] of a CSS colour, as the browser paints it. */
function painted(colour) {
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
const encoded = (c) => (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055);

/** Return Oklab coordinates of [r, g, b]: equal steps there look equal (B. Ottosson, 2020). */
function oklab(rgb) {
  const [r, g, b] = rgb.map((c) => linear(c / 255));
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function fromOklab([light, a, b]) {
  const l = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((c) => Math.round(255 * encoded(Math.min(1, Math.max(0, c)))));
}

/** Return STEPS + 1 colours from one to another. */
function ramp(from, to) {
  const [start, stop] = [oklab(from), oklab(to)];
  return Array.from({ length: STEPS + 1 }, (_, i) =>
    fromOklab(start.map((c, k) => c + ((stop[k] - c) * i) / STEPS)),
  );
}

function read() {
  const style = getComputedStyle(document.documentElement);
  const [zero, ink, positive, negative] = Object.values(TOKENS).map((name) =>
    painted(style.getPropertyValue(name).trim()),
  );
  return { grey: ramp(zero, ink), positive: ramp(zero, positive), negative: ramp(zero, negative) };
}

/**
 * A colour scale: 0 is the ground; numbers below 0 make it a scale of two sides, equal in length.
 * @param {number} min Smallest number shown.
 * @param {number} max Largest number shown.
 * @returns {{min: number, max: number, bound: number, signed: boolean, rgb: function(number): number[]}}
 */
export function scale(min, max) {
  ramps ??= read();
  const signed = min < 0;
  const bound = Math.max(Math.abs(min), Math.abs(max)) || 1;
  const rgb = (value) => {
    const side = !signed ? ramps.grey : value < 0 ? ramps.negative : ramps.positive;
    return side[Math.min(STEPS, Math.round((Math.abs(value) / bound) * STEPS)) || 0];
  };
  return { min, max, bound, signed, rgb };
}

const extent = (values) => values.flat(Infinity).reduce(
  ([min, max], value) => (Number.isFinite(value) ? [Math.min(min, value), Math.max(max, value)] : [min, max]), [0, 0]);

/** Return the scale of all finite numbers of an array of any depth. */
export const scaleOf = (values) => scale(...extent(values));

/** Return their scale of two sides, as long as each other, whichever signs there are. */
export function signedScaleOf(values) {
  const bound = Math.max(...extent(values).map(Math.abs)) || 1;
  return scale(-bound, bound);
}

/** Return a colour as one number, as ImageData's bytes lie in memory (all browsers' machines are little-endian). */
export const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

/**
 * The colours of a layer's bytes.
 * @param {ReturnType<typeof scale>} colours
 * @param {number} min What byte 0 stands for.
 * @param {number} max What byte 255 stands for.
 * @returns {Uint32Array} One packed colour for each byte.
 */
export function table(colours, min, max) {
  return Uint32Array.from({ length: 256 }, (_, byte) =>
    packed(colours.rgb(min + ((max - min) * byte) / 255)),
  );
}

/** Return "#000" or "#fff", whichever is legible on the colour: always at least 4.5 : 1. */
export function textOn(rgb) {
  const [r, g, b] = rgb.map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
}

export const css = (rgb) => `rgb(${rgb.join(" ")})`;

/** Call `redraw` whenever the page changes between light and dark. */
export function onTheme(redraw) {
  listeners.add(redraw);
}

function changed() {
  ramps = null;
  listeners.forEach((redraw) => redraw());
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
new MutationObserver(changed).observe(document.documentElement, { attributeFilter: ["data-theme"] });
