/** The topic map: a point per character, selected by mouse, arrow keys or a topic's button. */
function topicMap({ points, topics }, choose) {
  let chosen = -1, only = null, circles = [];
  const order = points.map((_, index) => index).sort((a, b) => points[a][0] - points[b][0] || a - b);
  const mark = () => circles.forEach((circle, index) => {
    circle.classList.toggle("chosen", index === chosen);
    circle.classList.toggle("dim", only !== null && points[index][2] !== only);
  });
  const select = (index) => { chosen = index; mark(); choose(index); };
  const step = (by) => {
    const allowed = order.filter((index) => only === null || points[index][2] === only);
    const now = allowed.indexOf(chosen);
    select(allowed[now < 0 ? 0 : (now + by + allowed.length) % allowed.length]);
  };
  const box = responsive({ tabindex: "0", role: "group", id: "map", "aria-label":
    "Topic map; the arrow keys go from character to character", onkeydown: (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by) { event.preventDefault(); step(by); }
  } }, (width) => {
    const height = Math.max(260, Math.min(460, width * 0.7)), edge = 10;
    const sheet = svg("svg", { width, height, "aria-hidden": "true" });
    circles = points.map(([x, y, topic], index) => svg("circle", { class: `point t${topic % 8}`, r: points.length > 200 ? 4.5 : 6,
      cx: edge + x * (width - 2 * edge), cy: edge + y * (height - 2 * edge),
      onmouseenter: () => select(index), onclick: () => select(index) }));
    sheet.append(...circles);
    mark();
    return sheet;
  });
  const buttons = topics.map((topic, index) => el("button", { type: "button", class: `t${index % 8}`, "aria-pressed": "false",
    onclick: () => {
      only = only === index ? null : index;
      buttons.forEach((button, number) => button.setAttribute("aria-pressed", String(number === only)));
      mark();
    } }, el("span", { class: "swatch", "aria-hidden": "true" }), `${topic.words.join(", ") || "no words"} (${count(topic.characters)})`));
  return el("div", {}, el("div", { class: "legend", role: "group", "aria-label": "Topics" }, buttons), box);
}
