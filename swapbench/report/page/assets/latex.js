// What is shown as LaTeX, letter by letter as swapbench report --format latex writes it: see
// swapbench.report.tables.latex for the ways in which room is found.
"use strict";

const tex = () => rules().latex;
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const linesOf = (view) => view.groups.flatMap(({ lines }) => lines);
const hasAside = (view, place) => linesOf(view).some(({ cells }) => cells[place].aside);
const DAGGER = String.raw`\,\ensuremath{\dagger}`;

// ---- Text ----

function texCharacter(letter) {
  const { characters, accents } = tex();
  if (letter in characters) return characters[letter];
  if (/\p{Zs}/u.test(letter)) return " ";
  if (letter <= "\x7f") return letter;
  const parts = [...letter.normalize("NFD")];
  if (parts.length === 2 && /[A-Za-z]/.test(parts[0]) && parts[1] in accents) {
    return `\\${accents[parts[1]]}{${parts[0]}}`;
  }
  return `U+${letter.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

const inLatex = (words) => Array.from(words.normalize("NFC"), texCharacter).join("").replace(/([-,])(?=\1)/g, "$1{}");

const breakableInLatex = (words) =>
  (words.match(/[^._/ -]{1,12}[._/ -]?|[._/ -]/gu) ?? []).map(inLatex).join(String.raw`\allowbreak{}`);

const flowing = (words) => words.split(/\s+/).filter(Boolean)
  .map((word) => (Array.from(word).length > tex().long ? breakableInLatex(word) : inLatex(word))).join(" ");

function widthPt(words) {
  const em = (letter) =>
    tex().em.find(([letters]) => letters.includes(letter))?.[1] ?? (/\p{Lu}|[^\x00-\x7f]/u.test(letter) ? 800 : 600);
  return (8 * sum(Array.from(words, em))) / 1000;
}

// As Python's textwrap: words, which may be parted after a hyphen, as many on a line as fit.
function wrapped(words, letters) {
  const hyphen = /(?<=[\p{L}\p{N}_]\p{L}-)(?=[\p{L}\p{N}_]+\p{L})/u;
  const chunks = words.split(/( )/).flatMap((chunk) => chunk.split(hyphen)).filter(Boolean);
  const lines = [];
  while (chunks.length) {
    if (lines.length && chunks[0] === " ") chunks.shift();
    let line = chunks.shift() ?? "";
    while (chunks.length && Array.from(line + chunks[0]).length <= letters) line += chunks.shift();
    if (line.trim()) lines.push(line.trimEnd());
  }
  return lines;
}

function headingLines(column, letters) {
  const lines = wrapped(column.title, Math.max(8, letters));
  return column.unit ? [...lines, `(${column.unit})`] : lines;
}

// ---- Columns that are short ----

// A short head, and a smaller unit if all numbers are below 1, a larger one from 1000.
function printedView(view) {
  const found = view.columns.map((column) => {
    const numbers = view.rows.map((row) => column.values[row]).filter((value) => column.numeric && value)
      .map((value) => value / column.per_unit);
    const place = !numbers.length ? -1 : numbers.every((value) => value < 1) ? 0
      : numbers.every((value) => value >= 1000) ? 1 : -1;
    const [unit, cells] = place < 0 ? [column.unit, {}] : rules().units[column.name][place];
    return { ...column, title: tex().brief[column.name] ?? column.title, unit, cells };
  });
  const groups = view.groups.map(({ title, lines }) => ({ title, lines: lines.map(({ row, cells }) => ({
    row,
    cells: cells.map((cell, i) => {
      const other = found[i].cells[row];
      return other ? { ...cell, digits: other[0], aside: other[1] } : cell;
    }),
  })) }));
  return { ...view, columns: found, groups };
}

// ---- Room ----

function layoutOf(view, places, wide, below, crowded = false) {
  const lines = linesOf(view);
  const [columnPt, pagePt] = tex().room_pt;
  const room = wide ? pagePt : columnPt;
  const textPt = crowded ? tex().text_share * room : Infinity;
  const naming = view.columns.findIndex(({ name }) => ["file", "model", "net"].includes(name));
  const asides = below ? [] : places.filter((place) => hasAside(view, place));
  const widest = (widths) => widths.reduce((most, width) => Math.max(most, width), 0);
  const widthOf = (place) => {
    const column = view.columns[place];
    const cells = lines.map((line) => line.cells[place]);
    const heads = headingLines(column, 0).map(widthPt);
    if (!column.numeric) {
      const dagger = place === naming ? 8 : 0;
      return widest([...heads, ...cells.map((cell) => Math.min(widthPt(cell.text), textPt))]) + dagger;
    }
    const numbers = widest(cells.map((cell) => widthPt(cell.digits || `${cell.text}00`)));
    const aside = widest(cells.map((cell) => tex().script * widthPt(cell.aside)));
    const beside = asides.includes(place) ? 4 + aside : 0;
    return Math.max(numbers + beside, beside ? 0 : aside, ...heads);
  };
  const columnWidths = new Map(places.map((place) => [place, widthOf(place)]));
  const texts = places.filter((place) => !view.columns[place].numeric);
  const broken = new Set(texts.filter((place) => lines.some(({ cells }) => widthPt(cells[place].text) > textPt)));
  const width = sum([...columnWidths.values()]) + tex().between_pt * places.length;
  const linesTaken = ({ cells }) => {
    const taken = texts.map((place) => widthPt(cells[place].text))
      .map((wideness) => (wideness > textPt ? Math.ceil((1.1 * wideness) / textPt) : 1));
    return widest(taken) + (below && places.some((place) => cells[place].aside) ? 1 : 0);
  };
  const count = sum(view.groups.map(({ title }) => (title ? 1 : 0))) + sum(lines.map(linesTaken));
  return {
    view, places, wide, below, crowded, room, asides, columnWidths, broken, width, naming,
    fits: width <= room, lines: count,
  };
}

function layoutsOf(view) {
  const every = [...view.columns.keys()];
  const most = tex().lines_at_most;
  const ways = [0, 1, 2, 3, 4, 5, 6, 7].map((way) => layoutOf(view, every, way & 4, way & 2, way & 1));
  const fitting = ways.filter(({ fits }) => fits);
  if (fitting.length) return [fitting.find(({ lines }) => lines <= most) ?? fitting.at(-1)];
  const layouts = [];
  const { naming } = ways[0];
  for (const place of every.filter((candidate) => candidate !== naming)) {
    const last = layouts.at(-1);
    const longer = last && layoutOf(view, [...last.places, place], true, true, last.crowded);
    if (longer?.fits) layouts[layouts.length - 1] = longer;
    else layouts.push(layoutOf(view, [naming, place], true, true, true));
  }
  return layouts.map((layout) => {
    const narrow = layoutOf(view, layout.places, false, true, layout.crowded);
    return narrow.fits && narrow.lines <= most ? narrow : layout;
  });
}

// ---- Tables ----

function numberFormat(digits) {
  let [whole, fraction, sign] = [1, 0, ""];
  for (const number of digits) {
    const [before, after = ""] = number.replace(/^-/, "").split(".");
    [whole, fraction] = [Math.max(whole, before.length), Math.max(fraction, after.length)];
    if (number.startsWith("-")) sign = "-";
  }
  return `S[table-format=${sign}${whole}.${fraction}]`;
}

const inPoints = (width) => {
  const below = Math.floor(width);
  return width - below === 0.5 ? below + (below % 2) : Math.round(width);
};

function specificationOf(layout) {
  return layout.places.map((place) => {
    if (layout.view.columns[place].numeric) {
      const digits = linesOf(layout.view).map(({ cells }) => cells[place].digits);
      return numberFormat(digits) + (layout.asides.includes(place) ? String.raw`@{\,}l` : "");
    }
    return layout.broken.has(place) ? `p{${inPoints(layout.columnWidths.get(place))}pt}` : "l";
  }).join(" ");
}

function headOf(layout) {
  const heads = layout.places.map((place) => {
    const column = layout.view.columns[place];
    const letters = Math.trunc(layout.columnWidths.get(place) / widthPt("n"));
    const lines = headingLines(column, letters).map(inLatex).join(String.raw` \\ `);
    const stacked = `\\begin{tabular}[b]{@{}${column.numeric ? "c" : "l"}@{}}${lines}\\end{tabular}`;
    return layout.asides.includes(place) ? `\\multicolumn{2}{c}{${stacked}}` : `{${stacked}}`;
  });
  return `${heads.join(" & ")} ${String.raw`\\`}`;
}

function texCells({ row, cells }, layout) {
  return layout.places.flatMap((place) => {
    const [cell, column] = [cells[place], layout.view.columns[place]];
    const dagger = place === layout.naming && isDoubtful(row) ? DAGGER : "";
    const aside = layout.asides.includes(place)
      ? [cell.aside ? `\\scriptsize ${inLatex(cell.aside)}` : ""] : [];
    if (layout.broken.has(place)) {
      return [`{\\raggedright\\hspace{0pt}${breakableInLatex(cell.text)}${dagger}\\par}`, ...aside];
    }
    const words = cell.digits ? (cell.best ? "\\bfseries " : "") + cell.digits
      : column.numeric ? `{${inLatex(cell.text)}}` : inLatex(cell.text);
    return [words + dagger, ...aside];
  });
}

function bodyOf(layout) {
  return layout.view.groups.flatMap(({ title, lines }) => {
    const wide = inPoints(Math.min(layout.width, layout.room) - 6);
    const count = layout.places.length + layout.asides.length;
    const words = `\\parbox[t]{${wide}pt}{\\raggedright\\itshape ${flowing(title)}}`;
    const body = lines.flatMap((line) => {
      const own = `${texCells(line, layout).join(" & ")} ${String.raw`\\`}`;
      const asides = layout.places.map((place) => line.cells[place].aside);
      if (!layout.below || !asides.some(Boolean)) return [own];
      const under = asides.map((aside) => (aside ? `{\\scriptsize ${inLatex(aside)}}` : ""));
      return [own, `${under.join(" & ")} ${String.raw`\\[1.5pt]`}`];
    });
    const head = title ? [`\\multicolumn{${count}}{l}{${words}} ${String.raw`\\`}`] : [];
    return [String.raw`\midrule`, ...head, ...body];
  });
}

function floatOf(layout, caption, below) {
  const kind = layout.wide ? "table*" : "table";
  return [
    `\\begin{${kind}}[!t]`, "\\centering", ...tex().setup, `\\caption{${caption}}`,
    `\\begin{tabular}{${specificationOf(layout)}}`, "\\toprule", headOf(layout), ...bodyOf(layout),
    "\\bottomrule", "\\end{tabular}", ...withSetup(below, String.raw`\par\smallskip\raggedright\scriptsize`),
    `\\end{${kind}}`,
  ].join("\n");
}

function longtableOf(layout, caption, below) {
  const head = headOf(layout);
  return [
    String.raw`\makeatletter\if@twocolumn\onecolumn\let\swapbenchback\twocolumn`,
    String.raw`\else\let\swapbenchback\relax\fi\makeatother`, "\\begingroup", ...tex().setup,
    `\\begin{longtable}{${specificationOf(layout)}}`, `\\caption{${caption}}${String.raw`\\`}`,
    `\\toprule ${head} \\midrule \\endfirsthead`, `\\toprule ${head} \\midrule \\endhead`,
    String.raw`\bottomrule \endfoot`, ...bodyOf(layout).slice(1), "\\end{longtable}",
    ...withSetup(below, String.raw`\par\raggedright\scriptsize`), String.raw`\endgroup\swapbenchback\relax`,
  ].join("\n");
}

const withSetup = (notes, setup) => (notes.every((line) => line.startsWith("%")) ? notes : [setup, ...notes]);

// The notes below: those that a paper prints, and the longer ones as comments.
function texNotes(view, urgent) {
  const meant = new Map(view.columns.filter(({ name }) => name in tex().brief)
    .map((column) => [column.title, columns.get(column.name).title]));
  const heads = [...meant].map(([brief, title]) => `${brief}: ${title}`).join("; ");
  const remarks = [heads && `${heads}.`, ...view.remarks.slice(urgent)].filter(Boolean).join(" ");
  const dagger = String.raw`\ensuremath{\dagger} `;
  const printed = (mark, words) => `${mark}${flowing(words)}\\par`;
  const about = Map.groupBy(view.kinds, ({ quantity }) => quantity);
  const doubts = [...about].map(([quantity, kinds]) => `${kinds.map(({ phrase }) => phrase).join(", ")} (${quantity})`);
  return [
    ...(remarks ? [printed("", remarks)] : []),
    ...(doubts.length ? [printed(dagger, `Doubts of the measurement: ${doubts.join("; ")}.`)] : []),
    ...(view.notes.length ? [printed("", "n/a: not measured.")] : []),
    ...view.kinds.map((kind) => `% ${dagger}${inLatex(kind.text)}`),
    ...view.notes.map((why, i) => `% \\textsuperscript{${i + 1}} ${inLatex(why)}`),
  ];
}

function asLatex(shownView) {
  const view = printedView(shownView);
  const urgent = view.simulated ? 1 : 0;
  const layouts = layoutsOf(view);
  const tables = layouts.map((layout, i) => {
    const part = layouts.length > 1 ? ` Part ${i + 1} of ${layouts.length}.` : "";
    const caption = [view.caption + part, ...view.remarks.slice(0, urgent)].join(" ");
    const below = i + 1 === layouts.length ? texNotes(view, urgent) : [];
    const draw = layout.lines > tex().lines_at_most ? longtableOf : floatOf;
    return draw(layout, flowing(caption), below);
  });
  return `${tex().head}${tables.join("\n")}\n${tex().tail}`;
}
