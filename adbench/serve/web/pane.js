// One cell on the page: its stage, its score on the distribution, its two thresholds and its prompts.

import { get, post, floats } from "./api.js";
import { chart, figuresTable, key, standing } from "./distribution.js";
import { make, safely, shown } from "./dom.js";
import { Prompts } from "./prompts.js";
import { Stage } from "./stage.js";

const WAIT = 150; // milliseconds after the last move of a slider, before the server is asked
const STEPS = 1000;

export class Pane {
  constructor(view, changed) {
    this.stage = new Stage(view, "Image");
    this.changed = changed;
    this.card = make("div", { class: "card" });
    this.prompts = new Prompts(() => this.rescore());
    this.asked = 0;
    this.image = null;
  }

  // Loads what is to be said of a cell.
  async use(cell) {
    this.facts = await get(`cells/${cell}`);
    this.asked += 1; // a score of the cell before comes too late
    this.card.classList.remove("waiting");
    this.scored = null;
    const { start, known } = this.facts;
    this.known = known.filter((one) => !one.why);
    this.values = [...new Set(this.known.flatMap((one) => [...one.normal, ...one.abnormal]))].sort((a, b) => a - b);
    if (start.image.value !== null) {
      this.values.push(start.image.value);
      this.values.sort((a, b) => a - b);
    }
    this.threshold = start.image.value ?? this.values[Math.floor(this.values.length / 2)] ?? 0;
    this.mapThreshold = start.pixel.value;
    this.stage.title(this.facts.name);
    this.prompts.use(this.facts);
    this.build();
  }

  get edited() {
    return Object.keys(this.prompts.overrides).length > 0;
  }

  async score(image) {
    this.image = image;
    this.asked += 1;
    const turn = this.asked;
    const overrides = this.prompts.overrides;
    this.card.classList.add("waiting"); // what stands there is of the image before
    let found;
    try {
      found = await post(`cells/${this.facts.key}/score`, { image: image.key, overrides });
    } catch (error) {
      if (turn !== this.asked) return;
      this.card.classList.remove("waiting");
      this.scored = null;
      this.stage.setMap(null, 0);
      this.showScore();
      throw error;
    }
    if (turn !== this.asked) return;
    this.card.classList.remove("waiting");
    this.scored = { score: found.score, map: found.map ? floats(found.map) : null, side: found.side };
    this.stage.setMap(this.scored.map, this.scored.side);
    this.measureMap();
    this.mapSlider.value = this.stepOf(this.mapThreshold ?? this.range()[1]);
    this.showScore();
    this.changed(this);
  }

  // Nothing is shown; a score that is still asked for comes too late.
  clear() {
    this.asked += 1;
    [this.image, this.scored] = [null, null];
    this.card.classList.remove("waiting");
    this.stage.clear();
    this.showScore();
  }

  rescore = safely(async () => {
    if (this.image) await this.score(this.image);
    this.askFigures();
  });

  measureMap() {
    const map = this.scored?.map;
    if (!map) return;
    const sorted = Float32Array.from(map).sort();
    this.own = [sorted[Math.floor(0.05 * sorted.length)], sorted[sorted.length - 1]];
  }

  // The map values of the darkest and the brightest colour.
  range(scale = this.scale) {
    const cell = this.facts.start.scale;
    const own = this.own ?? cell ?? [0, 1];
    return scale === "own" || !cell || this.edited ? own : cell;
  }

