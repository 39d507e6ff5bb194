"use strict";
// Sorting, filtering and copying. A classic script, because pages opened from disk can't load modules.
(() => {
  const collator = new Intl.Collator("en", { numeric: true });
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // --- sorting: a button in each column head; figures start with the highest, missing ones stay last

  const worth = (row, column, number) => {
    const cell = row.cells[column];
    if (!number) return cell.textContent.trim();
    const text = cell.dataset.value ?? "";
    return text === "" ? null : Number(text);
  };

  const sort = (table, head) => {
    const heads = [...table.tHead.rows[0].cells];
    const column = heads.indexOf(head);
    const number = head.classList.contains("number");
    const first = number ? "descending" : "ascending";
    const second = number ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    const sign = order === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [row, worth(row, column, number)]);
    rows.sort(([, a], [, b]) => {
      if (a === b) return 0;
      if (a === null || a === "") return 1;
      if (b === null || b === "") return -1;
      return sign * (number ? a - b : collator.compare(a, b));
    });
    table.tBodies[0].append(...rows.map(([row]) => row));
    for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
  };

  for (const table of all("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button")?.addEventListener("click", () => sort(table, head));
    }
  }

  // --- filters: they are kept in the address, so that a view can be saved and shared

  const form = document.querySelector("form.filters");
  if (form) {
    const nothing = document.querySelector(".nothing");
    const tables = all("table[data-filtered]").map((table) => ({
      table,
      part: table.closest("section"),
      heads: [...table.tHead.rows[0].cells],
      cells: table.id.endsWith("-cells"),
      rows: [...table.tBodies[0].rows].map((row) => ({
        row,
        words: JSON.parse(row.dataset.words),
        text: row.textContent.toLowerCase(),
      })),
    }));

    const plots = all("figure[data-dataset]");

    const fits = ({ words, text }, asked) => {
      for (const [name, value] of Object.entries(words)) {
        const wanted = asked[name];
        if (wanted && (Array.isArray(value) ? !value.includes(wanted) : value !== wanted)) return false;
      }
      return asked.text.toLowerCase().split(/\s+/).every((word) => text.includes(word));
    };

    const wanted = (head, asked) => {
      const { dataset, metric } = head.dataset;
      if (metric && asked.figures === "auroc" && /^(image|pixel)_(?!auroc)/.test(metric)) return false;
      if (metric && asked.figures && asked.figures !== "auroc" && metric !== asked.figures) return false;
      return !(dataset && asked.dataset && dataset !== asked.dataset);
    };

    const show = () => {
      const asked = Object.fromEntries(new FormData(form));
      let shown = 0;
      let total = 0;
      const parts = new Map();
      for (const { table, part, heads, rows, cells } of tables) {
        const visible = heads.map((head) => wanted(head, asked));
        heads.forEach((head, column) => {
          if (head.hidden !== visible[column]) return;
          head.hidden = !visible[column];
          for (const { row } of rows) row.cells[column].hidden = !visible[column];
        });
        let here = 0;
        for (const one of rows) {
          const fit = fits(one, asked);
          if (one.row.hidden === fit) one.row.hidden = !fit;
          here += fit;
        }
        if (cells) {
          shown += here;
          total += rows.length;
        }
        parts.set(part, (parts.get(part) ?? 0) + here);
      }
      for (const plot of plots) plot.hidden = asked.dataset !== "" && plot.dataset.dataset !== asked.dataset;
      for (const some of all(".by-dataset")) some.hidden = all("figure", some).every((plot) => plot.hidden);
      for (const [part, count] of parts) part.hidden = count === 0;
      nothing.hidden = [...parts.values()].some((count) => count > 0);
      form.querySelector("output").value = `${shown} of ${total} records`;
    };

    // A fragment without "=" is a place on this page, such as the target of the skip link.
    const kept = () => location.hash.includes("=");

    const remember = () => {
      const choice = new URLSearchParams();
      for (const [name, value] of new FormData(form)) {
        if (value && !(name === "figures" && value === "auroc")) choice.set(name, value);
      }
      if (form.elements.figures.value === "") choice.set("figures", "all");
      if (String(choice) || kept()) history.replaceState(null, "", `#${choice}`);
    };

    const recall = () => {
      if (!kept()) return;
      const choice = new URLSearchParams(location.hash.slice(1));
      for (const field of form.querySelectorAll("[name]")) {
        const value = choice.get(field.name) ?? (field.name === "figures" ? "auroc" : "");
        field.value = field.name === "figures" && value === "all" ? "" : value;
      }
    };

    const update = () => { show(); remember(); };
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", update);
    form.addEventListener("reset", () => setTimeout(update));
    nothing.querySelector("button").addEventListener("click", () => form.reset());
    window.addEventListener("pageshow", () => { recall(); show(); });
    window.addEventListener("hashchange", () => { if (kept()) { recall(); show(); } else remember(); });
    form.hidden = false;
    recall();
    show();
  }

  // --- copying

  for (const button of all("button[data-copies]")) {
    const source = document.getElementById(button.dataset.copies);
    button.hidden = false;
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = document.execCommand("copy") ? "copied" : "selected: press Ctrl+C";
      }
      setTimeout(() => { button.textContent = "copy"; }, 2500);
    });
  }
})();
