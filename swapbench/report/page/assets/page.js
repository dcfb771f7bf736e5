// What the reader chose, what follows from it, and the start of the page.
"use strict";

const state = {
  visible: [], ordered: [], page: 0, sort: { name: "", descending: false }, shown: [], selected: -1,
  allowed: new Map(), words: "", x: "", y: "", xLog: true, yLog: false, colour: "", shape: "",
  opened: -1, compared: null, // the runs and the column that are held against each other: see runs.js
};

// ---- Filters ----

function applyFilters() {
  const limits = data.facets
    .filter(({ name }) => state.allowed.has(name))
    .map(({ name, rows }) => [rows, state.allowed.get(name)]);
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const isAllowed = (row) => limits.every(([rows, allowed]) => allowed.has(rows[row]));
  const hasWords = (row) => words.every((word) => haystacks()[row].includes(word));
  state.visible = [...data.rows.id.keys()].filter((row) => isAllowed(row) && hasWords(row));
  state.page = 0;
  state.ordered = state.sort.name ? sorted(state.visible, state.sort) : state.visible;
  const none = state.visible.length ? "" : ": none passes the filters";
  byId("count").textContent = `${state.visible.length} of ${count()} records${none}`;
  drawTable();
  drawRuns();
  return drawChart();
}

function menu(title, summary, ...children) {
  const body = make("div", { class: "menu-body", role: "group", "aria-label": title }, children);
  return make("details", { class: "menu" }, make("summary", {}, `${title}: `, summary), body);
}

const check = (title, checked, onchange, more = {}) =>
  make("label", {}, make("input", { type: "checkbox", checked, onchange, ...more }), " ", title);

function facetMenu({ name: facetName, title, values, rows }) {
  const summary = make("span");
  const counts = values.map(() => 0);
  for (const place of rows) counts[place] += 1;
  const isChosen = (place) => state.allowed.get(facetName)?.has(place) ?? true;
  const boxes = values.map((value, place) =>
    check(`${value} (${counts[place]})`, isChosen(place), changed, { value: place, "data-facet": facetName }));
  const inputs = boxes.map((box) => box.querySelector("input"));
  const chosenPlaces = () => inputs.filter((input) => input.checked).map((input) => Number(input.value));
  function sumUp() {
    const names = chosenPlaces().map((place) => values[place]);
    const some = names.length > 2 ? `${names.length} chosen` : names.join(", ") || "none";
    summary.textContent = names.length === values.length ? "all" : some;
  }
  function changed() {
    const chosen = chosenPlaces();
    if (chosen.length === values.length) state.allowed.delete(facetName);
    else state.allowed.set(facetName, new Set(chosen));
    sumUp();
    applyFilters();
    remember();
  }
  sumUp();
  const setAll = (checked) => () => {
    for (const input of inputs) input.checked = checked;
    changed();
  };
  const shortcuts = make(
    "div",
    { class: "shortcuts" },
    make("button", { type: "button", onclick: setAll(true) }, "All"),
    make("button", { type: "button", onclick: setAll(false) }, "None"),
  );
  return menu(title, summary, inputs.length > 2 ? shortcuts : "", boxes);
}

function drawFilters() {
  const facets = data.facets.filter(({ values }) => values.length > 1);
  const oninput = (event) => {
    state.words = event.target.value;
    applyFilters();
    remember("words");
  };
  const attributes = { type: "search", id: "search", autocomplete: "off", value: state.words };
  const search = make("input", { ...attributes, placeholder: "name, run, digest …", oninput });
  byId("filters").replaceChildren(make("label", {}, "Search ", search), ...facets.map(facetMenu));
}

// ---- Axes and columns ----

function choice(title, id, options, value, onchange) {
  const select = make("select", { id, onchange: (event) => onchange(event.target.value) },
    options.map(([name, text]) => make("option", { value: name, selected: name === value }, text)));
  return make("label", {}, `${title} `, select);
}

const numericColumns = () => data.columns.filter((column) => column.numeric);

// The facets that colours and shapes can say: those that tell rows apart.
function tellingFacets() {
  const telling = data.facets.filter(({ values }) => values.length > 1);
  return telling.length ? telling : data.facets.filter(({ name }) => name === "net");
}

function drawAxes() {
  const numeric = numericColumns().map(({ name, heading }) => [name, heading]);
  byId("chart-section").hidden = numeric.length < 2; // then there is no trade-off
  if (numeric.length < 2 || !byId("axes")) return;
  const facets = tellingFacets().map(({ name, title }) => [name, title]);
  const set = (name) => (value) => {
    state[name] = value;
    drawChart();
    remember();
  };
  const log = (title, id, name) =>
    check(title, state[name], (event) => set(name)(event.target.checked), { id });
  byId("axes").replaceChildren(
    choice("Across", "x", numeric, state.x, set("x")), log("log", "x-log", "xLog"),
    choice("Up", "y", numeric, state.y, set("y")), log("log", "y-log", "yLog"),
    choice("Colour", "colour", facets, state.colour, set("colour")),
    choice("Shape", "shape", facets, state.shape, set("shape")),
    make("button", { type: "button", onclick: () => resetZoom() }, "Reset zoom"),
  );
}

