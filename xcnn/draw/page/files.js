/** Pictures from outside and back: opened, dropped anywhere, pasted; the drawing saved as a PNG. */

const TYPES = /^image\/(png|jpeg|gif|bmp|webp)$/;

const MOST = 1600; // pixels a side of what the pad shows: photographs would fill the memory with each step of undo

/** Decode an image for the pad. */
async function decoded(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "The picture"} can’t be read as an image.`);
  }
  const scale = MOST / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) return bitmap;
  const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((n) => Math.max(1, Math.round(scale * n)));
  const small = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" });
  bitmap.close();
  return small;
}

/** Put the first image of `files` on the pad. */
async function take(files, pad, status) {
  const file = [...files].find(({ type }) => TYPES.test(type));
  if (!file) {
    status.fail(new Error(`${files[0].name || "This"} isn’t a picture: PNG, JPEG, GIF, BMP and WebP are.`), "file");
    return;
  }
  try {
    pad.show({ file, bitmap: await decoded(file) });
  } catch (error) {
    status.fail(error, "file");
    return;
  }
  if (files.length > 1) status.tell(`One picture at a time: this is ${file.name}.`);
}

/** Open by the button, drop anywhere on the page, paste from the clipboard. */
export function intake({ pad, status, input, button }) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) take([...input.files], pad, status);
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    const { files } = event.clipboardData;
    if (files.length) take([...files], pad, status);
  });

  const carries = (event) => event.dataTransfer?.types.includes("Files");
  const over = (yes) => document.body.classList.toggle("dropping", yes);
  for (const type of ["dragenter", "dragover"]) {
    document.addEventListener(type, (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      over(true);
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) over(false);
  });
  document.addEventListener("drop", (event) => {
    over(false);
    if (!carries(event)) return;
    event.preventDefault();
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files], pad, status);
  });
}

/** Save a file on the visitor's side. */
export function download(file, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
