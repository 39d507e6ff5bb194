// The distribution of a cell's scores: held-out and test images, normal and abnormal, with the score and the threshold.

import { make, percent, shown } from "./dom.js";
import { below } from "./measures.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, BINS] = [320, 74, 4, 16, 40];

function bins(scores, low, high) {
  const counts = new Array(BINS).fill(0);
  for (const one of scores) counts[Math.min(BINS - 1, Math.floor(((one - low) / (high - low || 1)) * BINS))] += 1;
  const most = Math.max(...counts, 1);
  return counts.map((count) => count / most);
}

function steps(shares) {
  const wide = (WIDTH - 2 * LEFT) / BINS;
  const high = HEIGHT - BOTTOM - 4;
  const points = shares.map((share, i) => {
    const y = HEIGHT - BOTTOM - share * high;
    return `L${(LEFT + i * wide).toFixed(1)} ${y.toFixed(1)}H${(LEFT + (i + 1) * wide).toFixed(1)}`;
  });
  return `M${LEFT} ${HEIGHT - BOTTOM}${points.join("")}V${HEIGHT - BOTTOM}Z`;
}

// Returns the chart of one group of scores, and a function that moves its two lines.
export function chart(known, range) {
  const [low, high] = range;
  const at = (value) => LEFT + ((WIDTH - 2 * LEFT) * (Math.max(low, Math.min(high, value)) - low)) / (high - low || 1);
  const line = make("svg:line", { class: "of-score", y1: 0, y2: HEIGHT - BOTTOM });
  const limit = make("svg:line", { class: "of-threshold", y1: 0, y2: HEIGHT - BOTTOM });
  const title = make("svg:title");
  const plot = make(
    "svg:svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }, title,
    make("svg:path", { class: "normal", d: steps(bins(known.normal, low, high)) }),
    make("svg:path", { class: "abnormal", d: steps(bins(known.abnormal, low, high)) }),
    make("svg:line", { class: "axis", x1: LEFT, x2: WIDTH - LEFT, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }),
    make("svg:text", { x: LEFT, y: HEIGHT - 3 }, shown(low, 3)),
    make("svg:text", { class: "y", x: WIDTH - LEFT, y: HEIGHT - 3 }, shown(high, 3)),
    limit, line,
  );
  const move = (score, threshold) => {
    for (const [one, value] of [[line, score], [limit, threshold]]) {
      one.toggleAttribute("hidden", value === null);
      if (value !== null) for (const x of ["x1", "x2"]) one.setAttribute(x, at(value));
    }
    title.textContent = `${known.name}: ${known.normal.length} normal and ${known.abnormal.length} abnormal scores; ` +
      `this score ${shown(score)}, threshold ${shown(threshold)}`;
  };
  return { plot, move };
}

// The sentence about where a score stands among normal images.
export function standing(known, score) {
  if (!known.normal.length) return "";
  const share = below(known.normal, score);
  return `higher than ${percent(share)} of ${known.normal.length} normal ${known.name} images`;
}

const key = () =>
  make(
    "ul", { class: "key" },
    ...["normal", "abnormal"].map((name) =>
      make("li", {}, make("svg:svg", { class: "swatch", viewBox: "0 0 34 12", "aria-hidden": "true" }, make("svg:path", { class: name, d: "M1 11V3H33V11Z" })), ` ${name}`)),
    make("li", {}, make("span", { class: "line-swatch of-score", "aria-hidden": "true" }), " this image"),
    make("li", {}, make("span", { class: "line-swatch of-threshold", "aria-hidden": "true" }), " threshold"),
  );

export { key };

// Sensitivity and specificity at a threshold, as the server gives them, in a table.
export function figuresTable(rows) {
  const cell = (figure) => {
    if (figure.value === null) return make("td", { class: "number" }, make("small", {}, figure.why));
    const interval = figure.low === null ? (figure.why ?? "") : `[${(100 * figure.low).toFixed(1)}, ${(100 * figure.high).toFixed(1)}]`;
    return make("td", { class: "number" }, percent(figure.value), " ", make("small", { class: figure.low === null ? "" : "interval" }, interval));
  };
  return make(
    "table", { class: "board" },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "images"), make("th", { scope: "col", class: "number" }, "sensitivity"), make("th", { scope: "col", class: "number" }, "specificity"))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, make("th", { scope: "row" }, row.name), cell(row.sensitivity), cell(row.specificity)))),
  );
}
