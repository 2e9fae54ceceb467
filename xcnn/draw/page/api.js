/** Asks the server: each function is one request of the API that `GET /help` tells. */

/** The server answered, and said no: its words, and after how many seconds to try again (0: don't). */
export class Refusal extends Error {
  constructor(status, { where = "", what = `the server answered ${status}` } = {}, after = 0) {
    super(where ? `${where}: ${what}` : what);
    this.status = status;
    this.after = after;
  }
}

/** No answer came at all. */
export class Unreachable extends Error {
  constructor() {
    super("The server doesn’t answer; is xcnn draw still running? This page goes on trying.");
    this.after = 1;
    this.source = "server";
  }
}

async function ask(path, query = {}, init = {}) {
  const parameters = new URLSearchParams(Object.entries(query).filter(([, value]) => value != null));
  let response;
  try {
    response = await fetch(parameters.size ? `${path}?${parameters}` : path, init);
  } catch {
    throw new Unreachable();
  }
  const reply = await response.json().catch(() => null);
  if (!response.ok) {
    throw new Refusal(response.status, reply?.error, Number(response.headers.get("Retry-After")) || 0);
  }
  return reply;
}

/** Post one picture: a Blob as it is, nested arrays as JSON. */
function post(path, query, picture) {
  const file = picture instanceof Blob;
  return ask(path, query, {
    method: "POST",
    headers: { "Content-Type": file ? picture.type : "application/json" },
    body: file ? picture : JSON.stringify(picture),
  });
}

/** A model and its layers; the server's first where `name` is null. */
export const model = (name) => ask("/model", { model: name });

/** A layer with its kernels. */
export const layer = (name, id) => ask(`/layers/${id}`, { model: name });

/** The classes of a picture, and what the network saw of it; `options` are `{centre, invert}`. */
export const predict = (name, picture, options) =>
  post("/predict", { model: name, inputs: true, ...options }, picture);

/** What every layer makes of a picture. */
export const layers = (name, picture) => post("/layers", { model: name }, picture);

/** How one output came about: `at` is its position, or where it matters most. */
export const explain = (name, picture, id, at) =>
  post(`/layers/${id}`, { model: name, at: at?.join(",") }, picture);

/** The gradient and the occlusion map of a picture. */
export const why = (name, picture) => post("/why", { model: name }, picture);

/** Keep a picture as an example of the class numbered `label`. */
export const save = (name, picture, label) => post("/examples", { model: name, label }, picture);
