// The dialog with the details of one record: all its numbers and doubts, and how to measure it again.
"use strict";

const pairs = (list) =>
  list.length &&
  make("dl", {}, list.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));

function grid(header, lines) {
  const heading = (name, i) => make("th", { scope: "col", class: i ? "number" : null }, name);
  const cell = (value, i) =>
    (i ? make("td", { class: "number" }, value) : make("th", { scope: "row" }, value));
  const head = make("thead", {}, make("tr", {}, header.map(heading)));
  const body = make("tbody", {}, lines.map((line) => make("tr", {}, line.map(cell))));
  const attributes = { class: "scroll", tabindex: "0", role: "region", "aria-label": header[0] };
  return make("div", attributes, make("table", {}, head, body));
}

function section(title, ...children) {
  const contents = children.flat().filter(Boolean);
  return contents.length ? make("section", {}, make("h3", {}, title), contents) : "";
}

// A long reason is given once, under "Not measured".
function absence(column, row) {
  const why = reason(column, row);
  const shortened = why.length > 100 ? "see Not measured" : why;
  return make("span", { class: "muted" }, `${data.not_measured} `, shortened);
}

const valueOrAbsence = (column, row) =>
  (text(column, row) === data.not_measured ? absence(column, row) : withUnit(column, row));

function numbersOf(name, row) {
  const measured = data.columns
    .filter((column) => column.section === name)
    .map((column) => [column.title, valueOrAbsence(column, row)]);
  const facts = data.facts
    .filter((fact) => fact.section === name && fact.texts[row])
    .map((fact) => [fact.title, fact.texts[row]]);
  return [...measured, ...facts];
}

const remedyOf = ({ remedy }) => (remedy ? make("span", { class: "remedy" }, `What helps: ${remedy}`) : "");

function missingSection(row) {
  const lines = data.rows.missing[row].map(shared).map((missing) =>
    make("li", {}, make("strong", {}, `${missing.quantity}: `), missing.reason, remedyOf(missing)));
  return lines.length ? section("Not measured", make("ul", { class: "reasons" }, lines)) : "";
}

function doubtsSection(row) {
  const lines = data.rows.doubts[row].map(shared).map((doubt) => {
    const quantity = make("strong", {}, `${doubt.quantity}: `);
    return make("li", {}, quantity, doubt.message, " ", make("code", {}, doubt.code), remedyOf(doubt));
  });
  return lines.length ? section("Doubts", make("ul", { class: "reasons doubts" }, lines)) : "";
}

function speciesSection(row) {
  const lines = data.rows.species[row].map(([species, errors, trials]) => [
    species, text(columns.get(`apcer.${species}`), row), `${errors} of ${trials}`,
  ]);
  const header = ["Species", "APCER, %", "Accepted"];
  return lines.length ? section("APCER by attack species", grid(header, lines)) : "";
}

function foldsSection(row) {
  const rates = ["APCER, %", "BPCER, %", "ACER, %", "HTER @dev, %", "AUC, %"];
  const header = ["Fold", ...rates, "Bona fide + attacks"];
  return data.rows.folds[row].length ? section("Folds", grid(header, data.rows.folds[row])) : "";
}

function paritySection(row) {
  const parity = data.rows.parity[row];
  if (!parity) return "";
  const lines = parity.lines.map(([name, value, note]) => [name, note ? `${value} (${note})` : value]);
  const sentence = make("p", { class: parity.flag ? "notice" : null }, parity.sentence);
  return section(`Scores against ${parity.reference}`, sentence, pairs(lines));
}

function commandSection(row) {
  const command = data.rows.command[row];
  const status = make("span", { role: "status", class: "muted" });
  const copy = make("button", { type: "button", onclick: () => copyText(command, status, "") }, "Copy");
  const dataset = data.rows.data[row] === null ? "" : shared(data.rows.data[row]);
  return section(
    "How to measure it again",
    make("pre", { tabindex: "0", "aria-label": "Command" }, command),
    make("p", {}, copy, status),
    pairs([
      ["File", data.rows.file[row]],
      ["SHA-256", data.rows.sha256[row]],
      ...(dataset ? [["Data", dataset]] : []),
      ...shared(data.rows.ran[row]),
    ]),
  );
}

function fillDetail(row) {
  const place = state.ordered.indexOf(row);
  const step = (title, offset) => {
    const other = place < 0 ? undefined : state.ordered[place + offset];
    const attributes = { type: "button", "data-offset": offset, disabled: other === undefined };
    return make("button", { ...attributes, onclick: () => openRecord(other) }, title);
  };
  const close = make("button", { type: "button", id: "close", onclick: closeRecord }, "Close");
  const named = (name) => text(columns.get(name), row);
  const doubts = data.rows.doubts[row].length;
  const count = doubts ? `${doubts} doubt${doubts > 1 ? "s" : ""}` : "no doubts";
  const relative = data.reference ? `Relative to ${data.reference}` : "Relative";
  const badge = make("span", { class: doubts ? "badge doubtful" : "badge" }, count);
  byId("detail").replaceChildren(
    make(
      "header",
      {},
      make("div", { class: "controls" }, step("Previous", -1), step("Next", 1), close),
      make("h2", { id: "detail-title" }, breakable(label(row))),
      make("p", { class: "muted" }, `${named("runtime")} on ${named("device")}, run ${named("run")} `, badge),
    ),
    make(
      "div",
      { class: "body" },
      doubtsSection(row),
      missingSection(row),
      ...["speed", "weight", "accuracy", "power"].flatMap((name) => [
        section(data.sections[name], pairs(numbersOf(name, row))),
        ...(name === "speed" ? [latencySection(row)] : []),
        ...(name === "accuracy" ? [speciesSection(row), foldsSection(row)] : []),
      ]),
      section(relative, pairs(numbersOf("relative", row))),
      section(data.sections.parity, pairs(numbersOf("parity", row))),
      paritySection(row),
      section("Machine", pairs([...shared(data.rows.machine[row]), ...shared(data.rows.state[row])])),
      commandSection(row),
    ),
  );
  drawLatencies(row);
}

