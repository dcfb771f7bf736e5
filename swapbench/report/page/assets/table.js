// The table: sorted by any column, one page of rows at a time.
"use strict";

const ROWS_A_PAGE = 50;
const PRINTED_AT_MOST = 1000;
const table = { head: "", lines: new Map(), columns: "" };

// Rows in the order of a column, as swapbench report --sort: equal ones keep the order of the table, those
// without a value come last.
function sorted(rows, { name, descending }) {
  const column = columns.get(name);
  const places = once(column, descending, () => {
    const { values } = column;
    const [sign, every] = [descending ? -1 : 1, [...values.keys()]];
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    const present = every.filter((row) => values[row] !== null);
    present.sort((a, b) => sign * compare(values[a], values[b]) || a - b);
    const place = new Int32Array(every.length).fill(every.length);
    present.forEach((row, at) => { place[row] = at; });
    return place;
  });
  return [...rows].sort((a, b) => places[a] - places[b] || a - b);
}

function drawHead() {
  const key = JSON.stringify([state.shown, state.sort]);
  if (table.head === key) return;
  table.head = key;
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
  state.ordered = sorted(state.visible, state.sort);
  drawTable();
  remember();
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

// A line is made once: a filter mostly shows those that were there before, and the browser lays out what is new.
function lineOf(row) {
  if (!table.lines.has(row)) table.lines.set(row, tableRow(row));
  return table.lines.get(row);
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
  return make("tr", { "data-row": row }, cells);
}

function drawTable(whole = false) {
  const pages = Math.max(1, Math.ceil(state.ordered.length / ROWS_A_PAGE));
  state.page = Math.min(state.page, pages - 1);
  const first = whole ? 0 : state.page * ROWS_A_PAGE;
  const rows = state.ordered.slice(first, whole ? PRINTED_AT_MOST : first + ROWS_A_PAGE);
  const [body, columnsShown] = [byId("table").tBodies[0], state.shown.join(" ")];
  if (table.columns !== columnsShown) Object.assign(table, { columns: columnsShown, lines: new Map() });
  drawHead();
  const lines = rows.map(lineOf);
  if (lines.length !== body.rows.length || lines.some((line, i) => line !== body.rows[i])) {
    body.replaceChildren(...lines);
    showSelected();
  }
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
