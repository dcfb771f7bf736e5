// The trade-off plot: points, bars and the front of the records that pass the filters. BokehJS draws.
"use strict";

const SHAPES = {
  circle: "M8 3a5 5 0 1 0 .01 0z",
  square: "M3.5 3.5h9v9h-9z",
  triangle: "M8 3l5.2 9.5H2.8z",
  diamond: "M8 2l5 6-5 6-5-6z",
  inverted_triangle: "M8 13L2.8 3.5h10.4z",
  hex: "M8 2.5l5 2.75v5.5L8 13.5l-5-2.75v-5.5z",
};
const SHAPE_NAMES = Object.keys(SHAPES);
const shapeName = (place) => SHAPE_NAMES[place % SHAPE_NAMES.length];
const COLOURS = 7; // --series-0 to --series-6; everything after them is grey
const BARS_AT_MOST = 300;
const SHAPES_AT_MOST = 1000; // beyond, only the front has shapes
const LINES_AT_MOST = 6;
const NAMED_ON_FRONT = 12;
const REACH_PX = 14;

const plot = {
  started: false, built: "", figure: null, view: null, said: "",
  sources: {}, rows: [], xs: [], ys: [], front: new Set(), palette: [], crowd: [], ticks: [],
};

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const seriesColour = (place) => plot.palette[Math.min(place, COLOURS)];
const facet = (name) => data.facets.find((candidate) => candidate.name === name);

// Which values of a facet some rows have, in the order of the table.
function presentIn(name, rows) {
  const { rows: valueOf, values } = facet(name);
  const there = new Uint8Array(values.length);
  for (const row of rows) there[valueOf[row]] = 1;
  return [...values.keys()].filter((value) => there[value]);
}

// From the values of a facet to colours or shapes. Where there are more values than colours, those of the
// visible rows get them, in the order of the table, so that a filter does not leave them grey.
function placesOf(name) {
  const { values } = facet(name);
  const distinguished = values.length <= COLOURS ? [...values.keys()] : presentIn(name, state.visible);
  return new Map(distinguished.map((value, place) => [value, place]));
}

// Thousands of points as small squares, straight on the canvas: as points of a data source they take ten times
// as long. The library paints the glyph whenever it paints the plot, so that squares follow every zoom.
function crowdGlyph() {
  class CrowdView extends Bokeh.Scatter.prototype.default_view {
    _paint(context) {
      const [sx, sy] = [this.renderer.xscale.v_compute(plot.xs), this.renderer.yscale.v_compute(plot.ys)];
      context.save();
      context.globalAlpha = 0.35;
      for (const [colour, members] of plot.crowd) {
        context.fillStyle = colour;
        for (const i of members) context.fillRect(sx[i] - 2, sy[i] - 2, 4, 4);
      }
      context.restore();
    }
  }
  class Crowd extends Bokeh.Scatter {
    static {
      this.prototype.default_view = CrowdView;
    }
  }
  return new Crowd({ x: { field: "x" }, y: { field: "y" } });
}

function rangeOf(lows, highs, log) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of lows) if (value < low && (!log || value > 0)) low = value;
  for (const value of highs) if (value > high) high = value;
  if (!(high >= low)) return [log ? 0.1 : 0, 1];
  if (log) {
    const margin = Math.max((high / low) ** 0.06, 1.1);
    return [low / margin, high * margin];
  }
  const span = high - low || Math.abs(high) || 1;
  // Zero is shown whenever it is near: a cut axis makes small differences look large.
  const start = low >= 0 && low < span ? -0.03 * high : low - 0.06 * span;
  return [start, high + 0.06 * span];
}

