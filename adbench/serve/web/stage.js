// One stage: an image, with the map, the true outline and the painted mask over it, all on one sheet that zooms.

import { bar, Heat, outlined } from "./colours.js";
import { make, shown } from "./dom.js";

const TRUTH = [64, 224, 255];

export class Stage {
  constructor(view, title) {
    this.view = view;
    this.picture = make("canvas", { class: "picture" });
    this.heat = make("canvas", { class: "heat" });
    this.truth = make("canvas", { class: "truth" });
    this.painted = make("canvas", { class: "painted" });
    this.mark = make("div", { class: "mark", hidden: true });
    this.brush = make("div", { class: "brush", hidden: true });
    this.sheet = make("div", { class: "sheet" }, this.picture, this.heat, this.truth, this.painted, this.mark, this.brush);
    this.hint = make("p", { class: "hint" }, "Drop an image or a DICOM file here, paste one, or choose one above; or step through the test set.");
    this.box = make("div", { class: "box", tabindex: "0", role: "img", "aria-label": title }, this.sheet, this.hint);
    this.caption = make("figcaption", {}, title);
    this.bar = make("canvas", { width: 256, height: 1 });
    this.ends = [make("span"), make("span")];
    this.scale = make("div", { class: "colourbar", role: "img" }, this.bar, ...this.ends);
    this.figure = make("figure", { class: "stage" }, this.caption, this.box, this.scale);
    this.map = null; // a Heat
    view.onChange(() => this.place());
    this.box.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    this.listenToDrags();
  }

  title(text) {
    this.caption.textContent = text;
  }

  describe(text) {
    this.box.setAttribute("aria-label", text);
  }

  // image: an HTMLImageElement that is loaded.
  show(image) {
    for (const canvas of [this.picture, this.truth, this.painted]) {
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
    }
    this.picture.getContext("2d").drawImage(image, 0, 0);
    this.box.style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
    this.figure.style.setProperty("--shape", image.naturalWidth / image.naturalHeight);
    this.setMap(null, 0);
    this.mark.hidden = this.hint.hidden = true;
    this.place();
  }

  clear() {
    for (const canvas of [this.picture, this.truth, this.painted]) [canvas.width, canvas.height] = [1, 1];
    this.setMap(null, 0);
    this.mark.hidden = true;
    this.hint.hidden = false;
  }

  setMap(map, side) {
    this.map = map && new Heat(map, side);
    if (!map) this.heat.getContext("2d").clearRect(0, 0, this.heat.width, this.heat.height);
  }

  colour(palette, low, high, threshold) {
    this.map?.colour(this.heat, palette, low, high, threshold);
    bar(this.bar, palette);
    this.ends.forEach((end, i) => { end.textContent = shown([low, high][i], 3); });
    this.scale.setAttribute("aria-label", `Colours of the map, from ${shown(low, 3)} to ${shown(high, 3)}`);
  }

  // mask: bytes, one per pixel of the picture; null: no outline.
  outline(mask) {
    const { width, height } = this.truth;
    const context = this.truth.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (mask) context.putImageData(outlined(mask, width, height, TRUTH, Math.max(1, Math.round(width / 240))), 0, 0);
  }

  // A square around a patch: column and row in a grid x grid of the image.
  markPatch(grid, [column, row]) {
    const side = 100 / grid;
    Object.assign(this.mark.style, { left: `${column * side}%`, top: `${row * side}%`, width: `${side}%`, height: `${side}%` });
    this.mark.hidden = false;
  }

  place() {
    const { x, y, zoom } = this.view;
    this.sheet.style.transform = `scale(${zoom}) translate(${(0.5 / zoom - x) * 100}%, ${(0.5 / zoom - y) * 100}%)`;
    this.sheet.style.setProperty("--zoom", zoom);
    this.box.classList.toggle("pixels", zoom > 4);
  }

  // The place of a pointer, in shares of the image.
  at(event) {
    const box = this.box.getBoundingClientRect();
    const { x, y, zoom } = this.view;
    return [x + ((event.clientX - box.left) / box.width - 0.5) / zoom, y + ((event.clientY - box.top) / box.height - 0.5) / zoom];
  }

  onWheel(event) {
    event.preventDefault();
    this.view.by(Math.exp(-event.deltaY / 400), ...this.at(event));
  }

  // Dragging moves the view; `painter`, where it is set and active, paints instead.
  listenToDrags() {
    let last = null;
    const pointers = new Map();
    this.box.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.box.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
      if (this.painter?.active && pointers.size === 1) this.painter.begin(...this.at(event));
      last = event;
    });
    this.box.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      if (pointers.size === 2) this.pinch(pointers, event);
      else if (this.painter?.active) this.painter.move(...this.at(event));
      else this.pan(last, event);
      pointers.set(event.pointerId, event);
      last = event;
    });
    const end = (event) => {
      if (pointers.delete(event.pointerId) && this.painter?.active) this.painter.end();
    };
    this.box.addEventListener("pointerup", end);
    this.box.addEventListener("pointercancel", end);
  }

  pan(from, to) {
    const box = this.box.getBoundingClientRect();
    this.view.to(
      this.view.x - (to.clientX - from.clientX) / box.width / this.view.zoom,
      this.view.y - (to.clientY - from.clientY) / box.height / this.view.zoom,
    );
  }

  pinch(pointers, event) {
    const [a, b] = [...pointers.values()];
    const other = a.pointerId === event.pointerId ? b : a;
    const before = a.pointerId === event.pointerId ? a : b;
    const gap = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    this.view.by(gap(event) / Math.max(1, gap(before)), ...this.at(other));
  }
}