// ---- Latency samples ----

const QUANTILES = [
  ["latency_p05", 5, "p05"], ["latency_p50", 50, "median"], ["latency_p90", 90, "p90"],
  ["latency_p95", 95, "p95"], ["latency_p99", 99, "p99"],
];

function latencySection(row) {
  const samples = data.rows.samples_ns[row];
  if (!canDraw() || samples.length < 2) return "";
  const runs = data.rows.runs[row];
  const thinned = `Drawn from ${samples.length} of ${runs} runs, evenly spaced by rank.`;
  const source = samples.length < runs ? thinned : `All ${runs} runs.`;
  const description = "Cumulative distribution of the latencies; the list above holds the marked quantiles";
  const chart = make("div", { id: "latencies", role: "img", "aria-label": description });
  const bounds =
    "The curve joins the runs of all processes; the quantiles are a typical process's, p90, p95 and p99 upper bounds. ";
  const note = make("p", { class: "muted" }, `${source} `, bounds, make("span", { id: "outside" }));
  return section("Latency samples", chart, note);
}

function drawLatencies(row) {
  const samples = data.rows.samples_ns[row];
  if (!canDraw() || samples.length < 2) return null;
  const runs = data.rows.runs[row];
  // Samples were thinned twice, evenly by rank: see page/detail.py.
  const first = Math.min(runs, data.samples_a_record);
  const firstRank = (i) => Math.floor((i * (first - 1)) / (samples.length - 1));
  const rank = (i) => Math.floor((firstRank(i) * (runs - 1)) / (first - 1));
  const xs = samples.map((ns) => ns / 1e6);
  const ys = samples.map((_, i) => (100 * (rank(i) + 1)) / runs);
  const marks = QUANTILES.filter(([name]) => columns.has(name) && columns.get(name).values[row] !== null)
    .map(([name, share, title]) => {
      const { values, texts } = columns.get(name);
      const label = share < 50 ? title : `${title} ${texts[row].split(" ")[0]} ms`;
      return { x: values[row] / 1e6, share, label };
    });
  // The slowest few would press everything else against the left edge.
  const end = Math.max(xs[Math.floor(0.99 * (xs.length - 1))], ...marks.map((mark) => mark.x));
  const room = Math.max((end - xs[0]) * 0.45, end * 0.002);
  const figure = Bokeh.Plotting.figure({
    x_range: new Bokeh.Range1d({ start: xs[0] - 0.3 * room, end: end + room }),
    y_range: new Bokeh.Range1d({ start: 0, end: 108 }),
    sizing_mode: "stretch_width", height: 260, toolbar_location: null, tools: [],
  });
  paint(figure);
  const at = (name) => ({ field: name });
  const curve = new Bokeh.ColumnDataSource({ data: { x: xs, y: ys } });
  const spots = new Bokeh.ColumnDataSource({
    data: { x: marks.map((mark) => mark.x), y: marks.map((mark) => mark.share) },
  });
  figure.step(at("x"), at("y"), "after", { source: curve, line_color: style("--series-0"), line_width: 1.8 });
  figure.scatter(at("x"), at("y"), { source: spots, size: 7, fill_color: style("--text"), line_color: null });
  let lowest = Infinity; // labels from the top down, each at least one line below the last
  for (const mark of [...marks].reverse()) {
    lowest = Math.min(mark.share, lowest - 9);
    // The curve rises to the right: below it on the right there is room, and above it on the left.
    const beside = mark.share < 50
      ? { x_offset: -7, y_offset: 1, text_align: "right" }
      : { x_offset: 5, y_offset: -17 };
    figure.add_layout(new Bokeh.Label({
      x: mark.x, y: lowest, ...beside, text: mark.label,
      text_font: "system-ui, sans-serif", text_font_size: "12px", text_color: style("--text"),
    }));
  }
  figure.below[0].axis_label = new Bokeh.PlainText({ text: "Latency, ms" });
  figure.left[0].axis_label = new Bokeh.PlainText({ text: "Runs at least as fast, %" });
  for (const axis of [figure.below[0], figure.left[0]]) {
    axis.formatter = new Bokeh.PrintfTickFormatter({ format: "%.6g" });
  }
  const slowest = xs.at(-1);
  if (slowest > end + room) {
    byId("outside").textContent = `The slowest run, ${slowest.toPrecision(3)} ms, is outside the plot.`;
  }
  return show(figure, byId("latencies"));
}
