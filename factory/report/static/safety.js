const CHECKS = {
  personal_data: ["Personal data in a message", (told) => (told.personal_data?.length ? `${told.personal_data.join(", ").replaceAll("_", " ")}; phone numbers of ${["any country with its code", ...(told.phone_regions ?? [])].join(", ")}` : null)],
  real_person: ["Real people in personas and profiles", (told) => (told.people ? `${count(told.people.names)} full names` : null)],
  toxic: ["Offensive words in a reply (English)", (told) => (isNumber(told.toxicity) ? `a probability of ${told.toxicity} or more` : null)],
};

function showSafety({ gate, balance, stereotypes }) {
  const body = bodyOf("safety");
  body.append(make("h3", {}, "Left out by curation, for the sake of people"));
  if (gate.reasons) body.append(...shownGate(gate));
  else body.append(make("p", { class: "empty" }, "Nothing is curated yet, so no dialogue was looked at."));
  body.append(make("h3", {}, "Characters whose personas leave it open"));
  if (balance.length) body.append(...shownBalance(balance));
  else body.append(make("p", { class: "empty" }, "There are no profiles to look at yet."));
  body.append(make("h3", {}, "Stereotype pairs"), ...shownStereotypes(stereotypes));
}

function shownGate({ rows, finished, settings, reasons }) {
  const told = Object.keys(settings).length > 0;
  const asked = (reason) => (told ? CHECKS[reason][1](settings) ?? tag("not asked") : tag("not told", "bad"));
  const examples = reasons.filter((one) => one.examples.length);
  return [
    table("Safety checks", ["check", "looked for", "rejected", "of the dialogues"],
      reasons.map(({ reason, rows: rejected }) => [CHECKS[reason][0], make("span", { class: "wrap" }, asked(reason)), count(rejected), percent(rejected, rows)]), 2),
    finished ? null : make("p", { class: "muted small" }, "Curation is not finished: these are the rows that it has written."),
    finished && !told ? make("p", { class: "muted small" }, "The curated tables do not say what was asked: they were made without these checks.") : null,
    ...examples.map(({ reason, examples: shown }) => make("details", {}, make("summary", {}, `${CHECKS[reason][0]}: examples`),
      make("ul", { class: "found" }, shown.map((one) => make("li", {}, make("span", { class: "text", dir: "auto" }, one.found), " ", make("small", { class: "muted mono" }, one.id ?? absent)))))),
  ].filter(Boolean);
}

/** Shares from 0 to 100 % with their intervals, and a line where the share among all is. */
function shares(label, rows) {
  const most = Math.min(1, Math.max(0.1, ...rows.flatMap((row) => [row.high, row.all])) * 1.05);
  const told = `${label}: ${rows.map((row) => `${visible(row.value)} ${percent(row.share, 1)}, of all ${percent(row.all, 1)}`).join("; ")}`;
  return drawn({}, (width) => {
    const longest = Math.max(...rows.map((row) => visible(row.value).length));
    const names = Math.min(longest * 6.9 + 12, width * 0.4), room = Math.max(40, width - names - 60), letters = Math.floor(names / 6.6);
    const x = (share) => names + (share / most) * room;
    const sheet = draw("svg", { width, height: rows.length * 24 + 4, role: "img", "aria-label": told });
    rows.forEach((row, place) => {
      const y = place * 24 + 12, shown = visible(row.value);
      const tip = `${shown}: ${percent(row.share, 1)} [${percent(row.low, 1)}, ${percent(row.high, 1)}], of all ${percent(row.all, 1)}`;
      sheet.append(
        draw("text", { x: names - 8, y: y + 4, "text-anchor": "end" }, shown.length > letters ? `${shown.slice(0, letters - 1)}…` : shown, draw("title", {}, tip)),
        draw("rect", { class: "track", x: names, y: y - 7, width: room, height: 14, rx: 2 }),
        draw("line", { class: "line series t1", x1: x(row.all), x2: x(row.all), y1: y - 8, y2: y + 8 }),
        draw("line", { class: "whisker series t0", x1: x(row.low), x2: x(row.high), y1: y, y2: y }),
        draw("circle", { class: "dot t0", cx: x(row.share), cy: y, r: 4.5 }, draw("title", {}, tip)),
        draw("text", { class: "faint", x: names + room + 8, y: y + 4 }, percent(row.share, 1)));
    });
    return sheet;
  });
}

function shownBalance(balance) {
  return [
    make("p", { class: "muted" }, "What the model chooses where the persona does not: shares with 95 % intervals (Wilson) among the characters whose personas name no gender, race or age, beside the shares among all. By words of English; personas of other languages are left out."),
    legend(["persona leaves it open", "all characters"]),
    make("div", { class: "grid" }, balance.map(({ title, unasked, everyone, rows }) => make("div", { class: "panel" },
      make("h3", { class: "title" }, title),
      make("p", { class: "muted small" }, `${count(unasked)} of ${count(everyone)} characters`),
      rows.length ? shares(title, rows) : make("p", { class: "empty" }, "No persona leaves it open.")))),
    make("details", {}, make("summary", {}, "The same in numbers"), table("Balance", ["attribute", "value", "characters", "share", "95 % interval", "among all"],
      balance.flatMap(({ title, rows }) => rows.map((row) => [title, row.value, count(row.number), percent(row.share, 1), `${percent(row.low, 1)} to ${percent(row.high, 1)}`, percent(row.all, 1)])), 2)),
  ];
}

function shownStereotypes(told) {
  if (!told.characters) return [make("p", { class: "empty" }, "No character was looked at.")];
  const { cast, characters, looked, beyond, found, pairs, least, significance } = told;
  const open = Object.entries(characters).map(([name, number]) => `${count(number)} leave the ${name} open`).join(", ");
  const how = make("p", { class: "muted" }, `Words of persona and personality that characters of one gender or race have oftener than the others. Of ${count(cast)} characters (those with the lowest hashes of their ids) ${open}. ` +
    `${count(looked)} pairs of a word (with ${count(least)} characters or more) and a group were looked at. Log-odds ratio with an informative Dirichlet prior (Monroe et al. 2008); listed from z = ${fixed(beyond)} on, which one pair or more reaches by chance alone with a probability of ${significance} (Bonferroni).`);
  if (!looked) return [how, make("p", { class: "empty" }, "None: there are too few characters to tell.")];
  if (!pairs.length) return [how, make("p", { class: "empty" }, "None: no pair is beyond chance.")];
  return [how, table("Stereotype pairs", ["word", "group", "with it in the group", "in the others", "log-odds", "z"],
    pairs.map((one) => [one.word, `${one.group} (${one.attribute})`, `${count(one.with)} · ${percent(one.with, one.inside)}`, `${count(one.without)} · ${percent(one.without, one.outside)}`, signed(one.log_odds), fixed(one.z, 1)]), 2),
    found > pairs.length ? make("p", { class: "muted small" }, `and ${count(found - pairs.length)} weaker ones`) : null].filter(Boolean);
}
