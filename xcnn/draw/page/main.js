/** Wires the page: the pad's picture goes to the models, their answers to the page, what they saw to the microscope. */

import * as api from "./api.js";
import { Reading } from "./answers.js";
import { correction } from "./correct.js";
import { download, intake } from "./files.js";
import { pen, shortcuts } from "./keys.js";
import { latest } from "./latest.js";
import { attach } from "./microscope.js";
import { Pad } from "./pad.js";
import { Session } from "./session.js";
import { Status } from "./status.js";
import { theme } from "./theme.js";

const $ = (id) => document.getElementById(id);
const { body } = document;
const GLANCE = 120; // ms between two looks while one draws; or REST times as long as a look takes:
const REST = 4; // so that looks don't hold up the answers

const pad = new Pad($("pad"));
const status = new Status($("status"));
const session = new Session(status);

let revision = 0; // of what is on the pad
let emptied = 0; // the revision at which it was last empty
const looks = { revision: 0, next: 0 }; // what the first model was last looked into at, and when it may be again
let stroke = null; // the last ended stroke whose answer isn't shown yet: {revision, ended}

/** One of the two models: its choice, its answers, and the picture it last saw. */
class Seat {
  model = null;
  values = null;
  shown = 0;

  constructor(suffix) {
    this.source = suffix ? "model-b" : "model-a";
    this.select = $(this.source);
    this.reading = new Reading(suffix);
    this.loading = latest(() => attempt(() => this.load(), this.source), settle);
    this.asking = latest(() => attempt(() => this.ask(), this.source, () => this.forget()), settle);
    this.select.addEventListener("change", () => this.loading.ask());
  }

  get channels() {
    return [this.loading, this.asking];
  }

  async load() {
    this.model = null;
    this.forget();
    const { options, value } = this.select;
    if (options.length > 0 && value === "") return;
    const model = await api.model(value || null);
    if (options.length === 0) furnish(model);
    this.model = model;
    this.reading.prepare(model);
    if (this === first) introduce(model);
    if (!pad.empty) this.asking.ask();
  }

  async ask() {
    const asked = revision;
    if (!this.model || pad.empty) return;
    const { name } = this.model;
    const reply = await api.predict(name, pad.picture(), options(this.model));
    if (asked < emptied || this.model?.name !== name) return;
    [this.values] = reply.inputs;
    this.reading.show(reply.predictions[0], this.values);
    this.shown = asked;
    if (this === first) answered(reply);
  }

  forget() {
    this.values = null;
    this.shown = 0;
    this.reading.clear();
    status.mend(this.source);
    if (this !== first) return;
    $("notes").textContent = "";
    session.look(null);
  }
}

const first = new Seat("");
const second = new Seat("-b");
const looking = latest(() => attempt(look, "microscope"), settle);
const corrections = correction({
  form: $("correction"),
  select: $("correct"),
  button: $("save"),
  status,
  current: () => (first.values ? { name: first.model.name, values: first.values } : null),
});

/** Do something that asks the server, say how it went, and answer when to try again (0: don't). */
async function attempt(work, source, refused = () => {}) {
  try {
    await work();
    status.mend(source);
    return 0;
  } catch (error) {
    if (error instanceof api.Refusal && !error.after) refused();
    status.fail(error, source);
    return error.after ?? 0;
  }
}

function settle() {
  const channels = [looking, ...first.channels, ...second.channels];
  body.dataset.state = channels.some(({ busy }) => busy) ? "busy" : "idle";
}

/** How the picture is made ready: strokes as the model's images were, unless it is taken raw; dark ones made light. */
function options({ strokes }) {
  return { centre: strokes !== null && !$("raw").checked, invert: strokes !== null && pad.image ? "auto" : false };
}

/** Name the server's models in both choices. */
function furnish({ models }) {
  $("model-a").replaceChildren(...models.map((name) => new Option(name)));
  $("model-b").replaceChildren(new Option("none", ""), ...models.map((name) => new Option(name)));
  $("comparing").hidden = models.length < 2;
}

