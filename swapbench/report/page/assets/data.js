// The data of the page, and helpers that build elements. Names of models and machines are set as text, never
// as HTML.
"use strict";

const byId = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== ""));
  return element;
}

function makeShape(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// The text of a script element that holds it gzipped, in base64.
async function unpacked(id) {
  const letters = atob(byId(id).textContent);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i += 1) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

let data; // see page/data.py
let columns; // name -> column

function setData(contents) {
  data = contents;
  columns = new Map(data.columns.map((column) => [column.name, column]));
}

const count = () => data.rows.id.length;
const label = (row) => columns.get("file").values[row];

// A long name may break after its dots, dashes and underscores; it is copied as it is.
const breakable = (name) =>
  name.split(/(?<=[._-])/).flatMap((piece, i) => (i ? [make("wbr"), piece] : [piece]));
const isDoubtful = (row) => data.rows.doubts[row].length > 0;
const named = (row) => label(row) + (isDoubtful(row) ? " †" : "");
const shared = (place) => data.pool[place];

function text(column, row) {
  if (column.texts) return column.texts[row];
  const value = column.values[row];
  return value === null ? data.not_measured : String(value);
}

const withUnit = (column, row) => {
  const number = text(column, row);
  return column.unit && number !== data.not_measured ? `${number} ${column.unit}` : number;
};

// A number in the unit of its column; NaN where there is none, so that it is not drawn at 0.
const shown = (column, value) => (typeof value === "number" ? value / column.per_unit : NaN);

const reason = (column, row) => (column.values[row] === null ? shared(column.absent[row]) : "");

// Of every row the text in which words are searched.
let haystack = null;
function haystacks() {
  haystack ??= data.rows.id.map((_, row) => {
    const texts = data.columns.filter((column) => !column.numeric).map((column) => column.values[row]);
    const doubts = data.rows.doubts[row].map((place) => shared(place).code);
    return [...texts, ...doubts, data.rows.sha256[row]].join(" ").toLowerCase();
  });
  return haystack;
}
