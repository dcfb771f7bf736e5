// What is shown, as the skins of swapbench report see it: groups of lines with their cells, and the words around
// them. By the rules of swapbench.report.tables.view: a test holds the texts of both to each other.
"use strict";

const rules = () => data.copies;
const ofRow = (name, row) => shared(data.copies.rows[name][row]);
const unique = (values) => [...new Set(values)];
const filled = (name, ...texts) => texts.reduce((said, text) => said.replace("{}", () => text), rules().said[name]);
const inWords = (value, digits = 6) => String(Number(value.toPrecision(digits)));

function few(names, most = rules().names_at_most) {
  const more = names.length - most;
  return more <= 1 ? names.join(", ") : `${names.slice(0, most).join(", ")} and ${more} more`;
}

function some(names, most = 4) {
  return names.length <= most ? names.join(", ") : `${names.slice(0, most).join(", ")} and ${names.length - most} more`;
}

// ---- Groups ----

// A device is named by itself, with its cores and libraries, or in full: the shortest that tells it from others.
function placeNames(rows) {
  const places = new Map(rows.map((row) => [ofRow("place", row)[2], ofRow("place", row)]));
  const names = new Map([...places].map(([key, [device]]) => [key, device]));
  for (const longer of [1, 2]) {
    const taken = [...names.values()];
    for (const [key, forms] of places) {
      if (taken.filter((name) => name === names.get(key)).length > 1) names.set(key, forms[longer]);
    }
  }
  return names;
}

function grouped(rows) {
  const groups = [...Map.groupBy([...rows].sort((a, b) => a - b), (row) => ofRow("place", row)[2])];
  if (groups.length < 2) return [{ title: "", rows }];
  const names = placeNames(rows);
  const { title } = columns.get("device");
  return groups.map(([place, members]) => {
    const there = new Set(members);
    return { title: `${title}: ${names.get(place)}`, rows: rows.filter((row) => there.has(row)) };
  });
}

// ---- Cells ----

function cellOf(column, row) {
  const whole = text(column, row);
  if (!column.numeric) return { digits: "", aside: "", text: whole, absent: "" };
  if (whole.startsWith("<")) return { digits: "", aside: "", text: whole, absent: "" };
  if (whole === data.not_measured) {
    return { digits: "", aside: "", text: rules().not_measured, absent: reason(column, row) || rules().not_held };
  }
  const [, number, aside] = /^(\S+)(?: (.*))?$/.exec(whole);
  return { digits: number.slice(0, number.length - column.sign.length), aside: aside ?? "", text: "", absent: "" };
}

// The rows that are best in a column: see the head of swapbench.report.tables.view.
function bestOf(column, rows, cells) {
  if (!column.better) return new Set();
  const { group, kind, runtime } = kindsOf(column.conditions);
  const counted = rows.filter((_, i) => cells[i].digits);
  const digits = new Map(rows.map((row, i) => [row, cells[i].digits]));
  const quantities = new Set([column.about, "run"]);
  const isFair = (row) => !data.rows.doubts[row].some((place) => quantities.has(shared(place).quantity));
  const cost = (row) => (column.better === "lower" ? 1 : -1) * column.values[row];
  const best = new Set();
  for (const members of Map.groupBy(counted, (row) => kind[row]).values()) {
    const [first] = members;
    const isRival = (row) =>
      group[row] === group[first] && (kind[row] === kind[first] || runtime[row] !== runtime[first]);
    const others = counted.filter(isRival);
    const fair = others.filter(isFair);
    if (!fair.length || new Set(others.map((row) => digits.get(row))).size < 2) continue;
    const winner = fair.reduce((least, row) => (cost(row) < cost(least) ? row : least));
    for (const row of members) if (isFair(row) && digits.get(row) === digits.get(winner)) best.add(row);
  }
  return best;
}

// Everything that is shown, on all pages of the table.
function viewShown() {
  const shownColumns = state.shown.map((name) => columns.get(name));
  const reasons = new Map();
  const groups = grouped(state.ordered).map(({ title, rows }) => {
    const byColumn = shownColumns.map((column) => {
      const cells = rows.map((row) => cellOf(column, row));
      const best = column.numeric ? bestOf(column, rows, cells) : new Set();
      return cells.map((cell, i) => ({ ...cell, best: best.has(rows[i]), note: 0 }));
    });
    const lines = rows.map((row, i) => ({ row, cells: byColumn.map((cells) => cells[i]) }));
    for (const cell of lines.flatMap(({ cells }) => cells)) {
      if (!cell.absent) continue;
      if (!reasons.has(cell.absent)) reasons.set(cell.absent, reasons.size + 1);
      cell.note = reasons.get(cell.absent);
    }
    return { title, lines };
  });
  const rows = groups.flatMap(({ lines }) => lines.map(({ row }) => row));
  return {
    columns: shownColumns, groups, rows, notes: [...reasons.keys()], caption: captionOf(rows),
    kinds: doubtKinds(rows), remarks: remarksOf(shownColumns, groups, rows),
    simulated: rows.some((row) => data.copies.rows.simulated[row]),
  };
}

