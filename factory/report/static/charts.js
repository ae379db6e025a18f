/** Horizontal bars: [label, number] each. */
function bars(label, rows, of) {
  const most = Math.max(1, ...rows.map((row) => row[1]));
  const told = `${label}: ${rows.map(([name, number]) => `${visible(name)} ${count(number)}`).join(", ")}`;
  return drawn({}, (width) => {
    const longest = Math.max(...rows.map((row) => visible(row[0]).length));
    const names = Math.min(longest * 6.9 + 12, width * 0.45), numbers = of ? 92 : 56, room = Math.max(20, width - names - numbers - 12);
    const picture = draw("svg", { width, height: rows.length * 23 + 2, role: "img", "aria-label": told });
    rows.forEach(([name, number], place) => {
      const y = place * 23, shown = visible(name), letters = Math.floor(names / 6.6);
      picture.append(
        draw("text", { x: names - 6, y: y + 15, "text-anchor": "end" },
          shown.length > letters ? `${shown.slice(0, letters - 1)}…` : shown, draw("title", {}, shown)),
        draw("rect", { class: "track", x: names, y: y + 4, width: room, height: 15, rx: 2 }),
        draw("rect", { class: "fill", x: names, y: y + 4, width: (room * number) / most, height: 15, rx: 2 }),
        draw("text", { class: "faint", x: names + room + 8, y: y + 15 },
          of ? `${short(number)} · ${percent(number, of)}` : count(number)));
    });
    return picture;
  });
}

const barPanel = (title, rows, of) => make("div", { class: "panel" }, make("h3", { class: "title" }, title),
  rows.length ? bars(title, rows, of) : make("p", { class: "empty" }, "Nothing to count."));

function ticks(low, high, many = 5) {
  const raw = (high - low || Math.abs(high) || 1) / many, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) found.push(+at.toPrecision(12));
  return found;
}

const tick = (value) => (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e5) ? Number(value.toPrecision(3)).toExponential() : +value.toPrecision(6));

/** Lines over steps: `series` are { name, points: [[x, y], ...], dots }. */
function lines(label, series) {
  const points = series.flatMap((one) => one.points).filter((point) => point.every(isNumber));
  if (!points.length) return make("p", { class: "empty" }, `${label}: nothing was told.`);
  let [low, high] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low >= 0 ? Math.max(0, low - margin) : low - margin, high + margin];
  const [first, last] = [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))];
  const told = `${label}. ${series.filter((one) => one.points.length).map((one) =>
    `${one.name}: ${tick(one.points[0][1])} at step ${one.points[0][0]}, ${tick(one.points.at(-1)[1])} at step ${one.points.at(-1)[0]}`).join("; ")}`;
  const picture = drawn({}, (width) => {
    const height = 260, left = 54, bottom = 34, top = 8, right = 12;
    const x = (value) => left + ((value - first) / (last - first || 1)) * (width - left - right);
    const y = (value) => top + (1 - (value - low) / (high - low)) * (height - top - bottom);
    const sheet = draw("svg", { width, height, role: "img", "aria-label": told });
    for (const at of ticks(low, high)) {
      sheet.append(draw("line", { class: "axis", x1: left, x2: width - right, y1: y(at), y2: y(at) }),
        draw("text", { class: "faint", x: left - 6, y: y(at) + 4, "text-anchor": "end" }, tick(at)));
    }
    for (const at of ticks(first, last, width < 500 ? 3 : 6).filter(Number.isInteger)) {
      sheet.append(draw("text", { class: "faint", x: x(at), y: height - 16, "text-anchor": "middle" }, count(at)));
    }
    sheet.append(draw("text", { class: "faint", x: width - right, y: height - 2, "text-anchor": "end" }, "step"));
    series.forEach((one, place) => {
      const kind = `t${place % 8}`;
      const there = one.points.filter((point) => point.every(isNumber));
      sheet.append(draw("polyline", { class: `line series ${kind}`, points: there.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" ") }));
      if (one.dots || there.length < 30) {
        for (const point of there) {
          sheet.append(draw("circle", { class: `dot ${kind}`, cx: x(point[0]), cy: y(point[1]), r: 3.2 },
            draw("title", {}, `${one.name}, step ${count(point[0])}: ${tick(point[1])}`)));
        }
      }
    });
    return sheet;
  });
  return make("div", { class: "panel" }, make("h3", { class: "title" }, label), series.length > 1 ? legend(series.map((one) => one.name)) : null, picture);
}

/** Means with intervals from 1 to 5: `groups` are { name, rows: [{ name, mean, low, high }] }, one row a series. */
function intervals(label, names, groups) {
  const told = `${label}. ${groups.map((group) => `${group.name}: ${group.rows.map((row) => `${row.name} ${fixed(row.mean)}`).join(", ")}`).join("; ")}`;
  const picture = drawn({}, (width) => {
    const left = Math.min(64, width * 0.2), right = 16, each = 17, gap = 14;
    const x = (value) => left + ((value - 1) / 4) * (width - left - right);
    const height = groups.reduce((sum, group) => sum + group.rows.length * each + gap, 26);
    const sheet = draw("svg", { width, height, role: "img", "aria-label": told });
    for (const at of [1, 2, 3, 4, 5]) {
      sheet.append(draw("line", { class: "axis", x1: x(at), x2: x(at), y1: 0, y2: height - 20 }),
        draw("text", { class: "faint", x: x(at), y: height - 5, "text-anchor": "middle" }, String(at)));
    }
    let top = 6;
    for (const group of groups) {
      sheet.append(draw("text", { x: 0, y: top + (group.rows.length * each) / 2 + 4 }, group.name));
      group.rows.forEach((row, place) => {
        const y = top + place * each + each / 2, kind = `t${place % 8}`;
        if (isNumber(row.low) && isNumber(row.high)) sheet.append(draw("line", { class: `whisker series ${kind}`, x1: x(row.low), x2: x(row.high), y1: y, y2: y }));
        if (isNumber(row.mean)) sheet.append(draw("circle", { class: `dot ${kind}`, cx: x(row.mean), cy: y, r: 4.5 },
          draw("title", {}, `${row.name}, ${group.name}: ${fixed(row.mean)} [${fixed(row.low)}, ${fixed(row.high)}]`)));
      });
      top += group.rows.length * each + gap;
    }
    return sheet;
  });
  return make("div", { class: "panel" }, make("h3", { class: "title" }, label), legend(names), picture);
}
