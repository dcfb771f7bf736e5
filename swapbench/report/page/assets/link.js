// The view in the address: axes, colours, filters, words, columns, order, the opened record and the compared
// runs. What a link names and the page does not have is left out; nothing in it becomes markup.
"use strict";

// What is shown where the address says nothing.
function usualView() {
  const numeric = numericColumns().map(({ name }) => name);
  const facets = tellingFacets().map(({ name }) => name);
  const x = numeric.includes("latency_p50") ? "latency_p50" : numeric[0] ?? "";
  const y = numeric.includes("acer") ? "acer" : numeric.find((name) => name !== x) ?? x;
  const usable = (name) => (facets.includes(name) ? name : facets[0]);
  return {
    x, y, xLog: true, yLog: false, colour: usable("net"), shape: usable("precision"), allowed: new Map(), words: "",
    shown: data.first_shown.filter((name) => columns.has(name)), sort: { name: "", descending: false }, opened: -1,
    compared: usualRuns(),
  };
}

function viewOf(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const view = usualView();
  const take = (name, field, isKnown) => {
    const value = given.get(name);
    if (value !== null && isKnown(value)) view[field] = value;
  };
  const isNumeric = (name) => columns.get(name)?.numeric;
  const isFacet = (name) => tellingFacets().some((known) => known.name === name);
  take("x", "x", isNumeric);
  take("y", "y", isNumeric);
  take("colour", "colour", isFacet);
  take("shape", "shape", isFacet);
  take("words", "words", () => true);
  for (const [name, field] of [["x-log", "xLog"], ["y-log", "yLog"]]) {
    if (given.has(name)) view[field] = given.get(name) === "yes";
  }
  for (const condition of given.getAll("where")) {
    const [name, ...value] = condition.split("=");
    const known = facet(name);
    if (!known) continue;
    const allowed = view.allowed.get(name) ?? new Set();
    const place = known.values.indexOf(value.join("="));
    if (place >= 0) allowed.add(place);
    if (place >= 0 || !value.length) view.allowed.set(name, allowed);
  }
  const chosen = new Set(given.getAll("column").filter((name) => columns.has(name)));
  if (chosen.size) view.shown = [...columns.keys()].filter((name) => name === "file" || chosen.has(name));
  const sort = given.get("sort") ?? "";
  const name = sort.replace(/^-/, "");
  if (columns.has(name)) view.sort = { name, descending: sort !== name };
  view.opened = data.rows.id.indexOf(given.get("record") ?? "");
  view.compared = runsOf(given) ?? view.compared;
  return view;
}

function addressOf(view) {
  const usual = usualView();
  const said = new URLSearchParams();
  for (const name of ["x", "y", "colour", "shape", "words"]) if (view[name] !== usual[name]) said.set(name, view[name]);
  for (const [name, field] of [["x-log", "xLog"], ["y-log", "yLog"]]) {
    if (view[field] !== usual[field]) said.set(name, view[field] ? "yes" : "no");
  }
  for (const [name, allowed] of view.allowed) {
    if (!allowed.size) said.append("where", name);
    for (const place of [...allowed].sort((a, b) => a - b)) said.append("where", `${name}=${facet(name).values[place]}`);
  }
  if (String(view.shown) !== String(usual.shown)) for (const name of view.shown) said.append("column", name);
  if (view.sort.name) said.set("sort", (view.sort.descending ? "-" : "") + view.sort.name);
  sayRuns(view.compared, usual.compared, said);
  if (view.opened >= 0) said.set("record", data.rows.id[view.opened]);
  return `#${said}`;
}

// A new entry of the browser's history, so that it goes back to the view before; one entry for typing a word,
// and one for turning over records.
let lastChange = "";
function remember(change = "") {
  const address = addressOf(state);
  if (address === addressOf(viewOf(location.hash))) return;
  const replaces = change && change === lastChange;
  lastChange = change;
  history[replaces ? "replaceState" : "pushState"](null, "", address);
}

// Back, forward, or another address typed into this page.
function followAddress() {
  lastChange = "";
  const { opened, ...view } = viewOf(location.hash);
  if (addressOf({ ...view, opened: -1 }) !== addressOf({ ...state, opened: -1 })) {
    Object.assign(state, view);
    drawControls();
    applyFilters();
  }
  if (opened >= 0 && opened !== state.opened) openRecord(opened);
  else if (opened < 0 && state.opened >= 0) {
    state.opened = -1;
    closeRecord();
  }
}

function drawControls() {
  drawFilters();
  drawAxes();
  drawColumnMenu();
  drawRunControls();
}
