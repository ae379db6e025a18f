"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

/** A text as it can be seen: control characters as their symbols, half characters as what they are. */
function visible(text) {
  return String(text)
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  // Strings become text nodes: nothing of a run is ever read as HTML.
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) {
      node.append(child instanceof Node ? child : visible(child));
    }
  }
  return node;
}

const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const draw = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
const bodyOf = (id) => document.querySelector(`#${id} > .body`);
const text = (value, name = "p", attributes = {}) => make(name, { class: "text", dir: "auto", ...attributes }, value);

const absent = "–";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const count = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en-US") : absent);
const fixed = (value, digits = 2) => (isNumber(value) ? value.toFixed(digits) : absent);
const short = (value) =>
  isNumber(value) ? new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 }).format(value) : absent;
const percent = (part, all) => (all ? `${((100 * part) / all).toFixed(part && part < all / 100 ? 2 : 0)} %` : absent);
const signed = (value, digits = 2) => (isNumber(value) ? (value > 0 ? "+" : "") + value.toFixed(digits) : absent);

function duration(seconds) {
  if (!isNumber(seconds)) return absent;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A table; a cell is a text or a node, and `left` says how many of the first columns hold words. */
function table(label, head, rows, left = 1) {
  const cell = (name, attributes, value, place) =>
    make(name, { ...attributes, class: place < left ? "l" : null }, Array.isArray(value) ? value : [value]);
  return make(
    "div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    make("table", {},
      make("thead", {}, make("tr", {}, head.map((value, place) => cell("th", { scope: "col" }, value, place)))),
      make("tbody", {}, rows.map((row) => make("tr", {}, row.map((value, place) =>
        place === 0 ? cell("th", { scope: "row" }, value, place) : cell("td", {}, value, place)))))));
}

const stat = (label, value, more) =>
  make("div", { class: "stat" }, make("dt", {}, label), make("dd", {}, value, more ? make("small", {}, more) : null));

const tag = (value, kind = "") => make("span", { class: `tag ${kind}` }, value);
const legend = (names) => make("div", { class: "legend" }, names.map((name, place) =>
  make("span", { class: `t${place % 8}` }, make("span", { class: "swatch", "aria-hidden": "true" }), name)));

/** Draw into a box, and again whenever its width changes; letters keep their size on any screen. */
function drawn(attributes, picture) {
  const box = make("div", attributes);
  let before = 0;
  new ResizeObserver(() => {
    const width = Math.floor(box.clientWidth);
    if (width > 80 && width !== before) {
      before = width;
      box.replaceChildren(picture(width));
    }
  }).observe(box);
  return box;
}
