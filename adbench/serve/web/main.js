// The page: which cells and which image are shown, and what the keys and buttons do.

import { get, pictureOf, post, upload } from "./api.js";
import { Palette } from "./colours.js";
import { $, complain, make, percent, press, pressed, rest, safely, say } from "./dom.js";
import { auroc, binned, dice, sampled } from "./measures.js";
import { Painter } from "./painter.js";
import { Pane } from "./pane.js";
import { Support } from "./support.js";
import { View } from "./view.js";
import { explain, loaded } from "./why.js";

const view = new View();
const panes = [];
const painter = new Painter(() => {
  if (!painter.empty) $("case-label").value = "abnormal"; // a normal image has no mask
  agree();
});
const support = new Support($("support"), (cell) => added(cell));
const page = { state: null, palettes: {}, image: null, picture: null, dropped: [], count: 0, turn: 0, shown: 0, wanted: null };

// --- cells

function options(select, none) {
  const chosen = select.value;
  select.replaceChildren(
    ...(none ? [make("option", { value: "" }, "none")] : []),
    ...page.state.cells.map((cell) => make("option", { value: cell.key }, cell.name)),
  );
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

// One choice at a time: two that come quickly are made one after the other.
function choose() {
  page.choosing = (page.choosing ?? Promise.resolve()).catch(() => {}).then(chooseNow);
  return page.choosing;
}

async function chooseNow() {
  const wanted = [$("cell-a").value, $("cell-b").value].filter(Boolean);
  say("Loading the cell …");
  while (panes.length > wanted.length) panes.pop();
  for (const [place, key] of wanted.entries()) {
    let pane = panes[place];
    if (pane?.facts.key === key) continue;
    if (!pane) {
      pane = new Pane(view, onPane);
      pane.prompts.imageKey = () => page.image?.key;
      pane.stage.painter = painter;
    }
    await pane.use(key);
    panes[place] = pane;
    pane.scale = $("scale").value;
    pane.image = null;
  }
  painter.stages = panes.map((pane) => pane.stage);
  $("stages").replaceChildren(...panes.map((pane) => pane.stage.figure));
  $("stages").classList.toggle("two", panes.length > 1);
  $("scores").replaceChildren(...panes.map((pane) => pane.card));
  $("prompts").replaceChildren(...panes.map((pane) => pane.prompts.element));
  $("prompts-section").hidden = panes.every((pane) => pane.prompts.element.hidden);
  fade();
  support.use(panes[0].facts);
  for (const pane of panes) pane.showScore();
  rest();
  showReview();
  if (page.wanted) await showKey(page.wanted);
}

async function added(cell) {
  page.state = await get("state");
  options($("cell-a"), false);
  options($("cell-b"), true);
  $("cell-b").value = cell;
  await choose();
  say("Fitted: the new cell is next to the first one.");
}

// --- the image

// Answers may overtake one another: what was asked about an image counts while no other was wanted since.
function since() {
  const turn = page.turn;
  return () => turn === page.turn;
}

// Begins with another image; what was asked about the one before comes too late.
function want(key) {
  page.turn += 1;
  page.wanted = key;
  return since();
}

async function showImage(image, current) {
  const picture = await loaded(image.key);
  if (!current()) return;
  const other = image.key !== page.image?.key || painter.width !== picture.naturalWidth;
  [page.image, page.picture, page.shown] = [image, picture, page.turn];
  for (const pane of panes) pane.stage.show(picture);
  if (other) {
    painter.start(picture.naturalWidth, picture.naturalHeight);
    showReview();
  } else {
    painter.draw();
  }
  $("frame-field").hidden = image.frames < 2;
  $("frame").max = image.frames - 1;
  rest(`${image.name}: ${image.width} × ${image.height} pixels`);
  await Promise.all([...panes.map((pane) => pane.score(image)), showTruth(current)]);
  if (!current()) return;
  const places = panes.map(() => make("div"));
  $("why").replaceChildren(...places);
  await Promise.all(panes.map((pane, i) => explain(places[i], pane, picture, i > 0, current)));
}

async function showKey(key) {
  const current = want(key);
  try {
    const image = await get(`images/${key}`);
    if (current()) await showImage(image, current);
  } catch (error) {
    if (!current()) return; // of an image that nobody waits for
    if (page.shown !== page.turn) nothing();
    throw error;
  }
}

// Takes the image before off the page: the one that was asked for can't be shown.
function nothing() {
  [page.image, page.picture, page.wanted] = [null, null, null];
  for (const pane of panes) pane.clear();
  painter.start(1, 1);
  agree();
  $("frame-field").hidden = true;
  $("truth-said").textContent = "";
  $("why").replaceChildren();
  showReview();
  rest("No image");
}

// The image that is shown; an error where there is none, or another was asked for since.
function decidable() {
  if (page.image && page.shown === page.turn) return page.image;
  throw new Error(`${page.image ? "The image is still loading" : "No image is shown"}, so nothing was decided or saved.`);
}

async function showTruth(current = since()) {
  const on = pressed($("show-truth"));
  let mask = null;
  $("truth-said").textContent = "";
  if (on && page.image) {
    const found = await get(`images/${page.image.key}/truth`);
    if (!current()) return;
    const label = { 0: "normal", 1: "abnormal" }[found.label];
    $("truth-said").textContent = label ? `The truth: ${label}${found.mask ? ", outlined" : ""}.` : "Nobody labelled this image.";
    if (found.mask) {
      const image = new Image();
      image.src = found.mask;
      await image.decode();
      const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
      canvas.getContext("2d").drawImage(image, 0, 0);
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      mask = Uint8Array.from({ length: canvas.width * canvas.height }, (_, i) => (data[4 * i] > 127 ? 1 : 0));
      if (!current()) return;
    }
  }
  for (const pane of panes) pane.stage.outline(mask);
}

// --- stepping

async function source() {
  const kind = $("source").value;
  if (kind === "test") page.count = (await get(`cells/${$("cell-a").value}/tested`)).count;
  else if (kind === "folder") page.count = page.state.folder.count;
  else page.count = page.dropped.length;
  $("find-field").hidden = kind !== "folder";
  $("number").max = page.count;
  $("of").value = `of ${page.count}`;
  for (const id of ["previous", "next", "number"]) $(id).disabled = page.count === 0;
}

const keyAt = (number) =>
  ({ test: `test-${$("cell-a").value}-${number - 1}`, folder: `folder-${number - 1}`, dropped: page.dropped[number - 1] })[$("source").value];

async function go(number) {
  if (!page.count) return;
  const to = Math.max(1, Math.min(page.count, number));
  $("number").value = to;
  $("frame").value = 0;
  await showKey(keyAt(to));
}

const step = safely((by) => go(Number($("number").value) + by));

const find = safely(async () => {
  const { number } = await get(`find?text=${encodeURIComponent($("find").value)}&after=${Number($("number").value) - 1}`);
  if (number === null) throw new Error(`No name in the folder holds “${$("find").value}”.`);
  await go(number + 1);
});

async function take(files) {
  for (const file of files) {
    const image = await upload(file);
    page.dropped.push(image.key);
    $("source").value = "dropped";
    await source();
    $("number").value = page.count;
    $("frame").value = 0;
    await showImage(image, want(image.key));
  }
}

// --- the map

function onPane(pane) {
  paintMap(pane);
  agree();
}

function paintMap(pane) {
  const [low, high] = pane.range();
  pane.stage.colour(page.palettes[$("colours").value], low, high, pane.mapThreshold ?? -Infinity);
}

function fade() {
  $("opacity-said").value = `${$("opacity").value} %`;
  for (const pane of panes) pane.stage.heat.style.opacity = Number($("opacity").value) / 100;
}

function repaint() {
  for (const pane of panes) paintMap(pane);
}

// --- mask

// The mask counted on the pixels of a pane's map, and the AUROC, which no threshold changes: kept while neither changes.
function counted(pane) {
  const { map, side } = pane.scored;
  if (pane.counted?.map !== map || pane.counted.drawn !== painter.drawn) {
    const counts = binned(painter.mask, side, painter.width, painter.height);
    pane.counted = { map, drawn: painter.drawn, counts, area: auroc(map, counts) };
  }
  return pane.counted;
}

function agree() {
  const place = $("agreement");
  if (!page.image || painter.empty) {
    place.replaceChildren();
    return;
  }
  const rows = panes.filter((pane) => pane.scored?.map).map((pane) => {
    const { map, counts, area } = counted(pane);
    const agreement = pane.mapThreshold === null ? null : dice(map, counts, pane.mapThreshold);
    return make("div", {}, make("dt", {}, pane.facts.name), make("dd", {}, `Dice ${agreement === null ? "–" : percent(agreement)}, pixel AUROC ${area === null ? "–" : percent(area)}`));
  });
  place.replaceChildren(...rows);
}

function tool(name) {
  painter.tool = painter.tool === name ? null : name;
  for (const one of ["paint", "erase"]) press($(one), painter.tool === one);
  for (const pane of panes) pane.stage.box.classList.toggle("painting", painter.active);
  for (const pane of panes) pane.stage.brush.hidden = !painter.active;
}

function takeMap() {
  const pane = panes[0];
  if (!pane?.scored?.map || pane.mapThreshold === null) {
    complain(new Error("Set a threshold of the map first."));
    return;
  }
  const values = sampled(pane.scored.map, pane.scored.side, painter.width, painter.height);
  painter.replace(Uint8Array.from(values, (value) => (value >= pane.mapThreshold ? 1 : 0)));
}

// --- review and cases

function showReview() {
  const same = (row) => row.image === page.image?.id && row.content === page.image?.content && row.cell === panes[0]?.facts.key;
  const found = page.state.reviews.find(same);
  for (const name of ["accept", "reject"]) press($(name), found?.decision === name);
  $("note").value = found?.note ?? "";
  $("review-count").value = `${page.state.reviews.length} on the list`;
}

const review = safely(async (decision) => {
  const image = decidable();
  const pane = panes[0];
  const { reviews } = await post("review", {
    image: image.key, decision, note: $("note").value, cell: pane.facts.key, overrides: pane.prompts.overrides,
    threshold: String(pane.threshold), when: new Date().toISOString(),
  });
  page.state.reviews = reviews;
  showReview();
});

const decide = (name) => review(pressed($(name)) ? "" : name);
const decided = () => ["accept", "reject"].find((name) => pressed($(name))) ?? "";

const save = safely(async () => {
  const image = decidable();
  const cells = panes.map((pane) => ({
    cell: pane.facts.key, overrides: pane.prompts.overrides, threshold: pane.threshold, map_threshold: pane.mapThreshold,
  }));
  const found = await post("cases", {
    image: image.key, label: $("case-label").value, split: $("case-split").value, mask: painter.png(), note: $("note").value, cells,
  });
  say(`Saved ${found.case}: ${found.count} in ${found.out}.`);
});

// --- keys

const KEYS = {
  ArrowLeft: () => step(-1), ArrowRight: () => step(1), t: () => $("show-truth").click(), p: () => tool("paint"),
  e: () => tool("erase"), "+": () => view.by(1.5), "=": () => view.by(1.5), "-": () => view.by(1 / 1.5), 0: () => view.reset(),
  a: () => decide("accept"), r: () => decide("reject"),
  m: () => { $("opacity").value = Number($("opacity").value) ? 0 : 60; fade(); },
};
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  const typing = event.target.closest("textarea, select, input:not([type=range])");
  const sliding = event.target.matches("input[type=range]") && event.key.startsWith("Arrow");
  if (typing || sliding || event.altKey) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") painter.undo();
  else if (event.ctrlKey || event.metaKey) return;
  else if (painter.active && event.target.matches(".box") && MOVES[event.key]) painter.step(...MOVES[event.key]);
  else if (painter.active && event.target.matches(".box") && event.key === " ") painter.stamp();
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
}

