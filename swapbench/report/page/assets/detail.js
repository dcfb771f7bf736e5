// The detail of one record, in a dialog: all numbers, what is missing and why, doubts, latencies, machine, how to measure it again.
"use strict";

const pairs = (list) => list.length && make("dl", {}, list.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));

function grid(header, lines) {
  const cell = (value, i) => (i ? make("td", { class: "number" }, value) : make("th", { scope: "row" }, value));
  return make(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": header[0] },
    make(
      "table",
      {},
      make("thead", {}, make("tr", {}, header.map((name, i) => make("th", { scope: "col", class: i ? "number" : null }, name)))),
      make("tbody", {}, lines.map((line) => make("tr", {}, line.map(cell)))),
    ),
  );
}

function part(title, ...children) {
  const kept = children.flat().filter(Boolean);
  return kept.length ? make("section", {}, make("h3", {}, title), kept) : "";
}

// A long reason stands once, under "Not measured".
function whyNot(column, row) {
  const why = reason(column, row);
  return make("span", { class: "muted" }, `${data.not_measured} `, why.length > 100 ? "see Not measured" : why);
}

function numbersOf(section, row) {
  const measured = data.columns
    .filter((column) => column.section === section)
    .map((column) => [column.title, text(column, row) === data.not_measured ? whyNot(column, row) : withUnit(column, row)]);
  const facts = data.facts
    .filter((fact) => fact.section === section && fact.texts[row])
    .map((fact) => [fact.title, fact.texts[row]]);
  return [...measured, ...facts];
}

function missingPart(row) {
  const lines = data.rows.missing[row].map(shared).map((one) =>
    make("li", {}, make("strong", {}, `${one.quantity}: `), one.reason, one.remedy ? make("span", { class: "remedy" }, `What helps: ${one.remedy}`) : ""));
  return lines.length ? part("Not measured", make("ul", { class: "reasons" }, lines)) : "";
}

function doubtsPart(row) {
  const lines = data.rows.doubts[row].map(shared).map((one) =>
    make("li", {}, make("strong", {}, `${one.quantity}: `), one.message, " ", make("code", {}, one.code), one.remedy ? make("span", { class: "remedy" }, `What helps: ${one.remedy}`) : ""));
  return lines.length ? part("Doubts", make("ul", { class: "reasons doubts" }, lines)) : "";
}

function speciesPart(row) {
  const lines = data.rows.species[row].map(([species, errors, trials]) => [
    species, text(columns.get(`apcer.${species}`), row), `${errors} of ${trials}`,
  ]);
  return lines.length ? part("APCER by attack species", grid(["Species", "APCER, %", "Accepted"], lines)) : "";
}

function foldsPart(row) {
  const header = ["Fold", "APCER, %", "BPCER, %", "ACER, %", "HTER @dev, %", "AUC, %", "Bona fide + attacks"];
  return data.rows.folds[row].length ? part("Folds", grid(header, data.rows.folds[row])) : "";
}

function parityPart(row) {
  const found = data.rows.parity[row];
  if (!found) return "";
  const lines = found.lines.map(([name, value, note]) => [name, note ? `${value} (${note})` : value]);
  const sentence = make("p", { class: found.flag ? "notice" : null }, found.sentence);
  return part(`Scores against ${found.reference}`, sentence, pairs(lines));
}

function commandPart(row) {
  const command = data.rows.command[row];
  const said = make("span", { role: "status", class: "muted" });
  const copy = make("button", { type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(command);
      said.textContent = " Copied.";
    } catch {
      said.textContent = " Not copied: the browser does not allow it. Select the text instead.";
    }
  } }, "Copy");
  const used = data.rows.data[row] === null ? "" : shared(data.rows.data[row]);
  return part(
    "How to measure it again",
    make("pre", { tabindex: "0", "aria-label": "Command" }, command),
    make("p", {}, copy, said),
    pairs([
      ["File", data.rows.file[row]],
      ["SHA-256", data.rows.sha256[row]],
      ...(used ? [["Data", used]] : []),
      ...shared(data.rows.ran[row]),
    ]),
  );
}