/** What the empty pad asks for, large and small. */
function invitation({ classes, strokes }) {
  const also = "or drop, paste or open a picture";
  if (!strokes) return ["Drop a picture here", "or paste, open or draw one"];
  if (classes.every((name, k) => name === String(k))) return ["Draw a digit", also];
  if (classes.length <= 4) return [`Draw ${classes.join(" or ")}`, also];
  return [`Draw one of ${classes.length} classes`, also];
}

/** The first model is another one. */
function introduce(model) {
  const [channels, height, width] = model.input_shape;
  const kind = channels === 1 ? "grey" : channels === 3 ? "colour" : `${channels}-channel`;
  const parameters = model.parameters.toLocaleString("en");
  const runs = `${model.precision} on ${model.backend}`;
  $("about").textContent = `${model.name}: ${parameters} parameters, ${height} × ${width} ${kind}, ${runs}`;
  [$("invitation").textContent, $("otherwise").textContent] = invitation(model);
  $("raw-label").hidden = !model.strokes;
  corrections.offer(model);
  looks.revision = 0;
  session.use(model);
}

/** A note of the server's on the one picture that was sent, as a sentence. */
function sentence(note) {
  const told = note.replace(/^the image: /, "");
  return `${told[0].toUpperCase()}${told.slice(1)}.`;
}

/** An answer of the first model is shown. */
function answered({ notes }) {
  $("notes").textContent = notes.map(sentence).join(" ");
  body.dataset.answered = Number(body.dataset.answered) + 1;
  measure();
  follow();
}

/** Measure from the end of a stroke to its answer, once that is shown. */
function measure() {
  if (!stroke || first.shown < stroke.revision) return;
  performance.measure("answer", { start: stroke.ended, end: performance.now() });
  stroke = null;
}

/** Let the microscope follow what was answered. */
function follow() {
  const fresh = first.values !== null && first.shown > looks.revision;
  if (fresh && (!pad.drawing || performance.now() > looks.next)) looking.ask();
}

/** Look into the first model at the picture it last answered. */
async function look() {
  const { model, values, shown } = first;
  if (!values) return;
  looks.revision = shown;
  const start = performance.now();
  const found = await api.layers(model.name, values);
  looks.next = start + Math.max(GLANCE, (1 + REST) * (performance.now() - start));
  if (first.values && first.model === model) session.look(found);
}

function tidy() {
  const held = document.activeElement;
  body.dataset.empty = pad.empty;
  $("undo").disabled = !pad.undoable;
  $("redo").disabled = !pad.redoable;
  $("clear").disabled = $("download").disabled = pad.empty;
  if (held.disabled) $("pad").focus({ preventScroll: true });
}

/** What is on the pad changed (`anew`), or a stroke `ended`: a time, or null. */
function changed({ ended = performance.now(), anew = true } = {}) {
  if (anew) {
    revision += 1;
    for (const source of ["file", "save"]) status.mend(source);
  }
  if (ended !== null) stroke = { revision, ended };
  tidy();
  if (pad.empty) {
    emptied = revision;
    stroke = null;
    status.mend("microscope");
    for (const seat of [first, second]) seat.forget();
    corrections.reset();
  } else if (anew) {
    first.asking.ask();
    second.asking.ask();
  }
  measure();
  follow();
}

pad.addEventListener("change", ({ detail }) => changed(detail));
pen(pad, $("pad"));
shortcuts(pad);
intake({ pad, status, input: $("file"), button: $("open") });
theme($("theme"), $("dark"), () => pad.redraw());

$("undo").addEventListener("click", () => pad.undo());
$("redo").addEventListener("click", () => pad.redo());
$("clear").addEventListener("click", () => pad.clear());
$("download").addEventListener("click", () => download(pad.picture(), pad.image?.file.name || "drawing.png"));
$("brush").addEventListener("input", ({ target }) => {
  pad.brush = target.valueAsNumber;
});
$("raw").addEventListener("change", () => changed());
$("model-b").addEventListener("change", ({ target }) => {
  $("reading-b").hidden = target.value === "";
});

pad.brush = $("brush").valueAsNumber;
tidy();
attach(session);
first.loading.ask();
