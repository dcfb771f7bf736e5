// Two runs held against each other: the same file under the same runtime and settings on the same device.
"use strict";

const PAIRS_AT_MOST = 200;
const SAME_IN_BOTH = ["runtime", "cores", "libraries", "threads", "settings", "frame_rate"];
const runOf = (row) => text(columns.get("run"), row);
const runNames = () => once(data.rows, "runs", () => {
  const oldest = [...data.rows.id.keys()].sort((a, b) => ofRow("date", a).localeCompare(ofRow("date", b)) || a - b);
  return unique(oldest.map(runOf));
});
let runsDrawn = "";

// The oldest run and the newest, by the first quantity that both have.
function usualRuns() {
  const names = runNames();
  if (names.length < 2) return null;
  const numeric = numericColumns().map(({ name }) => name);
  return { a: names[0], b: names.at(-1), of: numeric.includes("latency_p50") ? "latency_p50" : numeric[0] ?? "" };
}

function runsOf(given) {
  const usual = usualRuns();
  if (!usual) return null;
  const known = (name, isKnown, otherwise) => (isKnown(given.get(name)) ? given.get(name) : otherwise);
  const isRun = (name) => runNames().includes(name);
  return {
    a: known("run-a", isRun, usual.a), b: known("run-b", isRun, usual.b),
    of: known("difference", (name) => columns.get(name)?.numeric, usual.of),
  };
}

function sayRuns(compared, usual, said) {
  if (!compared) return;
  for (const [name, field] of [["run-a", "a"], ["run-b", "b"], ["difference", "of"]]) {
    if (compared[field] !== usual[field]) said.set(name, compared[field]);
  }
}

function drawRunControls() {
  byId("runs-section").hidden = !state.compared?.of;
  if (byId("runs-section").hidden) return;
  const set = (field) => (value) => {
    state.compared[field] = value;
    drawRuns();
    remember();
  };
  const names = runNames().map((name) => [name, name]);
  const numeric = numericColumns().map(({ name, heading }) => [name, heading]);
  byId("runs-controls").replaceChildren(
    choice("Run A", "run-a", names, state.compared.a, set("a")),
    choice("Run B", "run-b", names, state.compared.b, set("b")),
    choice("Quantity", "difference", numeric, state.compared.of, set("of")),
  );
}

// Rows of A and B that are the same file, measured in the same way, once in each.
function pairsOfRuns({ a, b }) {
  const keyOf = (row) =>
    JSON.stringify([data.rows.file[row], ofRow("place", row)[0], ...SAME_IN_BOTH.map((name) => data.rows.conditions[name][row])]);
  const byKey = (run) => Map.groupBy(state.ordered.filter((row) => runOf(row) === run), keyOf);
  const [ofA, ofB] = [byKey(a), byKey(b)];
  const both = [...ofA].filter(([key]) => ofB.has(key)).map(([key, rows]) => [rows, ofB.get(key)]);
  const once = both.filter((rows) => rows.every(({ length }) => length === 1)).map(([[one], [other]]) => [one, other]);
  return { pairs: once, repeated: both.length - once.length, alone: ofA.size + ofB.size - 2 * both.length };
}

// In what two rows differ that must be equal for their numbers to be compared, in words; "" for nothing.
function whyNot(row, other, column) {
  const { conditions } = data.rows;
  const sameRuntime = conditions.runtime[row] === conditions.runtime[other];
  const asked = column.conditions.filter((name) => sameRuntime || !data.of_one_runtime.includes(name));
  return asked.filter((name) => conditions[name][row] !== conditions[name][other]).map((name) => {
    const [one, two] = [row, other].map((place) => shared(conditions[name][place]) ?? "none");
    return `${data.words[name] ?? name}: ${one} and ${two}`;
  }).join("; ");
}

// B less A in the unit of the column. An interval for it that holds whenever both intervals hold: from the one
// extreme to the other.
function differenceOf(row, other, column) {
  const decimals = Math.max(...[row, other].map((place) => cellOf(column, place).digits.split(".")[1]?.length ?? 0));
  const inUnit = (value) => shown(column, value).toFixed(decimals).replace(/^-(?=[0.]*$)/, "");
  const bounds = [[column.low?.[other], column.high?.[row]], [column.high?.[other], column.low?.[row]]];
  const ends = bounds.map(([ofB, ofA]) => (ofB ?? NaN) - (ofA ?? NaN));
  const middle = inUnit(column.values[other] - column.values[row]);
  if (!ends.every(Number.isFinite)) return { words: middle, verdict: "no interval, so it may be chance" };
  const [low, high] = ends;
  const isLower = high < 0;
  const apart = isLower || low > 0;
  const verdict = !apart ? "cannot be told apart"
    : !column.better ? "differ" : isLower === (column.better === "lower") ? "B is better" : "B is worse";
  return { words: `${middle} [${inUnit(low)}, ${inUnit(high)}]`, verdict };
}

function pairLine([row, other], column) {
  const number = (place) => {
    const attributes = { type: "button", class: "link", onclick: () => openRecord(place) };
    return make("td", { class: "number" }, make("button", attributes, text(column, place) + (isDoubtful(place) ? " †" : "")));
  };
  const head = make("th", { scope: "row" }, breakable(data.rows.file[row]));
  const place = make("td", {}, `${text(columns.get("runtime"), row)}, ${text(columns.get("device"), row)}`);
  const values = [row, other].map((one) => column.values[one]);
  const why = values.every(Number.isFinite) ? whyNot(row, other, column) : "";
  const files = data.rows.sha256[row] === data.rows.sha256[other] ? "" : "; the file itself differs (SHA-256)";
  let cells = [make("td", { class: "number" }, data.not_measured), make("td", {}, "not measured in both")];
  if (why) cells = [cells[0], make("td", {}, `cannot be compared: ${why}`)];
  else if (values.every(Number.isFinite)) {
    const { words, verdict } = differenceOf(row, other, column);
    cells = [make("td", { class: "number" }, words), make("td", {}, verdict + files)];
  }
  return make("tr", {}, head, place, number(row), number(other), cells);
}

function drawRuns() {
  if (byId("runs-section").hidden) return;
  const column = columns.get(state.compared.of);
  const { pairs: both, repeated, alone } = pairsOfRuns(state.compared);
  const key = JSON.stringify([state.compared, both, repeated, alone]);
  if (key === runsDrawn) return;
  runsDrawn = key;
  const heads = ["File", "Where", "A", "B", "B less A", "What can be said"];
  const kinds = ["", "", "number", "number", "number", ""];
  const unit = column.unit ? `, ${column.unit}` : "";
  const titles = heads.map((title, i) => make("th", { scope: "col", class: kinds[i] || null }, title + (kinds[i] && unit)));
  byId("runs").tHead.replaceChildren(make("tr", {}, titles));
  byId("runs").tBodies[0].replaceChildren(...both.slice(0, PAIRS_AT_MOST).map((pair) => pairLine(pair, column)));
  byId("runs-scroll").hidden = !both.length;
  const counted = (number, what) => (number ? `${number} ${what}` : "");
  byId("runs-note").textContent = [
    `${both.length} file${both.length === 1 ? " is" : "s are"} in both runs, of those that pass the filters.`,
    counted(Math.max(0, both.length - PAIRS_AT_MOST), "of them are not shown: filter."),
    counted(repeated, "more were measured more than once in a run, so that it is open which to take."),
    counted(alone, "more are in one of the two only."),
  ].filter(Boolean).join(" ");
}
