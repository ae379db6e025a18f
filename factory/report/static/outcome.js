/** The key results, first on the page; the first one is shown larger. */
function showOutcome(results) {
  bodyOf("outcome").append(el("div", { class: "results" }, results.map((one, index) =>
    el("div", { class: `result${index ? "" : " first"} ${one.tone}` },
      el("h3", {}, one.title),
      el("p", { class: "value" }, one.value),
      one.interval ? el("div", {}, el("p", { class: "muted small" }, "Difference in PScore, 95 % interval"), differencePlot("Difference in PScore", one.interval)) : null,
      el("p", { class: "detail" }, one.detail),
      one.command ? el("code", {}, one.command) : null))));
}

function showNotes(missing, problems) {
  const box = document.getElementById("notes");
  if (missing.length) box.append(el("div", { class: "note" }, el("strong", {}, "Not everything is built yet."),
    el("ul", {}, missing.map((one) => el("li", {}, one.text, " ", one.command ? el("code", {}, one.command) : null)))));
  if (problems.length) box.append(el("div", { class: "note" }, el("strong", {}, "Some files could not be read completely."),
    el("ul", {}, problems.map((one) => el("li", {}, one)))));
}
