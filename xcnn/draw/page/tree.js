/** The flat list of layers as the tree it came from, and which layer's maps each layer looks at. */

const PARALLEL = new Set(["Sum", "Concat", "Gate"]);

/**
 * Nest the flat list: each layer with the layers inside it.
 * @param {object[]} layers As `GET /model` tells them, with `depth`.
 * @returns {{layer: object, parts: object[], above: object|null}[]} The outermost.
 */
export function tree(layers) {
  const roots = [];
  const open = [];
  for (const layer of layers) {
    open.length = layer.depth;
    const above = open.at(-1) ?? null;
    const node = { layer, parts: [], above };
    (above?.parts ?? roots).push(node);
    open.push(node);
  }
  for (const node of roots) node.siblings = roots;
  return roots;
}

/** Whether the layers inside all get the same input. */
export const parallel = (node) => node !== null && PARALLEL.has(node.layer.type);

/** Whether the output is, number for number, that of the last layer inside, and so shown there. */
export const passing = (node) => node.layer.type === "Sequential" && node.parts.length > 0;

const shown = (node) => (passing(node) ? shown(node.parts.at(-1)) : node);

/** Return the node whose output a node's layer gets; null is the picture. */
export function before(node) {
  const siblings = node.above?.parts ?? node.siblings;
  const place = siblings.indexOf(node);
  if (place > 0 && !parallel(node.above)) return shown(siblings[place - 1]);
  return node.above && before(node.above);
}

/** Yield every node, outer ones before those inside. */
export function* walk(nodes) {
  for (const node of nodes) {
    yield node;
    yield* walk(node.parts);
  }
}
