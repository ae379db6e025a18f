const PAGE = 10;

/**
 * A list with search, filters and pages.
 *
 * `filters` are { id, label, of(row, chosen) -> value or values, name(value) -> text }; `words(row)` is what the search
 * looks through, and `show(row, chosen)` makes a list item. `chosen` has the values of the filters that are set, by id.
 */
function browser({ id, label, rows, filters, words, show, noun }) {
  let page = 0, found = rows, active = false, chosen = {}, waiting;
  const texts = new Map();
  const wordsOf = (row) => {
    if (!texts.has(row)) texts.set(row, words(row).toLowerCase());
    return texts.get(row);
  };
  const valuesOf = (filter, row, now = {}) => [filter.of(row, now)].flat().filter((value) => value !== null && value !== undefined && value !== "");
  const search = make("input", { type: "search", id: `${id}-search`, autocomplete: "off", oninput: () => { clearTimeout(waiting); waiting = setTimeout(apply, 120); } });
  const choices = filters.map((filter) => {
    const values = [...new Set(rows.flatMap((row) => valuesOf(filter, row)))];
    const named = values.map((value) => [value, filter.name ? filter.name(value) : String(value)]).sort((a, b) => a[1].localeCompare(b[1]));
    const select = make("select", { id: `${id}-${filter.id}`, onchange: () => apply() }, make("option", { value: "" }, "all"),
      named.map(([, name], place) => make("option", { value: String(place) }, name.length > 60 ? `${name.slice(0, 59)}…` : name)));
    return { filter, select, value: () => (select.value === "" ? null : named[Number(select.value)][0]) };
  });
  const status = make("p", { role: "status", class: "muted", id: `${id}-found` });
  const list = make("ol", { class: "rows", id: `${id}-rows` });
  const previous = make("button", { type: "button", id: `${id}-previous`, onclick: () => turn(-1) }, "Previous");
  const next = make("button", { type: "button", id: `${id}-next`, onclick: () => turn(1) }, "Next");
  const where = make("span", { class: "muted", id: `${id}-page` });

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
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    list.replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map((row) => show(row, chosen)));
    status.textContent = active ? `${count(found.length)} of ${count(rows.length)} ${noun}` : `${count(rows.length)} ${noun}`;
    where.textContent = `Page ${count(page + 1)} of ${count(pages)}`;
    previous.disabled = page === 0;
    next.disabled = page + 1 >= pages;
  }

  update();
  return make("div", {},
    make("form", { class: "filters", role: "search", "aria-label": label, onsubmit: (event) => event.preventDefault() },
      make("label", { class: "wide" }, "Search", search),
      choices.map(({ filter, select }) => make("label", {}, filter.label, select))),
    status, list, make("div", { class: "pages" }, previous, where, next));
}
