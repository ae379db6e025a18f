const LIMITED = "Largest shares, in a sample of up to 4,096 rows with the lowest hashes of their ids, and the limits from which on they alarm if they are above them beyond chance.";

const effectiveText = ({ profiles, personas, rows, limit }) => ` The profiles are worth ${fixed(profiles, 1)} different ones and their personas ${fixed(personas, 1)}, of at most ${count(Math.min(rows, 256))}: a ratio of ${fixed(profiles / personas)}${isNumber(limit) ? `, with a limit of ${limit}` : ""} (exponential of the entropy of the eigenvalues of the second moment of their words).`;

/** Variety of the rows of one table, and its alarms. */
function populationOf(figures, title) {
  if (!figures) return null;
  const { alarms, shares, effective, strata } = figures;
  const limit = (value) => (isNumber(value) ? `${+(100 * value).toFixed(2)} %` : "off");
  const tables = [
    shares.length ? [table(title, ["figure", "value", "rows", "share", "limit"],
      shares.map(([figure, value, number, of, most]) => [figure, value === null ? "" : value, `${count(number)} of ${count(of)}`, `${(100 * number / of).toFixed(1)} %`, limit(most)]), 2),
      el("p", { class: "muted small" }, LIMITED, effective?.rows ? effectiveText(effective) : null)] : null,
    strata.length && figures.table.startsWith("curated") ? strataTables(strata, "Dialogues") : null];
  if (!alarms.length) return folded(`${title}: no alarm`, ...tables);
  return el("div", { class: "population" }, el("h3", {}, title),
    el("div", { class: "note", role: "note" }, el("strong", {}, plural(alarms.length, "alarm")),
      el("ul", {}, alarms.map((line) => el("li", { dir: "auto" }, visible(line))))),
    folded("Figures and limits", ...tables));
}
