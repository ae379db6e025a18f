/**
 * A list with search, filters and pages.
 *
 * `filters` are { id, label, of(row, chosen) -> value or values, name(value) -> text }; `words(row)` is the text to
 * search in, and `show(row, chosen)` returns a list item. `chosen` has the values of the active filters, by id.
 */
function browser({ id, label, rows, filters, words, show, noun, pageSize }) {
  let page = 0, found = rows, active = false, chosen = {}, waiting;
  const texts = new Map();
  const wordsOf = (row) => {
    if (!texts.has(row)) texts.set(row, words(row).toLowerCase());
    return texts.get(row);
  };
  const valuesOf = (filter, row, now = {}) => [filter.of(row, now)].flat().filter((value) => value !== null && value !== undefined && value !== "");
  const search = el("input", { type: "search", id: `${id}-search`, autocomplete: "off", oninput: () => { clearTimeout(waiting); waiting = setTimeout(apply, 120); } });
  const choices = filters.map((filter) => {
    const values = [...new Set(rows.flatMap((row) => valuesOf(filter, row)))];
    const named = values.map((value) => [value, filter.name ? filter.name(value) : String(value)]).sort((a, b) => a[1].localeCompare(b[1]));
    const select = el("select", { id: `${id}-${filter.id}`, onchange: () => apply() }, el("option", { value: "" }, "all"),
      named.map(([, name], index) => el("option", { value: String(index) }, name.length > 60 ? `${name.slice(0, 59)}…` : name)));
    return { filter, select, value: () => (select.value === "" ? null : named[Number(select.value)][0]) };
  });
  const status = el("p", { role: "status", class: "muted", id: `${id}-found` });
  const list = el("ol", { class: "rows", id: `${id}-rows` });
  const previous = el("button", { type: "button", id: `${id}-previous`, onclick: () => turn(-1) }, "Previous");
  const next = el("button", { type: "button", id: `${id}-next`, onclick: () => turn(1) }, "Next");
  const where = el("span", { class: "muted", id: `${id}-page` });

  function apply() {
    const wanted = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const set = choices.map(({ filter, value }) => [filter, value()]).filter(([, value]) => value !== null);
    chosen = Object.fromEntries(set.map(([filter, value]) => [filter.id, value]));
    active = Boolean(set.length || wanted.length);
    found = rows.filter((row) => set.every(([filter, value]) => valuesOf(filter, row, chosen).includes(value))
      && wanted.every((word) => wordsOf(row).includes(word)));
    page = 0;
    update();
  }

  function turn(by) {
    page += by;
    update();
    status.scrollIntoView({ block: "nearest" });
  }

  function update() {
    const pages = Math.max(1, Math.ceil(found.length / pageSize));
    list.replaceChildren(...found.slice(page * pageSize, (page + 1) * pageSize).map((row) => show(row, chosen)));
    status.textContent = active ? `${count(found.length)} of ${count(rows.length)} ${noun}` : `${count(rows.length)} ${noun}`;
    where.textContent = `Page ${count(page + 1)} of ${count(pages)}`;
    previous.disabled = page === 0;
    next.disabled = page + 1 >= pages;
  }

  update();
  return el("div", {},
    el("form", { class: "filters", role: "search", "aria-label": label, onsubmit: (event) => event.preventDefault() },
      el("label", { class: "wide" }, "Search", search),
      choices.map(({ filter, select }) => el("label", {}, filter.label, select))),
    status, list, el("div", { class: "pages" }, previous, where, next));
}
