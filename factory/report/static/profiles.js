const ITEMS = [["name", "Name"], ["age", "Age"], ["gender", "Gender"], ["race", "Race"], ["birth_place", "Birth place"],
  ["appearance", "Appearance"], ["experience", "Experience"], ["personality", "Personality"], ["language", "Language"], ["origin", "Origin"]];

/** The items of a character's profile. */
const profileItems = (character) => el("dl", { class: "items" }, ITEMS.filter(([key]) => character[key]).map(([key, label]) =>
  [el("dt", {}, label), el("dd", { dir: "auto" }, character[key])]));

function showProfiles({ sample, distributions, accepted, given, strata, words, map, population }, characters) {
  const body = bodyOf("profiles");
  if (!accepted && !characters.length) {
    body.append(notRun("There are no profiles yet.", "synthesize"));
    return;
  }
  body.append(el("p", { class: "muted" }, `${plural(accepted, "accepted profile")}${given ? ` (${count(given)} given, ${count(accepted - given)} generated)` : ""}; bars count all of them. Words and similar pairs are of ${sampleText(sample)}.`));
  const panels = distributions.map((one) => barPanel(one.title, one.bars, accepted));
  panels.push(barPanel("Words of persona and experience (characters that have them)", words.slice(0, 14), characters.length));
  body.append(el("div", { class: "grid" }, panels.slice(0, 3)),
    folds(folded("Birth place, language, length and words", el("div", { class: "grid" }, panels.slice(3))),
      strata.length ? strataTables(strata) : null,
      map.pairs?.length ? similarPairs(map.pairs, characters) : null));
  if (population.profiles) body.append(populationOf(population.profiles, "Variety of the characters"));
  if (map.points?.length) showMap(body, map, characters);
}

const strataTables = (strata, rowsOf = "Profiles") => folded("Accepted and rejected by stratum", strata.map(({ name, rows }) =>
  table(`${rowsOf} by ${name}`, [name, "accepted", "rejected", "share rejected"],
    rows.map(([value, ok, rejected]) => [value, count(ok), count(rejected), percent(rejected, ok + rejected)]))));

function similarPairs(pairs, characters) {
  return folded(`Most similar characters: ${plural(pairs.length, "pair")}`, el("ol", { class: "pairs" }, pairs.map(([a, b, similarity]) =>
    el("li", { class: "panel" }, tag(`similarity ${similarity.toFixed(2)}`), [a, b].map((index) =>
      text([`${characters[index].name ?? absent}: ${characters[index].persona ?? absent}`]))))));
}

function showMap(body, map, characters) {
  const panel = el("div", { class: "panel", "aria-live": "polite", id: "chosen" },
    el("p", { class: "muted" }, "Point at a character, or focus the map and use the arrow keys."));
  const choose = (index) => panel.replaceChildren(text(characters[index].persona ?? absent), profileItems(characters[index]));
  body.append(el("h3", {}, "Topic map"), el("p", { class: "muted small" },
    "Characters whose personas and profiles use similar words are near each other (TF-IDF, SVD, t-SNE; colors: k-means)."),
    el("div", { class: "map" }, el("div", { class: "panel" }, topicMap(map, choose)), panel));
}

const sampleText = (sample) => sample.characters === sample.of_characters
  ? `all ${count(sample.characters)} characters`
  : `a sample of ${count(sample.characters)} of ${count(sample.of_characters)} characters (by a hash of their ids, those with dialogues first)`;
