/** Horizontal bars; a row is [label, number]. */
function bars(label, rows, of) {
  const most = Math.max(1, ...rows.map((row) => row[1]));
  const description = `${label}: ${rows.map(([name, number]) => `${visible(name)} ${count(number)}`).join(", ")}`;
  return responsive({}, (width) => {
    const longest = Math.max(...rows.map((row) => visible(row[0]).length));
    const names = Math.min(longest * 6.9 + 12, width * 0.45), numbers = of ? 92 : 56, room = Math.max(20, width - names - numbers - 12);
    const picture = svg("svg", { width, height: rows.length * 23 + 2, role: "img", "aria-label": description });
    rows.forEach(([name, number], index) => {
      const y = index * 23, shown = visible(name), letters = Math.floor(names / 6.6);
      picture.append(
        svg("text", { x: names - 6, y: y + 15, "text-anchor": "end" },
          shown.length > letters ? `${shown.slice(0, letters - 1)}…` : shown, svg("title", {}, shown)),
        svg("rect", { class: "track", x: names, y: y + 4, width: room, height: 15, rx: 2 }),
        svg("rect", { class: "fill", x: names, y: y + 4, width: (room * number) / most, height: 15, rx: 2 }),
        svg("text", { class: "faint", x: names + room + 8, y: y + 15 },
          of ? `${short(number)} · ${percent(number, of)}` : count(number)));
    });
    return picture;
  });
}

const barPanel = (title, rows, of) => el("div", { class: "panel" }, el("h3", { class: "title" }, title),
  rows.length ? bars(title, rows, of) : el("p", { class: "empty" }, "Nothing to count."));

function ticks(low, high, number = 5) {
  const raw = (high - low || Math.abs(high) || 1) / number, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999);
  const values = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) values.push(+at.toPrecision(12));
  return values;
}

const tick = (value) => (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e5) ? Number(value.toPrecision(3)).toExponential() : +value.toPrecision(6));

/** Line chart over steps; `series` are { name, points: [[x, y], ...], dots }. */
function lines(label, series) {
  const points = series.flatMap((one) => one.points).filter((point) => point.every(isNumber));
  if (!points.length) return el("p", { class: "empty" }, `${label}: no data.`);
  let [low, high] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low >= 0 ? Math.max(0, low - margin) : low - margin, high + margin];
  const [first, last] = [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))];
  const description = `${label}. ${series.filter((one) => one.points.length).map((one) =>
    `${one.name}: ${tick(one.points[0][1])} at step ${one.points[0][0]}, ${tick(one.points.at(-1)[1])} at step ${one.points.at(-1)[0]}`).join("; ")}`;
  const picture = responsive({}, (width) => {
    const height = 260, left = 54, bottom = 34, top = 8, right = 12;
    const x = (value) => left + ((value - first) / (last - first || 1)) * (width - left - right);
    const y = (value) => top + (1 - (value - low) / (high - low)) * (height - top - bottom);
    const sheet = svg("svg", { width, height, role: "img", "aria-label": description });
    for (const at of ticks(low, high)) {
      sheet.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: y(at), y2: y(at) }),
        svg("text", { class: "faint", x: left - 6, y: y(at) + 4, "text-anchor": "end" }, tick(at)));
    }
    for (const at of ticks(first, last, width < 500 ? 3 : 6).filter(Number.isInteger)) {
      sheet.append(svg("text", { class: "faint", x: x(at), y: height - 16, "text-anchor": "middle" }, count(at)));
    }
    sheet.append(svg("text", { class: "faint", x: width - right, y: height - 2, "text-anchor": "end" }, "step"));
    series.forEach((one, index) => {
      const color = `t${index % 8}`;
      const valid = one.points.filter((point) => point.every(isNumber));
      sheet.append(svg("polyline", { class: `line series ${color}`, points: valid.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" ") }));
      if (one.dots || valid.length < 30) {
        for (const point of valid) {
          sheet.append(svg("circle", { class: `dot ${color}`, cx: x(point[0]), cy: y(point[1]), r: 3.2 },
            svg("title", {}, `${one.name}, step ${count(point[0])}: ${tick(point[1])}`)));
        }
      }
    });
    return sheet;
  });
  return el("div", { class: "panel" }, el("h3", { class: "title" }, label), series.length > 1 ? legend(series.map((one) => one.name)) : null, picture);
}

/** Means with intervals; `groups` are { name, rows: [{ name, mean, low, high }] }, a row per series. */
function intervals(label, names, groups, [from, to] = [1, 5]) {
  const description = `${label}. ${groups.map((group) => `${group.name}: ${group.rows.map((row) => `${row.name} ${fixed(row.mean)}`).join(", ")}`).join("; ")}`;
  const picture = responsive({}, (width) => {
    const left = Math.min(150, width * 0.34), letters = Math.floor(left / 6.6), right = 16, each = 17, gap = 14;
    const x = (value) => left + ((value - from) / (to - from)) * (width - left - right);
    const height = groups.reduce((sum, group) => sum + group.rows.length * each + gap, 26);
    const sheet = svg("svg", { width, height, role: "img", "aria-label": description });
    for (const at of ticks(from, to)) {
      sheet.append(svg("line", { class: "axis", x1: x(at), x2: x(at), y1: 0, y2: height - 20 }),
        svg("text", { class: "faint", x: x(at), y: height - 5, "text-anchor": "middle" }, String(at)));
    }
    let top = 6;
    for (const group of groups) {
      sheet.append(svg("text", { x: 0, y: top + (group.rows.length * each) / 2 + 4 },
        group.name.length > letters ? `${group.name.slice(0, letters - 1)}…` : group.name, svg("title", {}, group.name)));
      group.rows.forEach((row, index) => {
        const y = top + index * each + each / 2, color = `t${index % 8}`;
        if (isNumber(row.low) && isNumber(row.high)) sheet.append(svg("line", { class: `whisker series ${color}`, x1: x(row.low), x2: x(row.high), y1: y, y2: y }));
        if (isNumber(row.mean)) sheet.append(svg("circle", { class: `dot ${color}`, cx: x(row.mean), cy: y, r: 4.5 },
          svg("title", {}, `${row.name}, ${group.name}: ${fixed(row.mean)} [${fixed(row.low)}, ${fixed(row.high)}]`)));
      });
      top += group.rows.length * each + gap;
    }
    return sheet;
  });
  return el("div", { class: "panel" }, el("h3", { class: "title" }, label), names.length > 1 ? legend(names) : null, picture);
}

/** One difference with its interval, and a line at zero. */
function differencePlot(label, [low, value, high]) {
  const most = Math.max(Math.abs(low), Math.abs(high)) * 1.15 || 1;
  return responsive({}, (width) => {
    const x = (number) => 8 + ((number + most) / (2 * most)) * (width - 16);
    const sheet = svg("svg", { width, height: 46, role: "img", "aria-label": `${label}: ${signed(value)}, 95 % interval ${signed(low)} to ${signed(high)}` });
    sheet.append(svg("line", { class: "axis strong", x1: x(0), x2: x(0), y1: 2, y2: 28 }),
      svg("text", { class: "faint", x: x(0), y: 42, "text-anchor": "middle" }, "0, no change"),
      svg("line", { class: "whisker series t0", x1: x(low), x2: x(high), y1: 15, y2: 15 }),
      svg("circle", { class: "dot t0", cx: x(value), cy: 15, r: 5.5 }));
    if (Math.abs(x(value) - x(0)) > 60) sheet.append(svg("text", { class: "faint", x: x(value), y: 42, "text-anchor": "middle" }, signed(value)));
    return sheet;
  });
}
