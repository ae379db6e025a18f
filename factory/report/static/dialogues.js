const SIDES = { generate: "Generated", rewrite: "Rewritten" };

function showDialogues({ sample, cases, curated, judged, population }, characters) {
  const body = bodyOf("dialogues");
  if (!cases.length) {
    body.append(notRun("There are no dialogues yet.", "synthesize"));
    return;
  }
  body.append(el("p", { class: "muted" }, (sample.dialogues === sample.of_dialogues
    ? `All ${count(sample.dialogues)} dialogues, kept ones first.`
    : `A sample of ${count(sample.dialogues)} of ${count(sample.of_dialogues)} dialogues of ${plural(sample.speakers, "character")}, kept ones first.`)
    + " A generated reply is written from scratch, a rewritten one restyles the reference reply."));
  const nameOf = (one) => (one.character === null ? one.character_id : `${characters[one.character].name ?? absent} (${one.character_id.slice(0, 6)})`);
  body.append(browser({
    id: "cases", label: "Dialogues", rows: cases, noun: "instructions with their dialogues", pageSize: 2,
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
  if (judged.settings) body.append(...showJudged(judged));
  const splits = Object.entries(curated).filter(([, figures]) => figures?.distinct_ngrams);
  if (splits.length) body.append(folded("The curated set in numbers", table("Curated set", ["split", "turns", "reply words", "characters", "distinct words", "distinct pairs", "distinct triples", "languages"],
    splits.map(([name, one]) => [name, count(one.turns), count(one.reply_words), count(one.characters),
      ...["1", "2", "3"].map((n) => percent(one.distinct_ngrams[n]?.distinct ?? 0, one.distinct_ngrams[n]?.of ?? 0)),
      Object.entries(one.languages ?? {}).slice(0, 4).map(([language, rows]) => `${language} ${count(rows)}`).join(", ")]))));
  if (population["curated/train"]) body.append(populationOf(population["curated/train"], "Variety of the replies"));
}

/** The strategies of a case, or the one that the filter selects. */
const sidesOf = (one, { strategy }) => Object.entries(one.sides).filter(([name]) => !strategy || name === strategy);

function showCase(one, sides, characters, nameOf) {
  const character = one.character === null ? null : characters[one.character];
  const turns = Math.max(one.users.length, ...sides.map(([, side]) => side.replies.length), 1);
  const chat = el("div", { class: "chat" });
  for (let turn = 0; turn < turns; turn += 1) {
    if (one.users[turn]) chat.append(bubble("user", "User", longText(one.users[turn])));
    chat.append(el("div", { class: "sides" }, sides.map(([name, side]) => showReply(name, side, turn))));
  }
  return el("li", { class: "panel case", "aria-label": `${nameOf(one)}, ${one.corpus}` },
    el("div", { class: "who" },
      el("h3", {}, character ? character.name ?? absent : "The character's profile is missing"),
      el("div", { class: "tags" }, tag(one.corpus), one.language ? tag(one.language) : null,
        character?.origin === "given" ? tag("given profile") : null)),
    character ? text(character.persona ?? absent, "p", { class: "text muted small" }) : null,
    chat,
    folds(character ? folded("Profile of the character", profileItems(character)) : null,
      one.reference.length ? folded("Reference reply", one.reference.map((reply) => text(reply))) : null,
      folded("Ids, models and prompts", el("p", { class: "muted small mono" }, `instruction ${one.id}`),
      sides.map(([, side]) => el("p", { class: "muted small mono" }, [side.id, side.model, side.prompt, side.tokens[1] ? `${count(side.tokens[1])} tokens` : null].filter(Boolean).join(" · "))))));
}

const bubble = (kind, title, ...content) => el("div", { class: `bubble ${kind}` }, el("h4", {}, title), content);

/** The reply of one strategy in a turn; a rejected one has its raw text. */
function showReply(name, side, turn) {
  const title = SIDES[name] ?? name, reply = side.replies[turn];
  if (turn) return reply ? bubble(name, title, longText(reply), thoughts(side.thoughts[turn])) : null;
  const tags = [...side.statuses.map((status) => tag(status === "rejected" ? `rejected: ${side.reason}` : status.startsWith("left out") ? `${status}: ${side.curation_reason}` : status,
    status === "rejected" || status.startsWith("left out") ? "bad" : "good")), side.split ? tag(side.split) : null];
  return bubble(name, title, reply ? longText(reply) : null, side.raw !== null ? raw(side.raw, `Raw text of ${side.id}`) : null, thoughts(side.thoughts[turn]), el("div", { class: "tags" }, tags));
}

/** What a reasoning model wrote before a reply. */
const thoughts = (value) => (value ? folded("Thoughts", text(value, "p", { class: "text muted" })) : null);

const raw = (value, label) => el("div", { class: "raw", tabindex: "0", role: "region", "aria-label": label }, text(value || "(nothing)", "pre"));

function showRejected(rejected, reasons) {
  const body = bodyOf("rejected"), all = reasons.reduce((sum, one) => sum + one.rows, 0);
  if (reasons.length) body.append(el("div", { class: "panel" }, bars("Rejected rows", reasons.slice(0, 8).map((one) => [`${one.reason} · ${one.table}`, one.rows])),
    reasons.length > 8 ? el("p", { class: "muted small" }, `and ${plural(reasons.length - 8, "rarer reason")}`) : null));
  if (!rejected.length) {
    body.append(el("p", { class: "empty" }, all ? "None of the rejected rows can be read." : "No row was rejected."));
    return;
  }
  const title = rejected.length >= all ? `All ${count(rejected.length)} rejected rows with their raw texts`
    : `A sample of ${count(rejected.length)} of ${count(all)} rejected rows with their raw texts, of every reason`;
  body.append(folded(title, browser({
    id: "rejects", label: "Rejected rows", rows: rejected, noun: "rejected rows", pageSize: 5,
    filters: [{ id: "table", label: "Table", of: (row) => row.table }, { id: "reason", label: "Reason", of: (row) => row.reason }],
    words: (row) => [row.table, row.reason, row.id, row.raw].join(" "),
    show: (row) => el("li", { class: "panel" }, el("div", { class: "tags" }, tag(row.reason, "bad"), tag(row.table), row.id ? tag(row.id) : null, row.model ? tag(row.model) : null),
      raw(row.raw, `Raw text of ${row.id ?? "a row"} in ${row.table}`), thoughts(row.thoughts)),
  })));
}