// --- everything is connected here

function connect() {
  $("cell-a").addEventListener("change", safely(async () => { await choose(); await source(); }));
  $("cell-b").addEventListener("change", safely(choose));
  $("source").addEventListener("change", safely(async () => { await source(); $("number").value = 1; await go(1); }));
  $("number").addEventListener("change", safely(() => go(Number($("number").value))));
  $("find").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); find(); } });
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("frame").addEventListener("change", safely(() => showKey(`${page.image.key.split("-").slice(0, 2).join("-")}-${$("frame").value}`)));
  $("file").addEventListener("change", safely(async () => { await take($("file").files); $("file").value = ""; }));
  $("opacity").addEventListener("input", fade);
  $("colours").addEventListener("input", repaint);
  $("scale").addEventListener("change", () => { for (const pane of panes) pane.scale = $("scale").value; repaint(); });
  $("zoom-in").addEventListener("click", () => view.by(1.5));
  $("zoom-out").addEventListener("click", () => view.by(1 / 1.5));
  $("zoom-fit").addEventListener("click", () => view.reset());
  $("show-truth").addEventListener("click", safely(() => { press($("show-truth"), !pressed($("show-truth"))); return showTruth(); }));
  $("paint").addEventListener("click", () => tool("paint"));
  $("erase").addEventListener("click", () => tool("erase"));
  $("undo").addEventListener("click", () => painter.undo());
  $("clear").addEventListener("click", () => painter.replace(new Uint8Array(painter.mask.length)));
  $("take-map").addEventListener("click", takeMap);
  $("brush").addEventListener("input", () => { painter.size = Number($("brush").value); $("brush-said").value = `${painter.size} px`; painter.draw(); });
  $("accept").addEventListener("click", () => decide("accept"));
  $("reject").addEventListener("click", () => decide("reject"));
  $("note").addEventListener("change", () => review(decided()));
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
  $("case-form").addEventListener("submit", save);
  document.addEventListener("keydown", onKey);
  document.addEventListener("paste", safely(async (event) => { if (event.clipboardData.files.length) await take(event.clipboardData.files); }));
  let over = 0;
  document.addEventListener("dragenter", () => { over += 1; $("dropping").hidden = false; });
  document.addEventListener("dragleave", () => { over -= 1; $("dropping").hidden = over > 0; });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", safely(async (event) => {
    event.preventDefault();
    over = 0;
    $("dropping").hidden = true;
    await take(event.dataTransfer.files);
  }));
}

const start = safely(async () => {
  page.state = await get("state");
  for (const [name, numbers] of Object.entries(page.state.colours)) {
    page.palettes[name] = new Palette(numbers);
    $("colours").append(make("option", {}, name));
  }
  options($("cell-a"), false);
  options($("cell-b"), true);
  $("out").textContent = page.state.out;
  if (page.state.folder) {
    const option = $("source").querySelector("[value=folder]");
    option.hidden = false;
    option.textContent = `Folder ${page.state.folder.name}`;
    $("source").value = "folder";
  }
  connect();
  await choose();
  await source();
  showReview();
  if (page.state.folder) await go(1);
  document.body.dataset.ready = "true";
});

start();
