"use strict";

const data = JSON.parse(document.getElementById("data").textContent);

/** A text with visible control characters; lone surrogates become the replacement character. */
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
  // Strings become text nodes: no text of a run is parsed as HTML.
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) {
      node.append(child instanceof Node ? child : visible(child));
    }
  }
  return node;
}

const el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
const bodyOf = (id) => document.querySelector(`#${id} > .body`);
const text = (value, name = "p", attributes = {}) => el(name, { class: "text", dir: "auto", ...attributes }, value);

const absent = "–";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const count = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en-US") : absent);
const fixed = (value, digits = 2) => (isNumber(value) ? value.toFixed(digits) : absent);
const short = (value) =>
  isNumber(value) ? new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 }).format(value) : absent;
const percent = (part, all) => (all ? `${((100 * part) / all).toFixed(part && part < all / 100 ? 2 : 0)} %` : absent);
function signed(value, digits = 2) {
  if (!isNumber(value)) return absent;
  const rounded = Number(value.toFixed(digits));  // no "-0.00"
  return (rounded > 0 ? "+" : "") + rounded.toFixed(digits);
}

function duration(seconds) {
  if (!isNumber(seconds)) return absent;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A table; a cell is a text or a node, and the first `left` columns are aligned to the left. */
function table(label, head, rows, left = 1) {
  const cell = (name, attributes, value, index) =>
    el(name, { ...attributes, class: index < left ? "l" : null }, Array.isArray(value) ? value : [value]);
  return el(
    "div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    el("table", {},
      el("thead", {}, el("tr", {}, head.map((value, index) => cell("th", { scope: "col" }, value, index)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((value, index) =>
        index === 0 ? cell("th", { scope: "row" }, value, index) : cell("td", {}, value, index)))))));
}

const stat = (label, value, more) =>
  el("div", { class: "stat" }, el("dt", {}, label), el("dd", {}, value, more ? el("small", {}, more) : null));

/** The text of a section whose step was not run, with the command of the step. */
const notRun = (message, step) => el("p", { class: "empty" }, message, " ", data.commands[step] ? el("code", {}, data.commands[step]) : null);
const folded = (title, ...content) => el("details", {}, el("summary", {}, title), content);
const folds = (...parts) => el("div", { class: "folds" }, parts);
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A text with its beginning only, and a button that shows the rest. */
function longText(value, limit = 320) {
  if (value.length <= limit * 1.2) return text(value);
  const shown = text(`${value.slice(0, limit).trimEnd()} …`);
  const button = el("button", { type: "button", class: "more", onclick: () => { shown.textContent = visible(value); button.remove(); } }, "Show all");
  return el("div", {}, shown, button);
}

const tag = (value, kind = "") => el("span", { class: `tag ${kind}` }, value);
const legend = (names) => el("div", { class: "legend" }, names.map((name, index) =>
  el("span", { class: `t${index % 8}` }, el("span", { class: "swatch", "aria-hidden": "true" }), name)));

/** A box with a picture that is drawn again when its width changes, so that text keeps its size. */
function responsive(attributes, paint) {
  const box = el("div", attributes);
  let before = 0;
  new ResizeObserver(() => {
    const width = Math.floor(box.clientWidth);
    if (width > 80 && width !== before) {
      before = width;
      box.replaceChildren(paint(width));
    }
  }).observe(box);
  return box;
}
