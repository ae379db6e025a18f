/** The map of topics: a point a character; the mouse, the arrow keys or a topic's button choose. */
function topicMap({ points, topics }, choose) {
  let chosen = -1, only = null, circles = [];
  const order = points.map((_, place) => place).sort((a, b) => points[a][0] - points[b][0] || a - b);
  const mark = () => circles.forEach((circle, place) => {
    circle.classList.toggle("chosen", place === chosen);
    circle.classList.toggle("dim", only !== null && points[place][2] !== only);
  });
  const take = (place) => { chosen = place; mark(); choose(place); };
  const step = (by) => {
    const allowed = order.filter((place) => only === null || points[place][2] === only);
    const now = allowed.indexOf(chosen);
    take(allowed[now < 0 ? 0 : (now + by + allowed.length) % allowed.length]);
  };
  const box = drawn({ tabindex: "0", role: "group", id: "map", "aria-label":
    "Map of topics; the arrow keys go from character to character", onkeydown: (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by) { event.preventDefault(); step(by); }
  } }, (width) => {
    const height = Math.max(260, Math.min(460, width * 0.7)), edge = 10;
    const sheet = draw("svg", { width, height, "aria-hidden": "true" });
    circles = points.map(([x, y, topic], place) => draw("circle", { class: `point t${topic % 8}`, r: points.length > 200 ? 4.5 : 6,
      cx: edge + x * (width - 2 * edge), cy: edge + y * (height - 2 * edge),
      onmouseenter: () => take(place), onclick: () => take(place) }));
    sheet.append(...circles);
    mark();
    return sheet;
  });
  const buttons = topics.map((topic, place) => make("button", { type: "button", class: `t${place % 8}`, "aria-pressed": "false",
    onclick: () => {
      only = only === place ? null : place;
      buttons.forEach((button, number) => button.setAttribute("aria-pressed", String(number === only)));
      mark();
    } }, make("span", { class: "swatch", "aria-hidden": "true" }), `${topic.words.join(", ") || "no words"} (${count(topic.characters)})`));
  return make("div", {}, make("div", { class: "legend", role: "group", "aria-label": "Topics" }, buttons), box);
}