function drawColumnMenu() {
  const summary = make("span", {}, `${state.shown.length} of ${columns.size}`);
  // Columns keep the order of the table, whichever was ticked first. The file names the row and always stays.
  const change = (name, checked) => {
    const chosen = new Set(state.shown);
    if (checked) chosen.add(name);
    else chosen.delete(name);
    state.shown = [...columns.keys()].filter((column) => chosen.has(column));
    summary.textContent = `${state.shown.length} of ${columns.size}`;
    drawTable();
    remember();
  };
  const boxes = data.columns.map(({ name, heading }) =>
    check(heading, state.shown.includes(name), (event) => change(name, event.target.checked),
      { "data-column": name, disabled: name === "file" }));
  const status = make("span", { role: "status", class: "muted" });
  const copies = Object.entries({ Markdown: asMarkdown, LaTeX: asLatex, CSV: asCsv }).map(([title, write]) => {
    const onclick = () => copyText(write(viewShown()), status, `${state.ordered.length} rows as ${title}`);
    return make("button", { type: "button", "data-copy": title, onclick, "aria-label": `Copy as ${title}` }, title);
  });
  const label = make("span", { class: "muted" }, "Copy as");
  byId("table-controls").replaceChildren(menu("Columns", summary, boxes), label, ...copies, status);
}

async function copyText(words, status, what) {
  try {
    await navigator.clipboard.writeText(words);
    status.textContent = ` Copied${what ? `: ${what}` : ""}.`;
  } catch {
    status.textContent = " The browser did not allow it: select the text and copy it yourself.";
  }
}

// ---- The chosen record ----

function openRecord(row) {
  const offset = document.activeElement?.dataset?.offset;
  state.selected = row;
  showSelected();
  markSelected();
  byId("tip").hidden = true;
  const dialog = byId("detail");
  if (!dialog.open) dialog.showModal();
  fillDetail(row);
  dialog.scrollTop = 0;
  (dialog.querySelector(`[data-offset="${offset}"]:enabled`) ?? byId("close")).focus();
  state.opened = row;
  remember("record");
}

function closeRecord() {
  byId("detail").close();
}

function afterClosing() {
  state.opened = -1;
  remember();
  const place = state.ordered.indexOf(state.selected);
  if (place >= 0 && Math.floor(place / ROWS_A_PAGE) !== state.page) {
    state.page = Math.floor(place / ROWS_A_PAGE);
    drawTable();
  }
  byId("table").querySelector(`[data-row="${state.selected}"] button`)?.focus({ preventScroll: true });
}

// ---- Light and dark ----

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const systemTheme = () => (prefersDark.matches ? "dark" : "light");
const isDark = () => (document.documentElement.dataset.theme ?? systemTheme()) === "dark";

function drawTheme() {
  byId("theme").setAttribute("aria-pressed", String(isDark()));
  drawChart();
  if (byId("detail").open) fillDetail(state.selected);
}

function listen() {
  byId("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    drawTheme();
  });
  prefersDark.addEventListener("change", drawTheme);
  byId("detail").addEventListener("close", afterClosing);
  byId("detail").addEventListener("click", (event) => {
    if (event.target === byId("detail")) closeRecord();
  });
  const closeMenus = (except) => {
    const menus = [...document.querySelectorAll("details.menu[open]")];
    for (const open of menus.filter((candidate) => candidate !== except)) open.open = false;
  };
  document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && document.activeElement?.closest("details.menu[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
  addEventListener("popstate", followAddress);
  addEventListener("beforeprint", () => drawTable(true));
  addEventListener("afterprint", () => drawTable());
}

// ---- Start ----

const canDraw = () => typeof Bokeh !== "undefined";

// The chart library travels packed like the data. What runs here is an inline script, whose hash the page's
// policy holds.
async function startLibrary() {
  document.head.append(make("script", {}, await unpacked("library")));
  if (!canDraw()) throw new Error("the browser did not run the chart library");
  Bokeh.set_log_level("error");
}

function explain(section, ...texts) {
  byId(section).replaceChildren(make("p", { class: "notice" }, texts));
}

async function startChart(library) {
  try {
    await library;
    listenToChart();
    plot.started = true;
    await drawChart();
  } catch (error) {
    plot.started = false;
    explain("chart-section", `There is no chart: ${error.message}. The table below has all numbers.`);
  }
}

async function start() {
  if (typeof DecompressionStream === "undefined") {
    byId("scroll").hidden = true;
    explain(
      "chart-section",
      "This browser is too old to show this page: it has no DecompressionStream. ",
      "Use a browser of 2023 or later; table.html and table.csv beside this file have the same numbers.",
    );
    return;
  }
  const library = startLibrary();
  setData(JSON.parse(await unpacked("data")));
  Object.assign(state, viewOf(location.hash));
  drawControls();
  listen();
  byId("theme").setAttribute("aria-pressed", String(isDark()));
  applyFilters();
  await startChart(library);
  document.documentElement.dataset.ready = "yes";
  if (state.opened >= 0) openRecord(state.opened);
  haystacks();
}

document.addEventListener("DOMContentLoaded", start);
