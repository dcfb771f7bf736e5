// Pareto fronts, by the rule of swapbench.report.choose.fronts: tests/golden/fronts.json holds both to it.
"use strict";

// Which of these rows can be drawn: those with a number on both axes, which must be positive on a log axis.
function rowsToDraw(rows, xColumn, yColumn, xLog = false, yLog = false) {
  const drawable = (value, log) => Number.isFinite(value) && (!log || value > 0);
  return rows.filter((row) => drawable(xColumn.values[row], xLog) && drawable(yColumn.values[row], yLog));
}

// Positions in `rows`, grouped by the conditions that must be equal for two rows to be compared: a list of
// groups, each a list of {runtime, members}. Within a group, every two entries may be compared unless their
// runtime is the same: then they are two versions or settings of it.
function comparableGroups(rows, conditions) {
  const value = (i, name) => data.rows.conditions[name][rows[i]];
  const ofAll = conditions.filter((name) => !data.of_one_runtime.includes(name));
  const ofRuntime = conditions.filter((name) => data.of_one_runtime.includes(name));
  const runtime = (i) => (ofRuntime.length ? value(i, "runtime") : "");
  const key = (i, names) => names.map((name) => value(i, name)).join(" ");
  const groupsBy = (positions, keyOf) => [...Map.groupBy(positions, keyOf).values()];
  return groupsBy(rows.keys(), (i) => key(i, ofAll)).map((group) =>
    groupsBy(group, (i) => `${runtime(i)} ${key(i, ofRuntime)}`).map((members) => (
      { runtime: runtime(members[0]), members })));
}

// The rows that are on a front: no row with which they may be compared is as good on both axes and better on
// one, so equal rows stay together. One list for each set of rows that may all be compared with each other:
// positions in `rows`, best x first. Every row needs a number in both columns.
function frontsOf(rows, xColumn, yColumn) {
  const cost = (column, i) => (column.better === "higher" ? -1 : 1) * column.values[rows[i]];
  const x = (i) => cost(xColumn, i);
  const y = (i) => cost(yColumn, i);
  const order = (a, b) => x(a) - x(b) || y(a) - y(b) || a - b;
  const undominated = (positions) => {
    const front = [];
    for (const i of positions.sort(order)) {
      const last = front.at(-1);
      if (last === undefined || y(i) < y(last) || (x(i) === x(last) && y(i) === y(last))) front.push(i);
    }
    return front;
  };
  const conditions = [...new Set([...xColumn.conditions, ...yColumn.conditions])];
  return comparableGroups(rows, conditions).flatMap((group) => {
    const fronts = [];
    const counts = new Map(); // by runtime: its versions and settings so far; the first of each share a front
    for (const { runtime, members } of group) {
      const rivals = group
        .filter((other) => other.members === members || other.runtime !== runtime)
        .flatMap((other) => other.members);
      const own = new Set(members);
      const place = counts.get(runtime) ?? 0;
      counts.set(runtime, place + 1);
      (fronts[place] ??= []).push(...undominated(rivals).filter((i) => own.has(i)));
    }
    return fronts.map((front) => front.sort(order));
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
