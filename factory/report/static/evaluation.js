const judgeName = (judge) => (judge === "all" ? "mean of the judges" : `judge ${judge}`);
const cell = ([mean, std, low, high]) => (isNumber(mean)
  ? [`${fixed(mean)} (${fixed(std).replace(/^0/, "")})`, isNumber(low) ? el("small", {}, ` [${fixed(low)}, ${fixed(high)}]`) : null] : [absent]);
const pValue = (p) => (isNumber(p) ? (p < 0.001 ? "<0.001" : p.toFixed(3)) : absent);
const taskHead = (task) => [task.name, task.short === task.name ? null : el("small", {}, ` (${task.short})`)];

function showEvaluation({ scores, answers }) {
  const body = bodyOf("evaluation");
  if (scores.candidates) showScores(body, scores);
  else body.append(notRun("There are no scores yet.", "evaluate"));
  showAnswers(body, answers);
}

function showScores(body, scores) {
  const first = Object.keys(scores.candidates[0]?.by ?? {})[0];
  body.append(el("p", { class: "muted" }, `${scores.benchmark.name}, ${scores.protocol} protocol: ${plural(scores.benchmark.personas, "persona")}, ${plural(scores.benchmark.questions, "question")}. Scores are from 1 to 5, by the ${judgeName(first)}.`));
  if (scores.warnings.length) body.append(el("div", { class: "note" }, el("ul", {}, scores.warnings.map((one) => el("li", {}, one)))));
  const names = scores.candidates.map((one) => one.name);
  body.append(el("div", { class: "apart" }, intervals("Mean score and 95 % interval", names, scores.tasks.map((task, index) => ({ name: task.name,
    rows: scores.candidates.map((one) => { const [mean, , low, high] = one.by[first].cells[index]; return { name: one.name, mean, low, high }; }) })))));
  showScoreTables(body, scores, first);
}

function showScoreTables(body, scores, first) {
  const tasks = scores.tasks.map(taskHead);
  const head = ["model", "given", ...tasks, "personas", "judged", "failed"];
  const row = (one, judge) => [one.name, one.condition, ...one.by[judge].cells.map(cell), count(one.by[judge].personas), count(one.by[judge].judged), [count(one.by[judge].failed), one.by[judge].marked ? tag("incomplete", "bad") : null]];
  const paper = scores.paper.map((one) => [`${one.model} (paper)`, "persona", ...one.cells.map(([mean, std]) => `${fixed(mean)} (${fixed(std).replace(/^0/, "")})`), "", "", ""]);
  const judges = scores.judges.map((judge) => `${judge.name} (${judge.model}, family ${judge.family ?? "unknown"})`).join("; ");
  const general = scores.candidates.filter((one) => one.general);
  const compared = scores.comparisons.filter((one) => one.judge === first);
  body.append(folds(compared.map((one) => folded(`${one.a} compared with ${one.b}`, comparisonTable(scores, one))),
    folded("Scores by task and judge", el("p", { class: "muted small" }, `Judges: ${judges}. `
      + "A cell has the mean over personas, (their standard deviation) and [the 95 % interval of the mean]. The PScore is over the personas with a score in all tasks. “given” is what the model was given of its role."),
    table("Scores by task", head, [...scores.candidates.map((one) => row(one, first)), ...(scores.comparable ? paper : [])], 2),
    scores.comparable ? el("p", { class: "muted small" }, "Rows with (paper) are OpenCharacter's; their judge is gpt-4o-2024-08-06, and scores of other judges are not comparable.") : null,
    scores.judges.length > 1 ? scores.judges.map((judge) => [el("h4", { class: "apart" }, `Judge ${judge.name}`), table(`Scores by ${judge.name}`, head, scores.candidates.filter((one) => one.by[judge.name]).map((one) => row(one, judge.name)), 2)]) : null),
    general.length ? folded("General ability", table("General ability", ["model", "instructions followed", "95 % interval", "of", "perplexity"], general.map((one) => [
      one.name, percent((one.general.followed ?? 0) * 1000, 1000), `${fixed(100 * one.general.low, 0)} to ${fixed(100 * one.general.high, 0)} %`, count(one.general.of), fixed(one.general.perplexity)]))) : null,
    folded("Agreement of the judges", scores.agreement.length
    ? table("Krippendorff's ordinal alpha", ["Krippendorff's alpha", ...scores.agreement.map(([task]) => task)], [["1 perfect, 0 chance", ...scores.agreement.map(([, alpha]) => fixed(alpha))]])
    : el("p", { class: "empty" }, "There is only one judge, so agreement cannot be measured.")),
    scores.comparable ? null : folded("The paper's scores, which are not comparable: on PersonaGym, by gpt-4o-2024-08-06", table("The paper's scores", head.slice(0, -3), paper.map((one) => one.slice(0, -3)), 2)),
    folded("The answers that were judged", table("Answers", ["model", "weights", "questions", "answered", "truncated", "words per answer"],
    scores.candidates.map((one) => [one.name, one.model, count(one.questions), count(one.answered), count(one.truncated), fixed(one.words, 0)]), 2))));
}

const comparisonTable = (scores, one) => table(`${one.a} compared with ${one.b}`,
  ["score", "difference", "95 % interval", "effect d_z", "p", "Holm p", "personas", "significant"], one.results.map((result) => {
    const task = scores.tasks.find((each) => each.name === result.task);
    return [task ? taskHead(task) : result.task, signed(result.difference), `${signed(result.low)} to ${signed(result.high)}`,
      signed(result.effect), pValue(result.p), pValue(result.p_holm), count(result.personas), result.significant ? tag("yes", "good") : "no"];
  }));

function showAnswers(body, answers) {
  const rows = answers.flatMap((one) => one.answers.map((answer) => ({ candidate: one.candidate, ...answer })));
  const counted = answers.flatMap((one) => Object.entries(one.counts).map(([judge, numbers]) => [one.candidate, judge, ...numbers.map(count)]));
  if (counted.length) body.append(folded("Distribution of the scores", table("Distribution of the scores", ["model", "judge", "1", "2", "3", "4", "5"], counted, 2)));
  if (!rows.length) return;
  body.append(folded(`Best and worst answers with the judges' reasons: ${count(rows.length)}`, browser({
    id: "answers", label: "Best and worst answers", rows, noun: "answers", pageSize: 5,
    filters: [{ id: "candidate", label: "Model", of: (row) => row.candidate }, { id: "which", label: "Best or worst", of: (row) => row.which }, { id: "task", label: "Task", of: (row) => row.task }],
    words: (row) => [row.persona, row.question, row.answer, ...row.judgments.map((one) => one.reasoning)].join(" "),
    show: (row) => el("li", { class: "panel case" },
      el("div", { class: "tags" }, tag(row.which, row.which === "best" ? "good" : "bad"), tag(row.candidate), tag(row.task), row.judgments.map((one) => tag(`${one.judge}: ${one.score ?? "failed"}`))),
      text(row.persona, "p", { class: "text muted small" }),
      el("div", { class: "chat" }, bubble("user", "Question", longText(row.question)), bubble("generate", row.candidate, longText(row.answer), thoughts(row.thoughts))),
      row.judgments.map((one) => el("div", { class: "verdict" }, el("h4", {}, `${one.judge}: ${one.score ?? "no score"}`), text(one.reasoning || "(no reasons)", "p", { class: "text small" })))),
  })));
}