function fillDetail(row) {
  const place = state.ordered.indexOf(row);
  const step = (title, offset) => {
    const other = place < 0 ? undefined : state.ordered[place + offset];
    return make("button", { type: "button", "data-offset": offset, disabled: other === undefined, onclick: () => openRecord(other) }, title);
  };
  const doubts = data.rows.doubts[row].length;
  const run = text(columns.get("run"), row);
  byId("detail").replaceChildren(
    make(
      "header",
      {},
      make("div", { class: "controls" }, step("Previous", -1), step("Next", 1), make("button", { type: "button", id: "close", onclick: closeRecord }, "Close")),
      make("h2", { id: "detail-title" }, breakable(label(row))),
      make("p", { class: "muted" }, `${text(columns.get("runtime"), row)} on ${text(columns.get("device"), row)}, run ${run} `,
        make("span", { class: doubts ? "badge doubtful" : "badge" }, doubts ? `${doubts} doubt${doubts > 1 ? "s" : ""}` : "no doubts")),
    ),
    make(
      "div",
      { class: "body" },
      doubtsPart(row),
      missingPart(row),
      ...["speed", "weight", "accuracy", "power"].flatMap((section) => [
        part(data.sections[section], pairs(numbersOf(section, row))),
        ...(section === "speed" ? [latencyPart(row)] : []),
        ...(section === "accuracy" ? [speciesPart(row), foldsPart(row)] : []),
      ]),
      part(data.reference ? `Relative to ${data.reference}` : "Relative", pairs(numbersOf("relative", row))),
      part(data.sections.parity, pairs(numbersOf("parity", row))),
      parityPart(row),
      part("Machine", pairs([...shared(data.rows.machine[row]), ...shared(data.rows.state[row])])),
      commandPart(row),
    ),
  );
  drawLatencies(row);
}

// ---- Latency samples ----

function latencyPart(row) {
  const samples = data.rows.samples_ns[row];
  if (samples.length < 2) return "";
  const runs = data.rows.runs[row];
  const thinned = samples.length < runs ? `Drawn from ${samples.length} of ${runs} runs, evenly spaced by rank.` : `All ${runs} runs.`;
  const chart = make("div", { id: "latencies", role: "img", "aria-label": "Cumulative distribution of the latencies; the marked quantiles stand in the list above" });
  const estimates = "p90, p95 and p99 are early-stopping estimates, which lie at the curve or to the right of it. ";
  return part("Latency samples", chart, make("p", { class: "muted" }, `${thinned} `, estimates, make("span", { id: "outside" })));
}

function drawLatencies(row) {
  const samples = data.rows.samples_ns[row];
  if (samples.length < 2) return null;
  const runs = data.rows.runs[row];
  const kept = Math.min(runs, data.samples_a_record); // thinned twice, evenly by rank: see page_detail.py
  const rank = (i) => Math.floor((Math.floor((i * (kept - 1)) / (samples.length - 1)) * (runs - 1)) / (kept - 1));
  const xs = samples.map((ns) => ns / 1e6);
  const ys = samples.map((_, i) => (100 * (rank(i) + 1)) / runs);
  const marks = [["latency_p05", 5, "p05"], ["latency_p50", 50, "median"], ["latency_p90", 90, "p90"], ["latency_p95", 95, "p95"], ["latency_p99", 99, "p99"]]
    .filter(([name]) => columns.has(name) && columns.get(name).values[row] !== null)
    .map(([name, share, title]) => ({ x: columns.get(name).values[row] / 1e6, share, said: share < 50 ? title : `${title} ${columns.get(name).texts[row].split(" ")[0]} ms` }));
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
  const spots = new Bokeh.ColumnDataSource({ data: { x: marks.map((mark) => mark.x), y: marks.map((mark) => mark.share) } });
  figure.step(at("x"), at("y"), "after", { source: curve, line_color: style("--series-0"), line_width: 1.8 });
  figure.scatter(at("x"), at("y"), { source: spots, size: 7, fill_color: style("--text"), line_color: null });
  let lowest = Infinity; // labels from the top down, each at least one line below the last
  for (const mark of [...marks].reverse()) {
    lowest = Math.min(mark.share, lowest - 9);
    // The curve rises to the right: below it on the right there is room, and above it on the left.
    const beside = mark.share < 50 ? { x_offset: -7, y_offset: 1, text_align: "right" } : { x_offset: 5, y_offset: -17 };
    figure.add_layout(new Bokeh.Label({
      x: mark.x, y: lowest, ...beside, text: mark.said,
      text_font: "system-ui, sans-serif", text_font_size: "12px", text_color: style("--text"),
    }));
  }
  figure.below[0].axis_label = new Bokeh.PlainText({ text: "Latency, ms" });
  figure.left[0].axis_label = new Bokeh.PlainText({ text: "Runs at most as slow, %" });
  for (const axis of [figure.below[0], figure.left[0]]) axis.formatter = new Bokeh.PrintfTickFormatter({ format: "%.6g" });
  const slowest = xs.at(-1);
  if (slowest > end + room) byId("outside").textContent = `The slowest, ${slowest.toPrecision(3)} ms, lies outside the drawing.`;
  return show(figure, byId("latencies"));
}
