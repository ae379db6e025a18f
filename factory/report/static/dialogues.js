const SIDES = { generate: "G · generated", rewrite: "R · rewritten" };

function showDialogues({ sample, cases, curated }, characters) {
  const body = bodyOf("dialogues");
  if (!cases.length) {
    body.append(make("p", { class: "empty" }, "There are no dialogues to show yet."));
    return;
  }
  body.append(make("p", { class: "muted" }, sample.dialogues === sample.of_dialogues
    ? `All ${count(sample.dialogues)} dialogues.` : `A sample of ${count(sample.dialogues)} of ${count(sample.of_dialogues)} dialogues, of ${count(sample.speakers)} characters.`));
  const nameOf = (one) => (one.character === null ? one.character_id : `${characters[one.character].name ?? absent} (${one.character_id.slice(0, 6)})`);
  body.append(browser({
    id: "cases", label: "Dialogues", rows: cases, noun: "instructions with their dialogues",
    filters: [
      { id: "character", label: "Character", of: nameOf },
      { id: "corpus", label: "Corpus", of: (one) => one.corpus },
      { id: "strategy", label: "Strategy", of: (one) => Object.keys(one.sides), name: (value) => SIDES[value] ?? value },
      { id: "language", label: "Language", of: (one) => one.language },
      { id: "status", label: "Status", of: (one, chosen) => sidesOf(one, chosen).flatMap(([, side]) => side.statuses) },
    ],
    words: (one) => [nameOf(one), one.id, ...one.users, ...one.reference, one.character === null ? "" : characters[one.character].persona,
      ...Object.values(one.sides).flatMap((side) => [side.id, side.reason, side.curation_reason, side.raw, ...side.replies])].join(" "),
    show: (one, chosen) => showCase(one, sidesOf(one, chosen), characters, nameOf),
  }));
  const told = Object.entries(curated).filter(([, figures]) => figures?.distinct_ngrams);
  if (told.length) body.append(make("h3", {}, "The curated set"), table("Curated set", ["split", "turns", "reply words", "characters", "distinct words", "distinct pairs", "distinct triples", "languages"],
    told.map(([name, one]) => [name, count(one.turns), count(one.reply_words), count(one.characters),
      ...["1", "2", "3"].map((n) => percent(one.distinct_ngrams[n]?.distinct ?? 0, one.distinct_ngrams[n]?.of ?? 0)),
      Object.entries(one.languages ?? {}).slice(0, 4).map(([language, rows]) => `${language} ${count(rows)}`).join(", ")])));
}

/** The strategies of a case, or the one that is asked for. */
const sidesOf = (one, { strategy }) => Object.entries(one.sides).filter(([name]) => !strategy || name === strategy);

function showCase(one, sides, characters, nameOf) {
  const who = one.character === null ? make("p", { class: "muted" }, "The character's profile is not there.")
    : make("div", { class: "who" }, make("h3", {}, characters[one.character].name ?? absent), profile(characters[one.character]));
  const turns = Math.max(one.users.length, ...sides.map(([, side]) => side.replies.length), 1);
  const content = make("div", {}, make("div", { class: "tags" }, tag(one.corpus), one.language ? tag(one.language) : null, tag(`instruction ${one.id}`)));
  for (let turn = 0; turn < turns; turn += 1) {
    content.append(make("div", { class: "turn" },
      one.users[turn] ? make("div", { class: "user" }, make("h4", {}, "User"), text(one.users[turn])) : null,
      make("div", { class: "sides" }, sides.map(([name, side]) => showSide(name, side, turn)),
        one.reference[turn] ? make("div", { class: "side reference" }, make("h4", {}, "Reference"), text(one.reference[turn])) : null)));
  }
  return make("li", { class: "panel case", "aria-label": `${nameOf(one)}, ${one.corpus}` }, who, content);
}

function showSide(name, side, turn) {
  const head = make("h4", {}, SIDES[name] ?? name);
  const reply = side.replies[turn];
  if (turn) return reply ? make("div", { class: `side ${name}` }, head, text(reply)) : null;
  const tags = [...side.statuses.map((status) => tag(status === "rejected" ? `rejected: ${side.reason}` : status.startsWith("left out") ? `${status}: ${side.curation_reason}` : status,
    status === "rejected" || status.startsWith("left out") ? "bad" : "good")), side.split ? tag(side.split) : null, side.tokens[1] ? tag(`${count(side.tokens[1])} tokens`) : null];
  return make("div", { class: `side ${name}` }, head, make("div", { class: "tags" }, tags),
    reply ? text(reply) : null, side.raw !== null ? raw(side.raw, `Raw text of ${side.id}`) : null,
    make("p", { class: "muted small mono" }, [side.id, side.model, side.prompt].filter(Boolean).join(" · ")));
}

const raw = (value, label) => make("div", { class: "raw", tabindex: "0", role: "region", "aria-label": label }, text(value || "(nothing)", "pre"));

function showRejected(rejected, reasons) {
  const body = bodyOf("rejected"), all = reasons.reduce((sum, one) => sum + one.rows, 0);
  if (!rejected.length) {
    body.append(make("p", { class: "empty" }, all ? "None of the rejected rows can be read." : "No row was rejected."));
    return;
  }
  body.append(make("p", { class: "muted" }, rejected.length >= all ? `All ${count(rejected.length)} rejected rows, each with its raw text.`
    : `A sample of ${count(rejected.length)} of ${count(all)} rejected rows, some of every reason.`));
  body.append(browser({
    id: "rejects", label: "Rejected rows", rows: rejected, noun: "rejected rows",
    filters: [{ id: "table", label: "Table", of: (row) => row.table }, { id: "reason", label: "Reason", of: (row) => row.reason }],
    words: (row) => [row.table, row.reason, row.id, row.raw].join(" "),
    show: (row) => make("li", { class: "panel" }, make("div", { class: "tags" }, tag(row.reason, "bad"), tag(row.table), row.id ? tag(row.id) : null, row.model ? tag(row.model) : null),
      raw(row.raw, `Raw text of ${row.id ?? "a row"} in ${row.table}`)),
  }));
}