  build() {
    const { start, known } = this.facts;
    const name = this.facts.name;
    this.said = make("p", { class: "score", "aria-live": "polite" });
    this.places = make("p", { class: "note" });
    this.charts = [];
    this.plots = make("div", { class: "charts" });
    this.slider = make("input", {
      type: "range", min: 0, max: Math.max(0, this.values.length - 1), step: 1, value: Math.max(0, this.values.indexOf(this.threshold)),
      "aria-label": `Threshold of the score, ${name}`, oninput: () => this.onSlider(),
    });
    this.thresholdSaid = make("output");
    this.table = make("div", { class: "scroll" });
    this.mapSlider = make("input", {
      type: "range", min: 0, max: STEPS, step: 1, value: 0, "aria-label": `Threshold of the map, ${name}`, class: "map-threshold",
      oninput: () => this.onMapSlider(),
    });
    this.mapSaid = make("output");
    this.bare = make("p", { class: "note", hidden: true }, "No pixel of this map reaches its threshold, so none is coloured.");
    const from = (one, what) => (one.value === null ? `No threshold of the ${what} from held-out images: ${one.why}.` : null);
    const notes = [from(start.image, "score"), this.facts.maps ? from(start.pixel, "map") : null, ...known.filter((one) => one.why).map((one) => `No ${one.name} scores: ${one.why}.`), ...this.facts.notes];
    this.editedNote = make("p", { class: "note warning", hidden: true }, "The prompts were changed: the record's scores and thresholds are those of its own.");
    this.card.replaceChildren(
      make("h3", {}, name), this.said, this.places, this.editedNote, this.plots,
      make("label", { class: "slider" }, "Threshold of the score ", this.slider, this.thresholdSaid), this.table,
      make("label", { class: "slider", hidden: !this.facts.maps }, "Threshold of the map ", this.mapSlider, this.mapSaid), this.bare,
      ...notes.filter(Boolean).map((text) => make("p", { class: "note" }, text)),
    );
    this.askFigures();
  }

  drawCharts(score) {
    const all = [...this.values, ...(score === null ? [] : [score])];
    const range = [Math.min(...all), Math.max(...all)];
    this.charts = this.known.map((one) => chart(one, range));
    this.plots.replaceChildren(
      ...this.known.flatMap((one, i) => [make("h4", {}, `${one.name}: ${one.normal.length} normal, ${one.abnormal.length} abnormal`), this.charts[i].plot]),
      ...(this.known.length ? [key()] : []),
    );
  }

  showScore() {
    const score = this.scored?.score ?? null;
    const called = score !== null && score >= this.threshold;
    this.said.replaceChildren(
      ...(score === null ? ["–"] : [make("strong", {}, shown(score)), ` ${called ? "reaches" : "is below"} the threshold `, shown(this.threshold)]),
    );
    this.editedNote.hidden = !this.edited;
    const words = this.edited || score === null ? [] : this.known.map((one) => standing(one, score)).filter(Boolean);
    this.places.textContent = words.length ? `${words.join("; ")}.` : "";
    this.drawCharts(score);
    this.moveLines();
  }

  moveLines() {
    const score = this.scored?.score ?? null;
    for (const one of this.charts) one.move(score, this.threshold);
    this.thresholdSaid.value = shown(this.threshold);
    this.mapSaid.value = this.facts.maps ? (this.mapThreshold === null ? "off" : shown(this.mapThreshold)) : "";
    this.slider.setAttribute("aria-valuetext", shown(this.threshold));
    this.mapSlider.setAttribute("aria-valuetext", this.mapSaid.value);
    this.bare.hidden = !this.scored?.map || this.mapThreshold === null || this.own[1] >= this.mapThreshold;
    this.stage.describe(`${this.image?.name ?? "No image"}, ${this.facts.name}, score ${shown(score)}, threshold ${shown(this.threshold)}`);
  }

  onSlider() {
    this.threshold = this.values[Number(this.slider.value)] ?? this.threshold;
    this.showScore();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.askFigures(), WAIT);
  }

  stepOf(value) {
    const [low, high] = this.range();
    return Math.round((STEPS * (value - low)) / Math.max(high - low, 1e-12));
  }

  onMapSlider() {
    const [low, high] = this.range();
    this.mapThreshold = low + ((high - low) * Number(this.mapSlider.value)) / STEPS;
    this.moveLines();
    this.changed(this);
  }

  askFigures = safely(async () => {
    if (!this.known.length || this.edited) {
      this.table.replaceChildren();
      return;
    }
    const threshold = this.threshold;
    const rows = await post(`cells/${this.facts.key}/figures`, { threshold });
    if (threshold === this.threshold) this.table.replaceChildren(figuresTable(rows));
  });
}
