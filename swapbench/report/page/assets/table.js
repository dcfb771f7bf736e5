// The table: sorted by any column, one page of rows at a time.
"use strict";

const ROWS_A_PAGE = 50;
const PRINTED_AT_MOST = 1000;
const compareTexts = new Intl.Collator("en", { numeric: true }).compare;

// Rows in the order of a column. Equal ones keep the order of the table; those without a value always come
// last.
function sorted(rows, name, descending) {
  const values = columns.get(name).values;
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : compareTexts(a, b));
  const present = rows.filter((row) => values[row] !== null);
  const absent = rows.filter((row) => values[row] === null);
  const sign = descending ? -1 : 1;
  present.sort((a, b) => sign * compare(values[a], values[b]) || a - b);
  return [...present, ...absent];
}

function drawHead() {
  const heads = state.shown.map((name) => {
    const column = columns.get(name);
    const order = state.sort.name !== name ? "none" : state.sort.descending ? "descending" : "ascending";
    const mark = { none: "", ascending: "▲", descending: "▼" }[order];
    const unit = column.unit ? make("span", { class: "unit" }, column.unit) : "";
    const button = make(
      "button",
      { type: "button", "data-sort": name, onclick: () => sortBy(name) },
      make("span", {}, column.title, unit ? " " : "", unit),
      make("span", { class: "arrow", "aria-hidden": "true" }, mark),
    );
    return make("th", { scope: "col", "aria-sort": order, class: column.numeric ? "number" : null }, button);
  });
  const focused = document.activeElement?.dataset?.sort;
  byId("table").tHead.replaceChildren(make("tr", {}, heads));
  if (focused) byId("table").tHead.querySelector(`[data-sort="${CSS.escape(focused)}"]`)?.focus();
}

function sortBy(name) {
  const same = state.sort.name === name;
  // Where more is better, the first click shows the best first too.
  const first = columns.get(name).better === "higher";
  state.sort = { name, descending: same ? !state.sort.descending : first };
  state.page = 0;
  state.ordered = sorted(state.visible, name, state.sort.descending);
  drawTable();
}

// "1.35 [1.34, 1.36]": the interval on a line of its own, so that the numbers of a column line up.
function numberCell(column, row) {
  const parts = /^(.*?) ((?:\[|± ).*)$/.exec(text(column, row));
  const why = reason(column, row);
  return make(
    "td",
    { class: "number", title: why || null },
    parts ? parts[1] : text(column, row),
    parts ? make("span", { class: "interval" }, parts[2]) : "",
  );
}

function tableRow(row) {
  const cells = state.shown.map((name) => {
    const column = columns.get(name);
    if (name === "file") {
      const attributes = { type: "button", class: "link", onclick: () => openRecord(row) };
      return make("th", { scope: "row" }, make("button", attributes, breakable(named(row))));
    }
    return column.numeric ? numberCell(column, row) : make("td", {}, text(column, row));
  });
  return make("tr", { "data-row": row, "aria-current": row === state.selected ? "true" : null }, cells);
}

function drawTable(whole = false) {
  const pages = Math.max(1, Math.ceil(state.ordered.length / ROWS_A_PAGE));
  state.page = Math.min(state.page, pages - 1);
  const first = whole ? 0 : state.page * ROWS_A_PAGE;
  const rows = state.ordered.slice(first, whole ? PRINTED_AT_MOST : first + ROWS_A_PAGE);
  drawHead();
  byId("table").tBodies[0].replaceChildren(...rows.map(tableRow));
  byId("pages").hidden = pages === 1;
  const turn = (title, step, possible) => {
    const attributes = { type: "button", "data-step": step, disabled: !possible };
    return make("button", { ...attributes, onclick: () => turnPage(step) }, title);
  };
  const focused = document.activeElement?.dataset?.step;
  const range = `${first + 1} to ${first + rows.length} of ${state.ordered.length}`;
  byId("pages").replaceChildren(
    turn("Previous", -1, state.page > 0),
    make("span", { class: "muted", role: "status" }, range),
    turn("Next", 1, state.page < pages - 1),
  );
  if (focused) byId("pages").querySelector(`[data-step="${focused}"]:enabled, button:enabled`)?.focus();
}

function turnPage(step) {
  state.page += step;
  drawTable();
}

function showSelected() {
  for (const line of byId("table").tBodies[0].rows) {
    if (Number(line.dataset.row) === state.selected) line.setAttribute("aria-current", "true");
    else line.removeAttribute("aria-current");
  }
}