function buildFigure() {
  const built = [state.xLog, state.yLog, isDark()].join(" ");
  if (plot.built === built) return Promise.resolve();
  plot.built = built;
  plot.palette = Array.from({ length: COLOURS }, (_, place) => style(`--series-${place}`));
  plot.palette.push(style("--series-rest"));
  Object.assign(plot, { said: "", ticks: [] });
  const source = (names) =>
    new Bokeh.ColumnDataSource({ data: Object.fromEntries(names.map((name) => [name, []])) });
  plot.sources = {
    points: source(["x", "y", "colour", "marker", "alpha", "size"]),
    bars: source(["x0", "y0", "x1", "y1", "colour", "alpha"]),
    front: source(["xs", "ys"]),
    selected: source(["x", "y"]),
    crowd: new Bokeh.ColumnDataSource({ data: { x: [1], y: [1] } }),
  };
  const figure = Bokeh.Plotting.figure({
    x_axis_type: state.xLog ? "log" : "linear",
    y_axis_type: state.yLog ? "log" : "linear",
    x_range: new Bokeh.Range1d({ start: 0.1, end: 1 }),
    y_range: new Bokeh.Range1d({ start: 0.1, end: 1 }),
    sizing_mode: "stretch_width",
    height: matchMedia("(max-width: 600px)").matches ? 340 : 460,
    toolbar_location: null,
    // A finger that drags scrolls the page; only a mouse can frame a part to enlarge.
    tools: matchMedia("(pointer: fine)").matches ? [new Bokeh.BoxZoomTool()] : [],
  });
  const at = (name) => ({ field: name });
  figure.add_glyph(crowdGlyph(), plot.sources.crowd);
  figure.segment(at("x0"), at("y0"), at("x1"), at("y1"), {
    source: plot.sources.bars, line_color: at("colour"), line_alpha: at("alpha"),
  });
  figure.multi_line(at("xs"), at("ys"), {
    source: plot.sources.front, line_color: style("--muted"), line_width: 1.2, line_dash: "dashed",
  });
  figure.scatter(at("x"), at("y"), {
    source: plot.sources.points, marker: at("marker"), size: at("size"),
    fill_color: at("colour"), line_color: null, fill_alpha: at("alpha"),
  });
  figure.scatter(at("x"), at("y"), {
    source: plot.sources.selected, size: 18, fill_color: null, line_color: style("--text"), line_width: 2.5,
  });
  for (const axis of [...figure.below, ...figure.left]) {
    axis.formatter = new Bokeh.PrintfTickFormatter({ format: "%.6g" });
  }
  paint(figure);
  plot.figure = figure;
  for (const range of [figure.x_range, figure.y_range]) range.change.connect(setTicks);
  byId("chart").replaceChildren();
  return show(figure, byId("chart")).then((view) => { plot.view = view; });
}

// The tab key skips the drawing, in which the keyboard can do nothing, and goes on to the names on the front.
async function show(figure, place) {
  const view = await Bokeh.Plotting.show(figure, place);
  view.canvas_view.events_el.tabIndex = -1;
  return view;
}

function paint(figure) {
  const [ink, line] = [style("--muted"), style("--line")];
  Object.assign(figure, { background_fill_color: null, border_fill_color: null, outline_line_color: null });
  for (const axis of [...figure.left, ...figure.below]) {
    Object.assign(axis, {
      axis_line_color: line, major_tick_line_color: line, minor_tick_line_color: null,
      major_label_text_color: ink, axis_label_text_color: ink, axis_label_text_font_style: "normal",
      major_label_text_font: "system-ui, sans-serif", axis_label_text_font: "system-ui, sans-serif",
      major_label_text_font_size: "12px", axis_label_text_font_size: "13px",
    });
  }
  for (const grid of figure.center) if (grid.type === "Grid") grid.grid_line_color = line;
}

// On a log axis the library marks powers of ten only. Over a few decades 1, 2, 5 say more, and even steps
// within one.
function setTicks() {
  const { below, left, center, x_range: xRange, y_range: yRange } = plot.figure;
  for (const [dimension, axis, range] of [[0, below[0], xRange], [1, left[0], yRange]]) {
    if (axis.type !== "LogAxis") continue;
    const [low, high] = [range.start, range.end].map(Math.log10);
    const first = Math.floor(low);
    const decades = Array.from({ length: Math.floor(high) - first + 1 }, (_, i) => 10 ** (first + i));
    const span = high - low;
    const marked = span > 3 ? decades : decades.flatMap((power) => [power, 2 * power, 5 * power]);
    const ticks = span > 0.7 ? marked : [];
    if (plot.ticks[dimension] === String(ticks)) continue; // a new ticker lays the figure out again
    plot.ticks[dimension] = String(ticks);
    axis.ticker = ticks.length ? new Bokeh.FixedTicker({ ticks }) : new Bokeh.BasicTicker();
    const grids = center.filter((part) => part.type === "Grid" && part.dimension === dimension);
    for (const grid of grids) grid.ticker = axis.ticker;
  }
}

function axisTitle(column, log) {
  const better = column.better ? `${column.better} is better` : "";
  const notes = [better, log ? "log scale" : ""].filter(Boolean).join(", ");
  return notes ? `${column.heading} (${notes})` : column.heading;
}

// Plain text, so that a name with dollar signs is not read as a formula. An equal title is left alone: a new
// one lays the figure out again.
function setTitle(axis, title) {
  if (axis.axis_label?.text !== title) axis.axis_label = new Bokeh.PlainText({ text: title });
}

