// The support of a cell: its images, taken away or added by clicking, and a fit with what is left.

import { get, pictureOf, post } from "./api.js";
import { complain, make, press, pressed, safely, say } from "./dom.js";

const PAGE = 12; // images of the pool that are shown at a time
const ASK = 700; // milliseconds between questions about a fit
const STAGES = { starting: "starting", decode: "decoding", build: "building", fit: "fitting", held_out: "scoring held-out images", score: "scoring test images", write: "writing the record" };

export class Support {
  constructor(element, fitted) {
    this.element = element;
    this.fitted = fitted;
    this.facts = null;
  }

  use = safely(async (facts) => {
    if (facts.key === this.facts?.key) return;
    this.facts = facts;
    if (facts.learns === "none") {
      this.element.replaceChildren(make("p", { class: "note" }, `${facts.method} learns from no image.`));
      return;
    }
    let found;
    try {
      found = await get(`cells/${facts.key}/support`);
    } catch (error) {
      this.element.replaceChildren(make("p", { class: "note" }, error.message));
      return;
    }
    if (facts.key === this.facts.key) this.build(found);
  });

  build({ learned, pool }) {
    this.without = new Set();
    this.added = new Set();
    this.button = make("button", { type: "button", class: "fit", disabled: true, onclick: this.fit }, "Fit again");
    this.changes = make("output");
    this.bar = make("progress", { max: 1, value: 0, hidden: true, "aria-label": "Progress of the fit" });
    const shown = learned.map((one, row) => this.thumb(one, row, this.without, "Take away"));
    this.gallery = make("div", { class: "thumbs" });
    this.more = make("button", { type: "button", onclick: () => this.grow(pool) }, "More");
    this.element.replaceChildren(
      make("p", { class: "note" }, `What ${this.facts.method} learned from. Click an image to take it away.`),
      make("div", { class: "thumbs learned" }, ...shown),
      ...(pool.length ? [make("h3", {}, "Add"), this.gallery, this.more] : []),
      make("div", { class: "tools" }, this.button, this.changes, this.bar),
    );
    this.grow(pool);
  }

  grow(pool) {
    const from = this.gallery.childElementCount;
    this.gallery.append(...pool.slice(from, from + PAGE).map((one, i) => this.thumb(one, from + i, this.added, "Add")));
    this.more.hidden = from + PAGE >= pool.length;
  }

  thumb(one, row, rows, verb) {
    const kind = one.label ? "abnormal" : "normal";
    const button = make(
      "button", { type: "button", class: `thumb ${verb === "Add" ? "add" : "away"}`, "aria-pressed": "false", title: one.name, "aria-label": `${verb}: ${one.name}` },
      make("img", { src: pictureOf(one.key, true), alt: "", loading: "lazy" }), make("small", {}, kind),
    );
    button.addEventListener("click", () => {
      press(button, !pressed(button));
      if (pressed(button)) rows.add(row);
      else rows.delete(row);
      this.button.disabled = this.without.size + this.added.size === 0;
      this.changes.value = `${this.without.size} taken away, ${this.added.size} added`;
    });
    return button;
  }

  fit = safely(async () => {
    const { fit } = await post(`cells/${this.facts.key}/fit`, { without: [...this.without], added: [...this.added] });
    this.watch(fit).catch(complain); // minutes, in which the page is not busy
  });

  async watch(fit) {
    this.button.disabled = true;
    this.bar.hidden = false;
    say("Fitting with the new support; the page stays usable.");
    for (;;) {
      const state = await get(`fits/${fit}`);
      this.bar.value = state.done;
      this.changes.value = STAGES[state.stage] ?? state.stage;
      if (state.finished) {
        this.bar.hidden = true;
        this.changes.value = "";
        if (state.error) complain(new Error(state.error));
        else await this.fitted(state.cell);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, ASK));
    }
  }
}
