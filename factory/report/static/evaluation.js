const judgeName = (judge) => (judge === "all" ? "mean of the judges" : judge);
const cell = ([mean, std, low, high]) => (isNumber(mean)
  ? [`${fixed(mean)} (${fixed(std).replace(/^0/, "")})`, isNumber(low) ? make("small", {}, ` [${fixed(low)}, ${fixed(high)}]`) : null] : [absent]);
const pValue = (p) => (isNumber(p) ? (p < 0.001 ? "<0.001" : p.toFixed(3)) : absent);

function showEvaluation({ scores, answers }) {
  const body = bodyOf("evaluation");
  if (scores.candidates) showScores(body, scores);
  else body.append(make("p", { class: "empty" }, "There are no scores yet."));
  showAnswers(body, answers);
}

function showScores(body, scores) {
  const short = scores.tasks.map((task) => task.short), first = Object.keys(scores.candidates[0]?.by ?? {})[0];
  body.append(make("p", { class: "muted" }, `${scores.benchmark.name}, ${scores.protocol} protocol: ${count(scores.benchmark.personas)} personas, ${count(scores.benchmark.questions)} questions. `
    + `Judges: ${scores.judges.map((judge) => `${judge.name} (${judge.model}, family ${judge.family ?? "unknown"})`).join("; ")}. `
    + "A cell is the mean over personas (their standard deviation) and the 95 % interval of the mean. A PScore is of the personas that have a score in all tasks; their number is beside it."));
  if (scores.warnings.length) body.append(make("div", { class: "note" }, make("ul", {}, scores.warnings.map((one) => make("li", {}, one)))));
  const names = scores.candidates.map((one) => one.name);
  body.append(make("h3", {}, `Scores by the ${judgeName(first) === first ? `judge ${first}` : judgeName(first)}`));
  body.append(intervals("Mean score and 95 % interval", names, scores.tasks.map((task, place) => ({ name: task.short,
    rows: scores.candidates.map((one) => { const [mean, , low, high] = one.by[first].cells[place]; return { name: one.name, mean, low, high }; }) }))));
  const head = ["model", "told", ...short, "personas", "judged", "failed"];
  const row = (one, judge) => [one.name, one.told, ...one.by[judge].cells.map(cell), count(one.by[judge].personas), count(one.by[judge].judged), [count(one.by[judge].failed), one.by[judge].marked ? tag("incomplete", "bad") : null]];
  const paper = scores.paper.map((one) => [`${one.model} (paper)`, "persona", ...one.cells.map(([mean, std]) => `${fixed(mean)} (${fixed(std).replace(/^0/, "")})`), "", "", ""]);
  body.append(make("h3", {}, "By task"), table("Scores by task", head, [...scores.candidates.map((one) => row(one, first)), ...(scores.comparable ? paper : [])], 2));
  body.append(scores.comparable
    ? make("p", { class: "muted small" }, "Rows marked (paper) are OpenCharacter's; their judge is gpt-4o-2024-08-06, and numbers of other judges do not compare with them.")
    : make("details", {}, make("summary", {}, "The paper's scores, which do not compare: they are of PersonaGym, by gpt-4o-2024-08-06"), table("The paper's scores", head.slice(0, -3), paper.map((one) => one.slice(0, -3)), 2)));
  body.append(make("details", {}, make("summary", {}, "The answers that were judged"), table("Answers", ["model", "weights", "questions", "answered", "cut at the limit", "words an answer"],
    scores.candidates.map((one) => [one.name, one.model, count(one.questions), count(one.answered), count(one.truncated), fixed(one.words, 0)]), 2)));
  body.append(make("h3", {}, "By judge"));
  for (const judge of scores.judges) body.append(make("h4", { class: "apart" }, judge.name), table(`Scores by ${judge.name}`, head, scores.candidates.filter((one) => one.by[judge.name]).map((one) => row(one, judge.name)), 2));
  body.append(make("h3", {}, "Agreement of the judges"), scores.agreement.length
    ? table("Krippendorff's ordinal alpha", ["Krippendorff's alpha", ...scores.agreement.map(([task]) => task)], [["1 perfect, 0 chance", ...scores.agreement.map(([, alpha]) => fixed(alpha))]])
    : make("p", { class: "empty" }, "There is one judge, so nothing tells how far another would agree."));
  for (const one of scores.comparisons.filter((each) => each.judge === first || each.judge === "all")) {
    body.append(make("h3", {}, `${one.a} against ${one.b}, by the ${judgeName(one.judge)}`), table(`${one.a} against ${one.b}`,
      ["score", "difference", "95 % interval", "effect d_z", "p", "Holm p", "personas", "significant"], one.results.map((result) => [
        scores.tasks.find((task) => task.name === result.task)?.short ?? result.task, signed(result.difference), `${signed(result.low)} to ${signed(result.high)}`,
        signed(result.effect), pValue(result.p), pValue(result.p_holm), count(result.personas), result.significant ? tag("yes", "good") : "no"])));
  }
  const general = scores.candidates.filter((one) => one.general);
  if (general.length) body.append(make("h3", {}, "General ability"), table("General ability", ["model", "instructions followed", "95 % interval", "of", "perplexity"], general.map((one) => [
    one.name, percent((one.general.followed ?? 0) * 1000, 1000), `${fixed(100 * one.general.low, 0)} to ${fixed(100 * one.general.high, 0)} %`, count(one.general.of), fixed(one.general.perplexity)])));
}

function showAnswers(body, answers) {
  const rows = answers.flatMap((one) => one.answers.map((answer) => ({ candidate: one.candidate, ...answer })));
  const counted = answers.flatMap((one) => Object.entries(one.counts).map(([judge, numbers]) => [one.candidate, judge, ...numbers.map(count)]));
  if (counted.length) body.append(make("h3", {}, "How often each score was given"), table("How often each score was given", ["model", "judge", "1", "2", "3", "4", "5"], counted, 2));
  if (!rows.length) return;
  body.append(make("h3", {}, "Best and worst answers"), browser({
    id: "answers", label: "Best and worst answers", rows, noun: "answers",
    filters: [{ id: "candidate", label: "Model", of: (row) => row.candidate }, { id: "which", label: "Best or worst", of: (row) => row.which }, { id: "task", label: "Task", of: (row) => row.task }],
    words: (row) => [row.persona, row.question, row.answer, ...row.judgments.map((one) => one.reasoning)].join(" "),
    show: (row) => make("li", { class: "panel" },
      make("div", { class: "tags" }, tag(row.which, row.which === "best" ? "good" : "bad"), tag(row.candidate), tag(row.task), row.judgments.map((one) => tag(`${one.judge}: ${one.score ?? "failed"}`))),
      text(row.persona, "p", { class: "text muted" }), make("div", { class: "user" }, make("h4", {}, "Question"), text(row.question)), text(row.answer),
      row.judgments.map((one) => make("div", { class: "verdict" }, make("h4", {}, `${one.judge}: ${one.score ?? "no score"}`), text(one.reasoning || "(no reasons)", "p", { class: "text small" })))),
  }));
}
