// Pareto fronts, by the rule of swapbench.report.choose.fronts: tests/golden/fronts.json holds both to it.
"use strict";

// Which of these rows can be drawn: those with a number on both axes, which must be positive on a log axis.
function rowsToDraw(rows, xColumn, yColumn, xLog = false, yLog = false) {
  const drawable = (value, log) => Number.isFinite(value) && (!log || value > 0);
  return rows.filter((row) => drawable(xColumn.values[row], xLog) && drawable(yColumn.values[row], yLog));
}

// What is the same for every choice of rows, so that a filter does not work it out again.
const known = new WeakMap();
function once(owner, key, work) {
  if (!known.has(owner)) known.set(owner, new Map());
  const results = known.get(owner);
  if (!results.has(key)) results.set(key, work());
  return results.get(key);
}

const numbered = (keys) => {
  const numbers = new Map();
  return Int32Array.from(keys, (key) => {
    if (!numbers.has(key)) numbers.set(key, numbers.size);
    return numbers.get(key);
  });
};

// Of every row the number of its group, and of its kind: rows of a group may be compared unless they are of two
// kinds of one runtime, which are two versions or settings of it.
function kindsOf(conditions) {
  return once(data.rows.conditions, conditions.join(" "), () => {
    const value = (row, name) => data.rows.conditions[name][row];
    const ofAll = conditions.filter((name) => !data.of_one_runtime.includes(name));
    const ofRuntime = conditions.filter((name) => data.of_one_runtime.includes(name));
    const key = (row, names) => names.map((name) => value(row, name)).join(" ");
    const runtime = data.rows.conditions.runtime.map((name) => (ofRuntime.length ? name : ""));
    const group = numbered(runtime.map((_, row) => key(row, ofAll)));
    const kind = numbered(runtime.map((name, row) => `${group[row]} ${name} ${key(row, ofRuntime)}`));
    return { group, kind, runtime };
  });
}

// The place of every row in an order: by cost in x, then in y, then as in the table.
function orderOf(xColumn, yColumn) {
  return once(xColumn, yColumn, () => {
    const costs = ({ better, values }) =>
      Float64Array.from(values, (value) => (better === "higher" ? -1 : 1) * value);
    const [x, y] = [costs(xColumn), costs(yColumn)];
    const place = new Int32Array(x.length);
    const order = Int32Array.from(x.keys()).sort((a, b) => x[a] - x[b] || y[a] - y[b] || a - b);
    order.forEach((row, at) => { place[row] = at; });
    return { x, y, order, place };
  });
}

// The rows that are on a front: no row with which they may be compared is as good on both axes and better on
// one, so equal rows stay together. One list for each set of rows that may all be compared with each other:
// positions in `rows`, best x first. Every row needs a number in both columns.
function frontsOf(rows, xColumn, yColumn) {
  const { group, kind, runtime } = kindsOf([...new Set([...xColumn.conditions, ...yColumn.conditions])]);
  const { x, y, order, place } = orderOf(xColumn, yColumn);
  const position = new Int32Array(x.length).fill(-1);
  rows.forEach((row, i) => { position[row] = i; });
  const groups = new Map(); // group -> kind -> its rows, in their order
  for (const row of rows) {
    if (!groups.has(group[row])) groups.set(group[row], new Map());
    const kinds = groups.get(group[row]);
    if (!kinds.has(kind[row])) kinds.set(kind[row], []);
    kinds.get(kind[row]).push(row);
  }
  const members = new Map([...groups.keys()].map((number) => [number, []]));
  for (const row of order) if (position[row] >= 0) members.get(group[row]).push(row);
  const undominated = (ordered) => {
    const front = [];
    for (const row of ordered) {
      const last = front.at(-1);
      if (last === undefined || y[row] < y[last] || (x[row] === x[last] && y[row] === y[last])) front.push(row);
    }
    return front;
  };
  return [...groups].flatMap(([number, kinds]) => {
    const fronts = [];
    const counts = new Map(); // by runtime: its versions and settings so far; the first of each share a front
    const runtimes = [...kinds.values()].map((own) => runtime[own[0]]);
    const all = members.get(number);
    [...kinds.keys()].forEach((own, i) => {
      const alone = runtimes.filter((name) => name === runtimes[i]).length === 1;
      const mayCompare = (row) => kind[row] === own || runtime[row] !== runtimes[i];
      const front = undominated(alone ? all : all.filter(mayCompare));
      const turn = counts.get(runtimes[i]) ?? 0;
      counts.set(runtimes[i], turn + 1);
      (fronts[turn] ??= []).push(...front.filter((row) => kind[row] === own));
    });
    return fronts.map((front) => front.sort((a, b) => place[a] - place[b]).map((row) => position[row]));
  });
}

// The line through a front, as two lists of coordinates, left to right. It is stepped: what can be had
// between two points is what the cheaper one gives.
function stepsThrough(front, xs, ys, xBetter) {
  const points = [...front].sort((a, b) => xs[a] - xs[b]);
  const [lineX, lineY] = [[], []];
  points.forEach((i, place) => {
    if (place > 0) {
      const before = points[place - 1];
      lineX.push(xBetter === "higher" ? xs[before] : xs[i]);
      lineY.push(xBetter === "higher" ? ys[i] : ys[before]);
    }
    lineX.push(xs[i]);
    lineY.push(ys[i]);
  });
  return [lineX, lineY];
}
