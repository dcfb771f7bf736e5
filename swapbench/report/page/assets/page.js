// What the reader chose, and what follows from it.
"use strict";

const state = {
  visible: [], ordered: [], page: 0, sort: { name: "", descending: false }, shown: [], selected: -1,
  allowed: new Map(), words: "", x: "latency_p50", y: "acer", xLog: true, yLog: false, colour: "net", shape: "precision",
};

// ---- Filters ----

function applyFilters() {
  const limits = data.facets.filter((one) => state.allowed.has(one.name)).map((one) => [one.rows, state.allowed.get(one.name)]);
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  state.visible = Array.from({ length: count() }, (_, row) => row).filter(
    (row) => limits.every(([rows, allowed]) => allowed.has(rows[row])) && words.every((word) => haystack(row).includes(word)),
  );
  state.page = 0;
  state.ordered = state.sort.name ? sorted(state.visible, state.sort.name, state.sort.descending) : state.visible;
  byId("count").textContent = `${state.visible.length} of ${count()} records${state.visible.length ? "" : ": no record fits"}`;
  drawTable();
  return drawChart();
}

function menu(title, told, ...children) {
  const body = make("div", { class: "menu-body", role: "group", "aria-label": title }, children);
  return make("details", { class: "menu" }, make("summary", {}, `${title}: `, told), body);
}

const check = (title, checked, onchange, more = {}) =>
  make("label", {}, make("input", { type: "checkbox", checked, onchange, ...more }), " ", title);

function facetMenu(one) {
  const told = make("span", {}, "all");
  const counts = one.values.map(() => 0);
  for (const place of one.rows) counts[place] += 1;
  const boxes = one.values.map((value, place) =>
    check(`${value} (${counts[place]})`, true, changed, { value: place, "data-facet": one.name }));
  const inputs = boxes.map((box) => box.querySelector("input"));
  function changed() {
    const chosen = inputs.filter((input) => input.checked).map((input) => Number(input.value));
    if (chosen.length === inputs.length) state.allowed.delete(one.name);
    else state.allowed.set(one.name, new Set(chosen));
    const names = chosen.map((place) => one.values[place]);
    told.textContent = chosen.length === inputs.length ? "all" : names.length > 2 ? `${names.length} chosen` : names.join(", ") || "none";
    applyFilters();
  }
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
  return menu(one.title, told, inputs.length > 2 ? shortcuts : "", boxes);
}

function drawFilters() {
  const useful = data.facets.filter((one) => one.values.length > 1);
  const search = make("input", { type: "search", id: "search", autocomplete: "off", placeholder: "name, run, digest …", oninput: (event) => {
    state.words = event.target.value;
    applyFilters();
  } });
  byId("filters").replaceChildren(make("label", {}, "Search ", search), ...useful.map(facetMenu));
}

// ---- Axes and columns ----

function choice(title, id, options, value, onchange) {
  const select = make("select", { id, onchange: (event) => onchange(event.target.value) },
    options.map(([name, said]) => make("option", { value: name, selected: name === value }, said)));
  return make("label", {}, `${title} `, select);
}

function drawAxes() {
  const numeric = data.columns.filter((column) => column.numeric).map((column) => [column.name, column.heading]);
  if (numeric.length < 2) {
    byId("chart-section").hidden = true; // nothing was measured that could be held against something else
    return;
  }
  const usable = (wanted, other) => (numeric.some(([name]) => name === wanted) ? wanted : numeric.find(([name]) => name !== other)[0]);
  state.x = usable(state.x);
  state.y = usable(state.y, state.x);
  const told = data.facets.filter((one) => one.values.length > 1).map((one) => [one.name, one.title]);
  const facets = told.length ? told : [["net", "Network"]];
  for (const name of ["colour", "shape"]) if (!facets.some(([known]) => known === state[name])) state[name] = facets[0][0];
  const set = (name) => (value) => {
    state[name] = value;
    drawChart();
  };
  const log = (title, id, name) => check(title, state[name], (event) => set(name)(event.target.checked), { id });
  byId("axes").replaceChildren(
    choice("Across", "x", numeric, state.x, set("x")), log("log", "x-log", "xLog"),
    choice("Up", "y", numeric, state.y, set("y")), log("log", "y-log", "yLog"),
    choice("Colour", "colour", facets, state.colour, set("colour")),
    choice("Shape", "shape", facets, state.shape, set("shape")),
    make("button", { type: "button", onclick: () => resetZoom() }, "Reset zoom"),
  );
}

function drawColumnMenu() {
  state.shown = data.first_shown.filter((name) => columns.has(name));
  const told = make("span", {}, `${state.shown.length} of ${columns.size}`);
  const boxes = data.columns.map((column) => check(column.heading, state.shown.includes(column.name), (event) => {
    // The table's own order, whatever was ticked first; the file names the row and always stays.
    const chosen = new Set(state.shown);
    if (event.target.checked) chosen.add(column.name);
    else chosen.delete(column.name);
    state.shown = data.columns.map((one) => one.name).filter((name) => chosen.has(name));
    told.textContent = `${state.shown.length} of ${columns.size}`;
    drawTable();
  }, { "data-column": column.name, disabled: column.name === "file" }));
  byId("table-controls").replaceChildren(menu("Columns", told, boxes));
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
  history.replaceState(null, "", `#record=${encodeURIComponent(data.rows.id[row])}`);
}

function closeRecord() {
  byId("detail").close();
}

function afterClosing() {
  history.replaceState(null, "", "#");
  const place = state.ordered.indexOf(state.selected);
  if (place >= 0 && Math.floor(place / ROWS_A_PAGE) !== state.page) {
    state.page = Math.floor(place / ROWS_A_PAGE);
    drawTable();
  }
  byId("table").querySelector(`[data-row="${state.selected}"] button`)?.focus({ preventScroll: true });
}

// ---- Light and dark ----

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";

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
    for (const one of document.querySelectorAll("details.menu[open]")) if (one !== except) one.open = false;
  };
  document.addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && document.activeElement?.closest("details.menu[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
  addEventListener("beforeprint", () => drawTable(true));
  addEventListener("afterprint", () => drawTable());
  listenToChart();
}

document.addEventListener("DOMContentLoaded", async () => {
  Bokeh.set_log_level("error");
  takeIn(await unpacked("data"));
  drawFilters();
  drawAxes();
  drawColumnMenu();
  listen();
  byId("theme").setAttribute("aria-pressed", String(isDark()));
  await applyFilters();
  document.documentElement.dataset.ready = "yes";
  const asked = data.rows.id.indexOf(decodeURIComponent(/^#record=(.*)$/.exec(location.hash)?.[1] ?? ""));
  if (asked >= 0) openRecord(asked);
});
