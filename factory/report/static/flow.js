/** The data flow: stages side by side on wide screens, one below the other on narrow ones. */
function flow(stages) {
  const description = `Data flow. ${stages.map((stage) => `${stage.title}: ${stage.nodes.length
    ? stage.nodes.map((node) => `${node.title} ${count(node.ok)} of ${count(node.rows)}${node.finished ? "" : ", not finished"}`).join(", ")
    : "not built"}`).join(". ")}`;
  return responsive({ class: "panel", id: "flow" }, (box) => (box - 34 >= 860 ? across : down)(stages, box - 34, description));
}

const NODE = 66;

function across(stages, width, description) {
  const gap = 30, each = (width - gap * (stages.length - 1)) / stages.length;
  const tallest = Math.max(1, ...stages.map((stage) => stage.nodes.length));
  const height = 30 + tallest * (NODE + 12);
  const sheet = svg("svg", { width, height, role: "img", "aria-label": description });
  const at = stages.map((stage, column) => stage.nodes.map((_, row) => ({
    x: column * (each + gap), y: 30 + (height - 30 - stage.nodes.length * (NODE + 12)) / 2 + row * (NODE + 12) })));
  stages.forEach((stage, column) => stage.nodes.forEach((node, row) => {
    const end = at[column][row];
    let from = column - 1;
    while (from >= 0 && !stages[from].nodes.length) from -= 1;
    (stages[from]?.nodes ?? []).forEach((before, number) => {
      if (!linked(before.tables, node)) return;
      const start = at[from][number], x = start.x + each, middle = (x + end.x) / 2;
      const [y1, y2] = [start.y + NODE / 2, end.y + NODE / 2];
      sheet.append(svg("path", { class: "edge", d: `M${x} ${y1}C${middle} ${y1} ${middle} ${y2} ${end.x} ${y2}` }));
    });
  }));
  stages.forEach((stage, column) => {
    sheet.append(svg("text", { class: "faint", x: column * (each + gap), y: 14 }, stage.title));
    if (!stage.nodes.length) sheet.append(nothing(column * (each + gap), 30 + (height - 30 - NODE - 12) / 2, each));
    stage.nodes.forEach((node, row) => sheet.append(card(node, at[column][row].x, at[column][row].y, each)));
  });
  return sheet;
}

function down(stages, width, description) {
  const each = (width - 10) / 2;
  const sheet = svg("svg", { width, role: "img", "aria-label": description });
  let y = 0;
  stages.forEach((stage, index) => {
    if (index) {
      sheet.append(svg("path", { class: "edge", d: `M${width / 2} ${y - 4}v12m-5 -6l5 6l5 -6` }));
      y += 10;
    }
    sheet.append(svg("text", { class: "faint", x: 0, y: y + 12 }, stage.title));
    y += 20;
    if (!stage.nodes.length) sheet.append(nothing(0, y, width));
    stage.nodes.forEach((node, number) => {
      const alone = stage.nodes.length === 1;
      sheet.append(card(node, alone ? 0 : (number % 2) * (each + 10), y + Math.floor(number / 2) * (NODE + 8), alone ? width : each));
    });
    y += Math.max(1, Math.ceil(stage.nodes.length / 2)) * (NODE + 8);
  });
  sheet.setAttribute("height", y);
  return sheet;
}

const nothing = (x, y, width) => svg("g", {},
  svg("rect", { class: "node open", x: x + 0.5, y, width: width - 1, height: NODE, rx: 6 }),
  svg("text", { class: "faint", x: x + 9, y: y + NODE / 2 + 4 }, "not built"));

function card(node, x, y, width) {
  const letters = Math.max(4, Math.floor((width - 16) / 6.7)), title = visible(node.title);
  const inner = width - 18, share = node.rows ? node.ok / node.rows : 0;
  const lost = node.rejected ? ` · ${short(node.rejected)} rejected` : "";
  const state = node.finished ? `of ${short(node.rows)}${lost}` : "not finished";
  return svg("g", {},
    svg("title", {}, `${title}: ${count(node.ok)} of ${count(node.rows)} accepted, ${count(node.rejected)} rejected`),
    svg("rect", { class: node.finished ? "node" : "node open", x: x + 0.5, y, width: width - 1, height: NODE, rx: 6 }),
    svg("text", { x: x + 9, y: y + 17 }, title.length > letters ? `${title.slice(0, letters - 1)}…` : title),
    svg("text", { class: "strong", x: x + 9, y: y + 35 }, count(node.ok)),
    svg("text", { class: "faint", x: x + 9, y: y + 50 }, state.length > letters ? state.replace(lost, "") : state),
    svg("rect", { class: node.rejected ? "lost" : "track", x: x + 9, y: y + 56, width: inner, height: 4, rx: 2 }),
    svg("rect", { class: "good", x: x + 9, y: y + 56, width: inner * share, height: 4, rx: 2 }));
}

/** Whether one table is input of the other: the same corpus or candidate, or training and its own model's answers. */
function linked(before, after) {
  return before.some((from) => after.tables.some((to) => {
    const [kind, name] = from.split("/"), [into, other] = to.split("/");
    if (kind === "personas" || into === "profiles") return kind === "personas" && into === "profiles";
    if (kind === "instructions") return name === other;
    if (kind === "assignments") return other.endsWith(`-${name}`);
    if (kind === "evaluation") return name === other;
    if (into === "evaluation") return kind === "checkpoints" && after.trained;
    return true;
  }));
}
