const AXES = ["voice", "facts", "answers"];

/** What the judge of curation scored, and dialogues that it kept beside ones that it rejected. */
function showJudged({ settings, judged, failed, without_room: withoutRoom, scores, reasons, kept, rejected }) {
  const { accuracy } = settings;
  const checked = accuracy ? `; right on ${percent(accuracy.value, 1)} [${percent(accuracy.low, 1)}, ${percent(accuracy.high, 1)}] of ${count(accuracy.of)} pairs of a reply in character and a generic one` : "; not checked";
  const levels = ["1", "2", "3", "4", "5"];
  return [
    el("h3", {}, "What the judge kept and rejected"),
    el("p", { class: "muted small" }, `${settings.name} (${settings.model}) scored ${plural(judged, "dialogue")}${checked}. ${count(failed)} without a verdict, ${count(withoutRoom)} without room for a voice, where it does not count.`),
    table("Scores of the judge", ["score", "needed", ...levels, "rejected for it"], AXES.map((axis) => [axis, count(settings.thresholds[axis]),
      ...levels.map((level) => count(scores[axis][level] ?? 0)), count(reasons[axis])]), 1),
    el("div", { class: "grid" }, [["Kept", kept], ["Rejected", rejected]].map(([title, rows]) => el("div", { class: "panel" }, el("h4", {}, title),
      rows.length ? rows.map(judgedCase) : el("p", { class: "empty" }, "None."))),
    ),
  ];
}

const judgedCase = (one) => el("div", { class: "chat" },
  el("div", { class: "tags" }, AXES.map((axis) => tag(`${axis} ${one[axis]}`)), one.has_room ? null : tag("no room for a voice")),
  one.turns.map((turn) => bubble(turn.role === "user" ? "user" : "reply", turn.role === "user" ? "User" : "Character", longText(turn.content))),
  el("p", { class: "muted small text", dir: "auto" }, one.reasoning), el("p", { class: "muted small mono" }, one.id));