// ---- Words ----

function captionOf(rows) {
  const runs = unique(rows.map((row) => text(columns.get("run"), row)));
  const machines = unique(rows.map((row) => ofRow("machine", row)));
  const dates = unique(rows.map((row) => ofRow("date", row))).sort();
  const when = dates.length === 1 ? dates[0] : `${dates[0]} to ${dates.at(-1)}`;
  const records = `${rows.length} record${rows.length === 1 ? "" : "s"}`;
  return `${records} of run${runs.length === 1 ? "" : "s"} ${few(runs)} on ${few(machines)}, ${when}.`;
}

function confidencesOf(rows) {
  const levels = unique(rows.map((row) => ofRow("confidence", row)).filter((level) => level !== null));
  return levels.sort((a, b) => a - b).map((level) => `${inWords(100 * level, 3)} %`).join(" or ");
}

function remarksOf(shownColumns, groups, rows) {
  const cells = groups.flatMap(({ lines }) => lines.flatMap((line) => line.cells));
  const { simulated } = data.copies.rows;
  const remarks = rows.some((row) => simulated[row]) ? [rules().simulated] : [];
  if (remarks.length && rows.some((row) => simulated[row] === false)) {
    remarks[0] += filled("simulated_rows", few(rows.filter((row) => simulated[row]).map(label)));
  }
  const flips = rows.map((row) => ofRow("flip", row)).filter(Boolean);
  const most = rules().names_at_most;
  remarks.push(...flips.slice(0, most));
  if (flips.length > most) remarks.push(filled("more_flips", flips.length - most));
  const rates = unique(rows.map((row) => ofRow("rate", row)).filter((rate) => rate !== null)).sort((a, b) => a - b);
  if (rates.length && shownColumns.some((column) => column.parts.includes("paced"))) {
    remarks.push(filled("frame_rate", rates.map((rate) => inWords(rate)).join(" or ")));
  }
  if (cells.some((cell) => cell.aside.startsWith("["))) {
    const timed = state.shown.includes("latency_p50") ? confidencesOf(rows) : "";
    remarks.push(filled("intervals", timed && filled("confidence", timed)));
  }
  const hasDigits = (column) => rows.some((row) => cellOf(column, row).digits);
  const tails = shownColumns.filter((column) => rules().tails.includes(column.name));
  if (tails.some(hasDigits)) {
    remarks.push(filled("tails", unique(tails.map((column) => column.name.split("_").at(-1))).join(", ")));
  }
  if (cells.some((cell) => cell.aside.startsWith("±"))) remarks.push(filled("spread"));
  if (cells.some((cell) => cell.text.startsWith("<"))) remarks.push(filled("bound"));
  if (data.reference !== null && shownColumns.some((column) => column.conditions.includes("reference"))) {
    remarks.push(filled("ratios", data.reference));
    const odd = unique(rows.map((row) => ofRow("reference", row)).filter((name) => name !== null)).sort();
    if (odd.length) remarks.push(filled("reference", some(odd)));
  }
  const conditions = (row) => ["data", "protocol"].map((name) => data.rows.conditions[name][row]).join(" ");
  const errors = shownColumns.filter((column) => column.about === "accuracy");
  const scored = rows.filter((row) => errors.some((column) => cellOf(column, row).digits));
  if (new Set(scored.map(conditions)).size > 1) remarks.push(filled("too_different"));
  if (cells.some((cell) => cell.best)) remarks.push(filled("best", groups.length > 1 ? "its group" : "the rows"));
  return remarks;
}

function sentence(words) {
  const line = words.trim().split(/\s+/).join(" ");
  return !line || /[.!?]$/.test(line) ? line : `${line}.`;
}

// The doubts of some rows by code and quantity, each as one sentence without and with what helps.
function doubtKinds(rows) {
  const cases = rows.flatMap((row) => data.rows.doubts[row].map((place) => ({ row, doubt: shared(place) })));
  const kinds = Map.groupBy(cases, ({ doubt }) => JSON.stringify([doubt.code, doubt.quantity]));
  return [...kinds.values()].map((members) => {
    const { code, quantity } = members[0].doubt;
    const labels = unique(members.map(({ row }) => label(row)));
    const whose = labels.length === rows.length ? "all rows" : few(labels);
    const messages = unique(members.map(({ doubt }) => sentence(doubt.message)));
    const message = messages.length > 1 ? `for one, ${labels[0]}: ${messages[0]}` : messages[0];
    const remedy = members.map(({ doubt }) => doubt.remedy).find(Boolean);
    const says = `${code} (${quantity}), ${whose}: ${message}`;
    const helps = remedy ? ` What helps: ${remedy.trim().split(/\s+/).join(" ")}` : "";
    return { quantity, phrase: code.replaceAll("_", " "), text: says, withRemedy: says + helps };
  });
}
