/** Strokes as curves, and the pad as the opaque picture that the network is asked about. */

/** The pad's side, in the unit in which strokes and brush widths are told. */
export const SIZE = 280;

const middle = (p, q) => ({ x: (p.x + q.x) / 2, y: (p.y + q.y) / 2 });

/**
 * A stroke's pieces: quadratic curves from midpoint to midpoint with the points as controls, so that it is smooth.
 *
 * @param {{x: number, y: number, width: number}[]} points
 * @returns {{from: object, control: object, to: object, width: number}[]}
 */
function pieces(points) {
  const [start, end] = [points[0], points.at(-1)];
  if (points.length < 3) return [{ from: start, control: start, to: end, width: end.width }];
  const joints = points.slice(1, -2).map((point, i) => middle(point, points[i + 2]));
  const ends = [start, ...joints, end];
  return ends.slice(1).map((to, i) => ({ from: ends[i], control: points[i + 1], to, width: points[i + 1].width }));
}

function dot(context, { x, y, width }) {
  context.beginPath();
  context.arc(x, y, width / 2, 0, 2 * Math.PI);
  context.fill();
}

/** Draw strokes in the context's units; runs of pieces of one width are one path. */
export function trace(context, strokes, colour) {
  Object.assign(context, { strokeStyle: colour, fillStyle: colour, lineCap: "round", lineJoin: "round" });
  for (const points of strokes) {
    dot(context, points[0]);
    let width = null;
    for (const piece of pieces(points)) {
      if (piece.width !== width) {
        if (width !== null) context.stroke();
        context.beginPath();
        context.moveTo(piece.from.x, piece.from.y);
        context.lineWidth = width = piece.width;
      }
      context.quadraticCurveTo(piece.control.x, piece.control.y, piece.to.x, piece.to.y);
    }
    context.stroke();
  }
}

/** Fit an image into the square of side SIZE, whole and in the middle; small ones keep their pixels sharp. */
export function place(context, image) {
  const scale = SIZE / Math.max(image.width, image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  context.imageSmoothingEnabled = scale < 3;
  context.drawImage(image, (SIZE - width) / 2, (SIZE - height) / 2, width, height);
}

const canvas = document.createElement("canvas");
canvas.width = canvas.height = SIZE;

/**
 * The strokes as a PNG of SIZE x SIZE pixels, white on black, whatever the screen and the theme.
 *
 * It is encoded here and now: `toBlob` waits for the browser to be idle, a whole frame while one draws.
 *
 * @returns {Blob}
 */
export function png(strokes) {
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.fillStyle = "#000";
  context.fillRect(0, 0, SIZE, SIZE);
  trace(context, strokes, "#fff");
  const encoded = atob(canvas.toDataURL("image/png").split(",")[1]);
  return new Blob([Uint8Array.from(encoded, (letter) => letter.charCodeAt(0))], { type: "image/png" });
}
