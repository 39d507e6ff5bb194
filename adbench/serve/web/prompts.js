// What a method lets be edited after training: phrases of the normal and the abnormal state, and numbers.

import { post } from "./api.js";
import { make, rest, safely, say, shown } from "./dom.js";

export class Prompts {
  constructor(changed) {
    this.changed = changed;
    this.element = make("div");
    this.overrides = {};
  }

  use(facts) {
    this.facts = facts;
    this.overrides = {};
    this.fields = new Map();
    const label = (name) => ({ "prompts.normal": "Normal, one phrase a line", "prompts.abnormal": "Abnormal, one phrase a line", templates: "Templates, one a line; {} is the phrase" })[name] ?? name;
    const parts = Object.entries(facts.editable).map(([name, value]) => {
      const field = Array.isArray(value)
        ? make("textarea", { rows: Math.min(8, value.length + 1), spellcheck: "false", name })
        : make("input", { type: "number", step: "any", name });
      field.value = Array.isArray(value) ? value.join("\n") : value;
      field.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.apply();
      });
      this.fields.set(name, field);
      return make("label", {}, label(name), field);
    });
    this.words = make("div", { class: "said-by-words", "aria-live": "polite" });
    this.element.replaceChildren(
      make("h3", {}, facts.name),
      make("p", { class: "note" }, `{} stands for “${facts.object}”. Only the text side runs again. Ctrl+Enter applies.`),
      ...parts,
      make(
        "div", { class: "tools" },
        make("button", { type: "button", class: "apply", onclick: () => this.apply() }, "Apply"),
        make("button", { type: "button", onclick: () => this.restore() }, "As in the record"),
        make("button", { type: "button", class: "each", onclick: this.askEach }, "What each phrase says"),
      ),
      this.words,
    );
    this.element.hidden = parts.length === 0;
  }

  present() {
    const found = {};
    for (const [name, field] of this.fields) {
      const before = this.facts.editable[name];
      const now = Array.isArray(before) ? field.value.split("\n").map((line) => line.trim()).filter(Boolean) : Number(field.value);
      if (JSON.stringify(now) !== JSON.stringify(before)) found[name] = now;
    }
    return found;
  }

  apply() {
    this.overrides = this.present();
    this.words.replaceChildren();
    return this.changed();
  }

  restore() {
    for (const [name, field] of this.fields) {
      const value = this.facts.editable[name];
      field.value = Array.isArray(value) ? value.join("\n") : value;
    }
    return this.apply();
  }

  // The score with each phrase as the only one of its state, highest first.
  askEach = safely(async () => {
    const image = this.imageKey?.();
    if (!image) return;
    say("Asking each phrase …");
    const asked = this.present();
    const found = await post(`cells/${this.facts.key}/phrases`, { image, overrides: asked });
    const texts = { ...this.facts.editable, ...asked };
    const row = (text, score) => make("tr", {}, make("th", { scope: "row", class: "long" }, text), make("td", { class: "number" }, shown(score)));
    this.words.replaceChildren(
      ...Object.entries(found).map(([name, scores]) => {
        const rows = texts[name].map((text, i) => [text, scores[i]]).sort((a, b) => (b[1] ?? -Infinity) - (a[1] ?? -Infinity));
        return make(
          "div", { class: "scroll" },
          make("table", { class: "board" },
            make("caption", {}, make("span", {}, `${name.replace("prompts.", "")}: the score with this phrase alone for its state`)),
            make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "phrase"), make("th", { scope: "col", class: "number" }, "score"))),
            make("tbody", {}, ...rows.map(([text, score]) => row(text, score)))),
        );
      }),
    );
    rest();
  });
}
