// The data of the page, and small ways to build elements. Names of models and machines are only ever set as text, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== ""));
  return made;
}

function makeShape(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

let data; // see page_data.py
let columns; // name -> column

function takeIn(read) {
  data = read;
  columns = new Map(data.columns.map((column) => [column.name, column]));
}

const count = () => data.rows.id.length;
const label = (row) => columns.get("file").values[row];

// A long name may break after its dots, dashes and underscores; it is copied as it is.
const breakable = (name) => name.split(/(?<=[._-])/).flatMap((piece, i) => (i ? [make("wbr"), piece] : [piece]));
const isDoubtful = (row) => data.rows.doubts[row].length > 0;
const named = (row) => label(row) + (isDoubtful(row) ? " †" : "");
const shared = (place) => data.pool[place];

function text(column, row) {
  if (column.texts) return column.texts[row];
  const value = column.values[row];
  return value === null ? data.not_measured : String(value);
}

const withUnit = (column, row) => {
  const shown = text(column, row);
  return column.unit && shown !== data.not_measured ? `${shown} ${column.unit}` : shown;
};

// A number in the unit that is shown; NaN where there is none, so that no axis can draw it at 0.
const shown = (column, value) => (typeof value === "number" ? value / column.per_unit : NaN);

const reason = (column, row) => (column.values[row] === null ? shared(column.absent[row]) : "");

const haystacks = [];
function haystack(row) {
  if (haystacks[row] === undefined) {
    const texts = data.columns.filter((column) => !column.numeric).map((column) => column.values[row]);
    const doubts = data.rows.doubts[row].map((place) => shared(place).code);
    haystacks[row] = [...texts, ...doubts, data.rows.sha256[row]].join(" ").toLowerCase();
  }
  return haystacks[row];
}
