const ITEMS = [["name", "Name"], ["age", "Age"], ["gender", "Gender"], ["race", "Race"], ["birth_place", "Birth place"],
  ["appearance", "Appearance"], ["experience", "Experience"], ["personality", "Personality"], ["language", "Language"]];

/** What is known of a character: the persona, then the items of its profile. */
function profile(character) {
  return make("div", {}, text(character.persona ?? absent),
    make("dl", { class: "items" }, ITEMS.filter(([key]) => character[key]).map(([key, label]) =>
      [make("dt", {}, label), make("dd", { dir: "auto" }, character[key])])));
}

function showProfiles({ sample, distributions, accepted, words, map }, characters) {
  const body = bodyOf("profiles");
  if (!accepted && !characters.length) {
    body.append(make("p", { class: "empty" }, "There are no profiles to show yet."));
    return;
  }
  body.append(make("p", { class: "muted" }, `${count(accepted)} accepted profiles; bars count all of them. Words, map and pairs are of ${saidSample(sample)}. A profile has no item for the occupation: the words of persona and experience tell of it.`));
  body.append(make("div", { class: "grid" }, distributions.map((one) => barPanel(one.title, one.bars, accepted)),
    barPanel("Words of persona and experience (characters with them)", words.slice(0, 14), characters.length)));
  if (!map.points) return;
  const panel = make("div", { class: "panel", "aria-live": "polite", id: "chosen" },
    make("p", { class: "muted" }, "Point at a character, or focus the map and use the arrow keys."));
  body.append(make("h3", {}, "Map of topics"), make("p", { class: "muted small" },
    "Characters whose personas and profiles use like words stand close (TF-IDF, SVD, t-SNE; colours: k-means)."),
    make("div", { class: "map" }, make("div", { class: "panel" }, topicMap(map, (place) => panel.replaceChildren(profile(characters[place])))), panel));
  if (!map.pairs.length) return;
  body.append(make("h3", {}, "Most similar pairs"), make("ol", { class: "pairs" }, map.pairs.map(([one, two, similar]) =>
    make("li", { class: "panel" }, tag(`similarity ${similar.toFixed(2)}`), [one, two].map((place) =>
      text([`${characters[place].name ?? absent}: ${characters[place].persona ?? absent}`]))))));
}

const saidSample = (sample) => sample.characters === sample.of_characters
  ? `all ${count(sample.characters)} characters`
  : `a sample of ${count(sample.characters)} of ${count(sample.of_characters)} characters (by a hash of their ids, those that speak first)`;