async function drawChart() {
  if (!plot.started || byId("chart-section").hidden) return;
  await buildFigure();
  const [xColumn, yColumn] = [columns.get(state.x), columns.get(state.y)];
  const rows = rowsToDraw(state.visible, xColumn, yColumn, state.xLog, state.yLog);
  const xs = rows.map((row) => shown(xColumn, xColumn.values[row]));
  const ys = rows.map((row) => shown(yColumn, yColumn.values[row]));
  const fronts = frontsOf(rows, xColumn, yColumn);
  const onFront = new Set(fronts.flat());
  const [colours, shapes] = [placesOf(state.colour), placesOf(state.shape)];
  const { rows: colourValue } = facet(state.colour);
  const colourOf = (row) => seriesColour(colours.get(colourValue[row]) ?? COLOURS);
  const shapeOf = (row) => shapeName(shapes.get(facet(state.shape).rows[row]) ?? 0);
  const colour = rows.map(colourOf);
  const crowded = rows.length > SHAPES_AT_MOST;
  const positions = [...rows.keys()];
  const drawn = crowded ? [...onFront] : positions;
  const crowd = crowded ? Map.groupBy(positions.filter((i) => !onFront.has(i)), (i) => colour[i]) : [];
  Object.assign(plot, { rows, xs, ys, front: onFront, crowd });
  const withBars = rows.length <= BARS_AT_MOST ? positions : [...onFront].slice(0, BARS_AT_MOST);
  const bound = (column, end, i) => shown(column, column[end]?.[rows[i]] ?? column.values[rows[i]]);
  const interval = (column, i) => [bound(column, "low", i), bound(column, "high", i)];
  const bars = withBars.map((i) => ({ i, x: interval(xColumn, i), y: interval(yColumn, i) }));
  const ends = (axis, end) => bars.map((bar) => bar[axis][end]);
  const [xStart, xEnd] = rangeOf([...xs, ...ends("x", 0)], [...xs, ...ends("x", 1)], state.xLog);
  const [yStart, yEnd] = rangeOf([...ys, ...ends("y", 0)], [...ys, ...ends("y", 1)], state.yLog);
  plot.home = { xStart, xEnd, yStart, yEnd };
  const across = bars.filter((bar) => bar.x[0] !== bar.x[1]);
  const up = bars.filter((bar) => bar.y[0] !== bar.y[1]);

  setTitle(plot.figure.below[0], axisTitle(xColumn, state.xLog));
  setTitle(plot.figure.left[0], axisTitle(yColumn, state.yLog));
  resetZoom();
  plot.sources.points.data = {
    x: drawn.map((i) => xs[i]), y: drawn.map((i) => ys[i]), colour: drawn.map((i) => colour[i]),
    marker: drawn.map((i) => shapeOf(rows[i])),
    alpha: drawn.map((i) => (onFront.has(i) ? 1 : 0.6)),
    size: drawn.map((i) => (onFront.has(i) ? 11 : 9)),
  };
  plot.sources.bars.data = {
    x0: [...across.map((bar) => Math.max(bar.x[0], xStart)), ...up.map((bar) => xs[bar.i])],
    x1: [...across.map((bar) => bar.x[1]), ...up.map((bar) => xs[bar.i])],
    y0: [...across.map((bar) => ys[bar.i]), ...up.map((bar) => Math.max(bar.y[0], yStart))],
    y1: [...across.map((bar) => ys[bar.i]), ...up.map((bar) => bar.y[1])],
    colour: [...across, ...up].map((bar) => colour[bar.i]),
    alpha: [...across, ...up].map((bar) => (onFront.has(bar.i) ? 0.7 : 0.4)),
  };
  const joined = fronts.length > LINES_AT_MOST ? [] : fronts.filter((front) => front.length > 1);
  const lines = joined.map((front) => stepsThrough(front, xs, ys, xColumn.better));
  plot.sources.front.data = { xs: lines.map((line) => line[0]), ys: lines.map((line) => line[1]) };
  markSelected();
  const inOrder = [...onFront].sort((a, b) => xs[a] - xs[b]);
  const keys = [state.colour, state.shape].map((name) => [name, presentIn(name, rows)]);
  // Elements that stay as they are cost no layout.
  const said = JSON.stringify([keys, inOrder.map((i) => rows[i]), fronts.length, rows.length, state.visible.length, state.x, state.y]);
  if (plot.said === said) return;
  plot.said = said;
  drawLegend(colours, shapes);
  describeFront(inOrder, fronts.length, rows.length, xColumn, yColumn);
}

function resetZoom() {
  plot.figure.x_range.setv({ start: plot.home.xStart, end: plot.home.xEnd });
  plot.figure.y_range.setv({ start: plot.home.yStart, end: plot.home.yEnd });
  setTicks();
}

function markSelected() {
  const i = plot.rows.indexOf(state.selected);
  if (!plot.sources.selected) return;
  plot.sources.selected.data = i < 0 ? { x: [], y: [] } : { x: [plot.xs[i]], y: [plot.ys[i]] };
}

