// What is shown as Markdown and CSV, letter by letter as swapbench report --format writes it.
"use strict";

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const superscript = (number) => String(number).replace(/\d/g, (digit) => SUPERSCRIPTS[digit]);

// ---- Markdown ----

function inMarkdown(words) {
  return words
    .replace(/&(?=#?[\p{L}\p{N}_]+;)/gu, "&amp;")
    .replace(/<(?=[\p{L}\p{N}_/!?])/gu, "&lt;")
    .replace(/([\\`*|~$])/g, "\\$1")
    .replace(/\](?=[([:])/g, "\\]")
    .replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, "\\_");
}

function columnsTaken(words) {
  const { wide } = rules();
  return Array.from(words).reduce((sum, letter) => {
    const at = letter > "~" ? wide.indexOf(letter) : -1;
    return sum + (at < 0 ? 1 : Number(wide[at - 1]));
  }, 0);
}

function alignedGrid(lines, left) {
  const widths = left.map((_, i) => Math.max(3, ...lines.map((line) => columnsTaken(line[i]))));
  const lineOf = (cells) => {
    const padded = cells.map((cell, i) => {
      const room = " ".repeat(widths[i] - columnsTaken(cell));
      return left[i] ? cell + room : room + cell;
    });
    return `| ${padded.join(" | ")} |`;
  };
  const rule = widths.map((width, i) => (left[i] ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [lineOf(lines[0]), `| ${rule.join(" | ")} |`, ...lines.slice(1).map(lineOf)].join("\n");
}

function plainCell(cell, column) {
  const whole = cell.digits ? `${cell.digits}${column.sign} ${cell.aside}`.trimEnd() : cell.text;
  return whole + (cell.note ? superscript(cell.note) : "");
}

function asMarkdown(view) {
  const { dagger, not_measured: notMeasured } = rules();
  const naming = view.columns.findIndex(({ name }) => ["file", "model", "net"].includes(name));
  const bold = (words) => {
    const [, digits, aside] = /^(\S*) ?([^]*)$/.exec(words);
    return `**${digits}** ${aside}`.trimEnd();
  };
  const grids = view.groups.flatMap(({ title, lines }) => {
    const body = lines.map(({ row, cells }) => cells.map((cell, i) => {
      const mark = i === naming && isDoubtful(row) ? ` ${dagger}` : "";
      const words = inMarkdown(plainCell(cell, view.columns[i]) + mark);
      return cell.best ? bold(words) : words;
    }));
    const head = view.columns.map(({ heading }) => inMarkdown(heading));
    const grid = alignedGrid([head, ...body], view.columns.map(({ numeric }) => !numeric));
    return title ? [`**${inMarkdown(title)}**`, grid] : [grid];
  });
  const urgent = view.simulated ? 1 : 0;
  const notes = [
    ...view.kinds.map((kind) => `${dagger} ${kind.withRemedy}`),
    ...view.notes.map((why, i) => `${notMeasured}${superscript(i + 1)} ${why}`),
  ];
  const parts = [
    ...view.remarks.slice(0, urgent).map((remark) => `**${inMarkdown(remark)}**`),
    ...grids,
    [view.caption, ...view.remarks.slice(urgent)].map(inMarkdown).join(" "),
  ];
  if (notes.length) parts.push(notes.map((note) => `- ${inMarkdown(note)}`).join("\n"));
  return `${parts.join("\n\n")}\n`;
}

// ---- CSV ----

function asCsv(view) {
  const { csv, fields, honesty: [first, last] } = rules();
  const names = unique([...first, ...view.columns.flatMap(({ name }) => fields[name]), ...last]);
  const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  const lines = [names, ...view.rows.map((row) => names.map((name) => csv[name][row]))];
  return lines.map((line) => `${line.map(quoted).join(",")}\n`).join("");
}
