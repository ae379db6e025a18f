const CHECKS = {
  personal_data: ["Personal data in a message", (settings) => (settings.personal_data?.length ? `${settings.personal_data.join(", ").replaceAll("_", " ")}; phone numbers of ${["any country with its code", ...(settings.phone_regions ?? [])].join(", ")}` : null)],
  real_person: ["Real people in personas and profiles", (settings) => (settings.people ? `${count(settings.people.names)} full names` : null)],
  toxic: ["Offensive words in a reply (English)", (settings) => (isNumber(settings.toxicity) ? `a probability of ${settings.toxicity} or more` : null)],
};

function showSafety({ checks, balance, stereotypes }) {
  const body = bodyOf("safety");
  body.append(el("h3", {}, "Dialogues left out to protect people"));
  if (checks.reasons) body.append(...showChecks(checks));
  else body.append(notRun("Nothing is curated yet, so no dialogue was checked.", "curate"));
  body.append(el("h3", {}, "What the model chooses if the persona does not specify it"));
  if (balance.length) body.append(...showBalance(balance));
  else body.append(notRun("There are no profiles yet.", "synthesize"));
  body.append(el("h3", {}, "Stereotypes: words that one group has more often than the others"), ...showStereotypes(stereotypes));
}

function showChecks({ rows, finished, settings, reasons }) {
  const recorded = Object.keys(settings).length > 0;
  const checked = (reason) => (recorded ? CHECKS[reason][1](settings) ?? tag("not checked") : tag("not recorded", "bad"));
  const withExamples = reasons.filter((one) => one.examples.length);
  return [
    table("Safety checks", ["check", "searched for", "rejected", "of the dialogues"],
      reasons.map(({ reason, rows: rejected }) => [CHECKS[reason][0], el("span", { class: "wrap" }, checked(reason)), count(rejected), percent(rejected, rows)]), 2),
    finished ? null : el("p", { class: "muted small" }, "Curation is not finished: these are the rows that it has written."),
    finished && !recorded ? el("p", { class: "muted small" }, "The curated tables do not record what was checked: they were built without these checks.") : null,
    withExamples.length ? folded("Examples", withExamples.map(({ reason, examples }) => [el("h4", {}, CHECKS[reason][0]),
      el("ul", { class: "found" }, examples.map((one) => el("li", {}, el("span", { class: "text", dir: "auto" }, one.found), " ", el("small", { class: "muted mono" }, one.id ?? absent))))])) : null,
  ].filter(Boolean);
}

/** Shares with their intervals, and a line for the share among all. */
function shares(label, rows) {
  const most = Math.min(1, Math.max(0.1, ...rows.flatMap((row) => [row.high, row.all])) * 1.05);
  const description = `${label}: ${rows.map((row) => `${visible(row.value)} ${percent(row.share, 1)}, of all ${percent(row.all, 1)}`).join("; ")}`;
  return responsive({}, (width) => {
    const longest = Math.max(...rows.map((row) => visible(row.value).length));
    const names = Math.min(longest * 6.9 + 12, width * 0.4), room = Math.max(40, width - names - 60), letters = Math.floor(names / 6.6);
    const x = (share) => names + (share / most) * room;
    const sheet = svg("svg", { width, height: rows.length * 24 + 4, role: "img", "aria-label": description });
    rows.forEach((row, index) => {
      const y = index * 24 + 12, shown = visible(row.value);
      const tip = `${shown}: ${percent(row.share, 1)} [${percent(row.low, 1)}, ${percent(row.high, 1)}], of all ${percent(row.all, 1)}`;
      sheet.append(
        svg("text", { x: names - 8, y: y + 4, "text-anchor": "end" }, shown.length > letters ? `${shown.slice(0, letters - 1)}…` : shown, svg("title", {}, tip)),
        svg("rect", { class: "track", x: names, y: y - 7, width: room, height: 14, rx: 2 }),
        svg("line", { class: "line series t1", x1: x(row.all), x2: x(row.all), y1: y - 8, y2: y + 8 }),
        svg("line", { class: "whisker series t0", x1: x(row.low), x2: x(row.high), y1: y, y2: y }),
        svg("circle", { class: "dot t0", cx: x(row.share), cy: y, r: 4.5 }, svg("title", {}, tip)),
        svg("text", { class: "faint", x: names + room + 8, y: y + 4 }, percent(row.share, 1)));
    });
    return sheet;
  });
}

function showBalance(balance) {
  return [
    el("p", { class: "muted small" }, "Shares with 95 % intervals (Wilson) among the characters whose personas do not specify the attribute, beside the shares among all. Decided by English words; personas in other languages are left out."),
    legend(["persona does not specify it", "all characters"]),
    el("div", { class: "grid" }, balance.map(({ title, unspecified, everyone, rows }) => el("div", { class: "panel" },
      el("h3", { class: "title" }, title),
      el("p", { class: "muted small" }, `${count(unspecified)} of ${count(everyone)} characters`),
      rows.length ? shares(title, rows) : el("p", { class: "empty" }, "Every persona specifies it.")))),
    folded("The same in numbers", table("Balance", ["attribute", "value", "characters", "share", "95 % interval", "among all"],
      balance.flatMap(({ title, rows }) => rows.map((row) => [title, row.value, count(row.number), percent(row.share, 1), `${percent(row.low, 1)} to ${percent(row.high, 1)}`, percent(row.all, 1)])), 2)),
  ];
}

function showStereotypes(data) {
  if (!data.characters) return [el("p", { class: "empty" }, "No character was tested.")];
  const { profiles, characters, tested, threshold, found, pairs, least, significance } = data;
  const unspecified = Object.entries(characters).map(([name, number]) => `${count(number)} do not specify the ${name}`).join(", ");
  const result = !tested ? "None: there are too few characters for a test."
    : !pairs.length ? `None of the ${count(tested)} tested pairs of a word and a group is above chance.`
      : `${plural(found, "pair")} of ${count(tested)} tested ones ${found === 1 ? "is" : "are"} above chance.`;
  const method = folded("Method", el("p", { class: "muted small" }, `Words of persona and personality of ${count(profiles)} characters (those with the lowest hashes of their ids), of whom ${unspecified}. `
    + `A word must have ${count(least)} characters or more. Log-odds ratio with an informative Dirichlet prior (Monroe et al. 2008); pairs from z = ${fixed(threshold)} are listed, which at least one pair reaches by chance with a probability of ${significance} (Bonferroni).`));
  const list = pairs.length ? table("Stereotype pairs", ["word", "group", "with it in the group", "in the others", "log-odds", "z"],
    pairs.map((one) => [one.word, `${one.group} (${one.attribute})`, `${count(one.with)} · ${percent(one.with, one.inside)}`, `${count(one.without)} · ${percent(one.without, one.outside)}`, signed(one.log_odds), fixed(one.z, 1)]), 2) : null;
  const more = found > pairs.length ? el("p", { class: "muted small" }, `and ${plural(found - pairs.length, "weaker pair")}`) : null;
  return [el("p", {}, result), list && pairs.length > 8 ? folded("All pairs", list, more) : list, method].filter(Boolean);
}