function drawLegend(colours, shapes) {
  const swatch = (shape, colour) => {
    const path = makeShape("path", { d: SHAPES[shape], fill: colour });
    return makeShape("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, path);
  };
  const key = (symbol, text) => make("span", { class: "key" }, symbol, text);
  const group = (name, places, symbol) => {
    const { title, values } = facet(name);
    const entries = presentIn(name, plot.rows).map((value) => [value, places.get(value)]);
    if (entries.length < 2) return "";
    const keys = entries.slice(0, COLOURS).map(([value, place]) => key(symbol(place), values[value]));
    const rest = entries.length - keys.length;
    const heading = make("span", { class: "muted" }, title);
    return make("div", {}, heading, keys, rest ? key(symbol(COLOURS), `${rest} more`) : "");
  };
  byId("legend").replaceChildren(
    ...[
      group(state.colour, colours, (place) => swatch("circle", seriesColour(place))),
      group(state.shape, shapes, (place) => swatch(shapeName(place), "var(--muted)")),
    ].filter(Boolean),
  );
}

function describeFront(order, groups, drawn, xColumn, yColumn) {
  const links = order.slice(0, NAMED_ON_FRONT).map((i) => {
    const row = plot.rows[i];
    return make("button", { type: "button", class: "link", onclick: () => openRecord(row) }, named(row));
  });
  const rest = order.length - links.length;
  const fronts = groups > 1 ? "one of the Pareto fronts" : "the Pareto front";
  byId("front").replaceChildren(
    make("strong", {}, `On ${fronts} (${order.length}): `),
    ...links.flatMap((link, i) => (i ? [" · ", link] : [link])),
    rest > 0 ? ` and ${rest} more` : "",
  );
  const without = state.visible.length - drawn;
  const notes = [`${drawn} of ${state.visible.length} records are drawn.`];
  const zero = state.xLog || state.yLog ? ", or have 0 on a log axis" : "";
  if (without) notes.push(`${without} have no number on one of the axes${zero}.`);
  if (groups > LINES_AT_MOST) {
    notes.push(`They form ${groups} sets that cannot be compared: their fronts are not joined by lines.`);
  }
  const details = drawn > SHAPES_AT_MOST ? "Intervals and shapes" : "Intervals";
  if (drawn > BARS_AT_MOST) notes.push(`${details} are drawn for the front only.`);
  byId("chart-note").textContent = notes.join(" ");
  byId("chart").setAttribute(
    "aria-label",
    `${yColumn.heading} against ${xColumn.heading}: ${drawn} points. The table below has the same numbers.`,
  );
}

// ---- Pointer ----

function nearest(event) {
  if (!plot.view || !plot.rows.length) return -1;
  const box = byId("chart").getBoundingClientRect();
  const [left, top] = [event.clientX - box.left, event.clientY - box.top];
  const sx = plot.view.frame.x_scale.v_compute(plot.xs);
  const sy = plot.view.frame.y_scale.v_compute(plot.ys);
  let closest = -1;
  let least = REACH_PX ** 2;
  for (let i = 0; i < sx.length; i += 1) {
    const distance = (sx[i] - left) ** 2 + (sy[i] - top) ** 2 - (plot.front.has(i) ? 4 : 0);
    if (distance < least) [closest, least] = [i, distance];
  }
  return closest;
}

function drawTip(event) {
  const i = nearest(event);
  const tip = byId("tip");
  byId("chart").classList.toggle("pointing", i >= 0);
  tip.hidden = i < 0;
  if (i < 0) return;
  const row = plot.rows[i];
  const line = (column) =>
    make("div", {}, make("span", { class: "muted" }, `${column.title} `), withUnit(column, row));
  const doubts = data.rows.doubts[row].map(shared);
  tip.replaceChildren(
    make("strong", {}, named(row)),
    line(columns.get(state.x)),
    line(columns.get(state.y)),
    ...doubts.slice(0, 3).map((doubt) => make("div", { class: "doubt" }, `† ${doubt.message}`)),
    doubts.length > 3 ? make("div", { class: "muted" }, `and ${doubts.length - 3} more doubts`) : "",
  );
  const right = event.clientX + 16 + tip.offsetWidth < innerWidth;
  tip.style.left = `${Math.max(4, right ? event.clientX + 16 : event.clientX - 16 - tip.offsetWidth)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 4))}px`;
}

function listenToChart() {
  const chart = byId("chart");
  chart.addEventListener("pointermove", drawTip);
  chart.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  chart.addEventListener("click", (event) => {
    const i = nearest(event);
    if (i >= 0) openRecord(plot.rows[i]);
  });
}
