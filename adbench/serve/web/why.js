// Why an image is hot: the support patch that the hottest patch is compared with.

import { get, picture, pictureOf, post } from "./api.js";
import { make, shown } from "./dom.js";

const SIDE = 240; // pixels of a shown support image

// Draws a support image with a square around a patch.
function marked(image, grid, [column, row]) {
  const canvas = make("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": "Support image, with the patch marked" });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, SIDE, SIDE);
  context.lineWidth = 3;
  context.strokeStyle = "#40e0ff";
  context.strokeRect((column * SIDE) / grid, (row * SIDE) / grid, SIDE / grid, SIDE / grid);
  return canvas;
}

function cut(image, grid, [column, row]) {
  const canvas = make("canvas", { class: "patch", width: 96, height: 96, role: "img", "aria-label": "The patch" });
  const [wide, high] = [image.naturalWidth / grid, image.naturalHeight / grid];
  canvas.getContext("2d").drawImage(image, column * wide, row * high, wide, high, 0, 0, 96, 96);
  return canvas;
}

export async function loaded(key) {
  const image = new Image();
  image.src = URL.createObjectURL(await picture(key));
  await image.decode();
  URL.revokeObjectURL(image.src);
  return image;
}

async function patches(pane, whole, current) {
  const found = await post(`cells/${pane.facts.key}/explain`, { image: pane.image.key });
  if (found.why) return [make("p", { class: "note" }, found.why)];
  const support = await loaded(found.image);
  if (current()) pane.stage.markPatch(found.grid, found.patch);
  return [
    make("p", {}, `The hottest patch (the square on the image) is measured against this patch of ${found.name}; distance ${shown(found.distance)}.`),
    make(
      "div", { class: "neighbours" },
      make("figure", {}, cut(whole, found.grid, found.patch), make("figcaption", {}, "hottest patch")),
      make("figure", {}, cut(support, found.grid, found.of), make("figcaption", {}, "support patch")),
      make("figure", {}, marked(support, found.grid, found.of), make("figcaption", {}, found.name)),
    ),
  ];
}

async function strip(pane) {
  const { learned } = await get(`cells/${pane.facts.key}/support`);
  const images = make(
    "div", { class: "thumbs still" },
    ...learned.slice(0, 32).map((one) => make("img", { src: pictureOf(one.key, true), alt: `${one.label ? "abnormal" : "normal"} support image ${one.name}`, title: one.name, loading: "lazy" })),
    ...(learned.length > 32 ? [`and ${learned.length - 32} more`] : []),
  );
  return [make("p", { class: "note" }, `What ${pane.facts.method} learned from.`), images];
}

// Fills an element with the reasons of one pane. `second`: it is the second one, whose support is shown nowhere else;
// `current` says whether its image is still the one that is shown.
export async function explain(element, pane, whole, second, current) {
  const parts = [make("h3", {}, pane.facts.name)];
  try {
    if (pane.facts.memory) parts.push(...(await patches(pane, whole, current)));
    if (second && pane.facts.learns !== "none") parts.push(...(await strip(pane)));
    if (Object.keys(pane.facts.editable).some((name) => name.startsWith("prompts."))) {
      parts.push(make("p", { class: "note" }, "It compares the image with words: see Prompts, “What each phrase says”."));
    }
  } catch (error) {
    parts.push(make("p", { class: "note" }, error.message));
  }
  if (current()) element.replaceChildren(...parts);
}
