"use strict";

// Tables: heads that sort by their column, a field that filters, a button that copies, and the first rows of very long ones.
const FEW = 50; // rows that are shown at first
const words = new Intl.Collator("en", { numeric: true });

const button = (text, press) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", () => press(made));
  return made;
};

const copier = (text) =>
  button("Copy", async (self) => {
    let done = true;
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      const field = document.createElement("textarea"); // where the browser has no clipboard for pages that are files
      field.value = text();
      document.body.append(field);
      field.select();
      done = document.execCommand("copy");
      field.remove();
    }
    self.textContent = done ? "Copied" : "Not copied";
    setTimeout(() => (self.textContent = "Copy"), 1500);
  });

const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function cellValue(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text === "" || text === "-" ? null : Number.isNaN(Number(text)) ? text : Number(text);
}

function compare(a, b) {
  if (typeof a === typeof b) return typeof a === "number" ? a - b : words.compare(a, b);
  return typeof a === "number" ? -1 : 1;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const names = heads.map((head) => head.textContent.trim());
  const rows = [...body.rows];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const bar = document.createElement("div");
  const filter = document.createElement("input");
  const count = document.createElement("span");
  let most = FEW;
  const more = button("", () => {
    most = Infinity;
    show();
  });
  const shown = () => [...body.rows].filter((row) => !row.hidden);
  const csv = () =>
    [names, ...shown().map((row) => [...row.cells].map((cell) => cell.dataset.value ?? cell.textContent.trim()))]
      .map((cells) => cells.map(quoted).join(","))
      .join("\n") + "\n";

  function show() {
    const asked = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [...body.rows].filter((row) => asked.every((word) => texts.get(row).includes(word)));
    const kept = new Set(found.slice(0, most));
    for (const row of body.rows) row.hidden = !kept.has(row);
    count.textContent = asked.length ? `${found.length} of ${rows.length}` : "";
    more.hidden = found.length <= most;
    more.textContent = `Show all ${found.length}`;
  }

  filter.type = "search";
  filter.placeholder = "Filter rows";
  filter.setAttribute("aria-label", "Filter rows");
  filter.hidden = rows.length < 8;
  filter.addEventListener("input", show);
  bar.className = "bar";
  bar.append(filter, copier(csv), count);
  table.parentElement.before(bar);
  table.parentElement.after(more);
  more.className = "more";
  show();

  heads.forEach((head, column) => {
    const press = button("", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const found = [...body.rows].map((row) => [cellValue(row, column), row]);
      const known = found.filter(([a]) => a !== null).sort(([a], [b]) => sign * compare(a, b));
      const unknown = found.filter(([a]) => a === null);
      body.replaceChildren(...[...known, ...unknown].map(([, row]) => row));
      show();
    });
    press.append(...head.childNodes);
    head.append(press);
  });
}

for (const block of document.querySelectorAll("pre")) {
  const frame = document.createElement("div");
  frame.className = "command";
  block.before(frame);
  frame.append(block, copier(() => block.textContent));
}

// Charts: what Plotly draws in the place of the pictures, which stay where it cannot.
const FADED = 0.12;

function coloured(value, look, key = "") {
  if (Array.isArray(value)) return value.map((one) => coloured(one, look, key));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, coloured(one, look, name)]));
  }
  if (key === "colorscale") return look.scale.map((colour, place) => [place / (look.scale.length - 1), colour]);
  if (typeof value !== "string" || !/color$/.test(key) || value[0] !== "@") return value;
  const [name, part] = value.slice(1).split("/");
  if (name === "scale") return look.scale[Math.round(Number(part) * (look.scale.length - 1))];
  const hex = /^C\d+$/.test(name) ? look.arms[Number(name.slice(1))] : look[name];
  return part === undefined ? hex : hex + Math.round(Number(part) * 255).toString(16).padStart(2, "0");
}

function layoutOf(own, look, touched) {
  const axis = { automargin: true, gridcolor: `${look.dim}40`, linecolor: look.dim, zerolinecolor: look.dim, fixedrange: touched };
  const axes = Object.keys(own).filter((key) => /^[xy]axis/.test(key));
  return {
    paper_bgcolor: look.paper,
    plot_bgcolor: look.paper,
    font: { color: look.ink, family: "system-ui, sans-serif", size: 12 },
    margin: { t: 16, r: 16, b: 40, l: 40 },
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", itemsizing: "constant" },
    hoverlabel: { namelength: -1, bgcolor: look.paper, bordercolor: look.dim, font: { color: look.ink } },
    dragmode: touched ? false : "zoom",
    ...own,
    ...Object.fromEntries(axes.map((key) => [key, { ...axis, zeroline: false, ...own[key] }])),
  };
}

async function plotly() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text(); // the page's policy names it by its hash
  document.head.append(script);
  return window.Plotly;
}

function follow(place, Plotly) {
  const every = place.data.map((_, at) => at);
  place.on("plotly_hover", ({ points }) => {
    Plotly.restyle(place, { opacity: every.map((at) => (at === points[0].curveNumber ? 1 : FADED)) }, every);
  });
  place.on("plotly_unhover", () => Plotly.restyle(place, { opacity: 1 }, every));
}

async function draw() {
  const said = document.getElementById("charts");
  if (said === null || typeof DecompressionStream === "undefined") return;
  const { charts, looks } = JSON.parse(said.textContent);
  const Plotly = await plotly();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touched = matchMedia("(pointer: coarse)").matches;
  const options = { displayModeBar: false, responsive: true, typesetMath: false };
  const again = () =>
    Promise.all(
      [...document.querySelectorAll("[data-chart]")].map(async (place) => {
        const look = looks[dark.matches ? "dark" : "light"];
        const { data, layout } = charts[place.dataset.chart];
        place.hidden = false;
        await Plotly.react(place, coloured(data, look), layoutOf(coloured(layout, look), look, touched), options);
        place.closest("figure").querySelector(".frame").hidden = true;
        if (layout.meta === "follow" && !place.dataset.followed) {
          place.dataset.followed = "yes";
          follow(place, Plotly);
        }
      }),
    );
  await again();
  dark.addEventListener("change", again);
  document.documentElement.dataset.drawn = "yes";
}

draw();
