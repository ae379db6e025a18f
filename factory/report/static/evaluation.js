const judgeName = (judge) => (judge === "all" ? "mean of the judges" : `judge ${judge}`);
const cell = ([mean, std, low, high]) => (isNumber(mean)
  ? [`${fixed(mean)} (${fixed(std).replace(/^0/, "")})`, isNumber(low) ? el("small", {}, ` [${fixed(low)}, ${fixed(high)}]`) : null] : [absent]);
const pValue = (p) => (isNumber(p) ? (p < 0.001 ? "<0.001" : p.toFixed(3)) : absent);
const taskHead = (task) => [task.name, task.short === task.name ? null : el("small", {}, ` (${task.short})`)];

function showEvaluation({ scores, answers, changed }) {
  const body = bodyOf("evaluation");
  if (scores.candidates) showScores(body, scores);
  else body.append(notRun("There are no scores yet.", "evaluate"));
  showChanged(body, changed);
  showAnswers(body, answers);
}

const verdicts = { higher: ["higher", "good"], lower: ["lower", "bad"], no_difference_shown: ["no difference shown"], too_few: ["too few to say"],
  depends_on_unscored: ["depends on the unscored answers", "bad"], blank: ["too many unscored answers", "bad"] };
const signedRange = (one) => (isNumber(one?.difference) ? [signed(one.difference), isNumber(one.low) ? el("small", {}, ` [${signed(one.low)}, ${signed(one.high)}]`) : null] : [absent]);
const MANY = 6;

function showScores(body, scores) {
  const first = Object.keys(scores.candidates[0]?.by ?? {})[0];
  const kind = scores.ranked_by === "expected" ? "expected scores" : "whole scores";
  body.append(el("p", { class: "muted" }, `${scores.benchmark.name}, ${scores.protocol} protocol: ${plural(scores.benchmark.personas, "persona")}, ${plural(scores.benchmark.questions, "question")}${scores.draws > 1 ? `, each answered ${scores.draws} times` : ""}. Scores are from 1 to 5, by the ${judgeName(first)}; ranks and comparisons are by ${kind}.`));
  if (scores.warnings.length) body.append(el("div", { class: "note" }, el("ul", {}, scores.warnings.map((one) => el("li", {}, one)))));
  body.append(el("div", { class: "apart" }, scorePlot(scores, first)));
  body.append(el("div", { class: "apart" }, rankTable(scores, first)));
  if (scores.findable) body.append(el("p", { class: "muted small apart" }, scores.findable));
  showComparisons(body, scores);
  showScoreTables(body, scores, first);
}

/** All tasks of a few candidates, or the PScore of many: colors repeat after eight. */
function scorePlot(scores, first) {
  const row = (one, index, name) => { const [mean, , low, high] = one.by[first].cells[index]; return { name, mean, low, high }; };
  if (scores.candidates.length <= MANY) {
    return intervals("Mean score and 95 % interval", scores.candidates.map((one) => one.name),
      scores.tasks.map((task, index) => ({ name: task.name, rows: scores.candidates.map((one) => row(one, index, one.name)) })));
  }
  const groups = scores.candidates.map((one) => ({ name: one.name, rows: [row(one, scores.tasks.length - 1, "PScore")] }));
  const ends = groups.flatMap(({ rows: [{ mean, low, high }] }) => [mean, low, high]).filter(isNumber);
  const scale = [Math.max(1, Math.floor(Math.min(...ends) * 10 - 0.5) / 10), Math.min(5, Math.ceil(Math.max(...ends) * 10 + 0.5) / 10)];
  return intervals("PScore and 95 % interval", ["PScore"], groups, ends.length ? scale : [1, 5]);
}

function rankTable(scores, first) {
  const rows = scores.candidates.map((one) => {
    const by = one.by[first];
    return [one.rank ? [`${one.rank[0]}`, el("small", {}, ` [${one.rank[1]}, ${one.rank[2]}]`)] : absent, one.name, cell(by.cells.at(-1)),
      by.bounds ? `${fixed(by.bounds[0])} to ${fixed(by.bounds[1])}` : absent, [count(by.personas), by.few ? tag("too few to say") : null, by.blank ? tag("too many unscored", "bad") : by.marked ? tag("incomplete", "bad") : null]];
  });
  return table("Ranks", ["rank", "model", "PScore", "with unscored answers as 1, or 5", "personas"], rows, 2);
}

function showComparisons(body, scores) {
  if (!scores.comparisons.length) return;
  const base = scores.baseline, ofBase = scores.comparisons.filter((one) => [one.a, one.b].includes(base));
  const others = scores.comparisons.filter((one) => !ofBase.includes(one));
  body.append(el("h3", { class: "apart" }, `Compared with ${base}`), comparisonTable(scores, ofBase), folds(
    folded("By task", taskTable(scores, ofBase)),
    others.length ? folded(`The other pairs: ${count(others.length + scores.more_comparisons)}`, comparisonTable(scores, others), taskTable(scores, others),
      scores.more_comparisons ? el("p", { class: "muted small" }, `${count(scores.more_comparisons)} more are in evaluation/scores.json.`) : null) : null,
    folded("How they are tested", el("p", { class: "muted small" }, scores.families))));
}

const comparisonTable = (scores, rows) => table("Comparisons", ["model", "against", "PScore", "p", "verdict", "judges in this direction", "at equal length", "personas"], rows.map((one) => {
  const result = one.results.at(-1), [words, tone] = verdicts[result.verdict] ?? [result.verdict];
  return [one.a, one.b, signedRange(result), pValue(result.p), tag(words, tone), `${one.same_direction} of ${scores.judges.length}`, signedRange(one.length_controlled), count(result.personas)];
}), 2);

const taskTable = (scores, rows) => table("Comparisons by task", ["model", "against", ...scores.tasks.slice(0, -1).map(taskHead)],
  rows.map((one) => [one.a, one.b, ...one.results.slice(0, -1).map((result) => [signedRange(result), ["higher", "lower"].includes(result.verdict) ? tag(...verdicts[result.verdict]) : null])]), 2);

function showScoreTables(body, scores, first) {
  const tasks = scores.tasks.map(taskHead);
  const head = ["model", "given", ...tasks, "personas", "judged", "failed"];
  const row = (one, judge) => [one.name, one.condition, ...one.by[judge].cells.map(cell), count(one.by[judge].personas), count(one.by[judge].judged), [count(one.by[judge].failed), one.by[judge].marked ? tag("incomplete", "bad") : null]];
  const paper = scores.paper.map((one) => [`${one.model} (paper)`, "persona", ...one.cells.map(([mean, std]) => `${fixed(mean)} (${fixed(std).replace(/^0/, "")})`), "", "", ""]);
  const judges = scores.judges.map((judge) => `${judge.name} (${judge.model}, family ${judge.family ?? "unknown"}; ${judge.check ? `right on ${Math.round(100 * (judge.check.right ?? 0))} % of ${judge.check.of} pairs of the judge check` : "not checked by judge-check"}; asked again for ${count(judge.re_asked)} scores)`).join("; ");
  const general = scores.candidates.filter((one) => one.general);
  body.append(folds(
    folded("Scores by task and judge", el("p", { class: "muted small" }, `Judges: ${judges}. `
      + "A cell has the mean over personas, (their standard deviation) and [the 95 % interval of the mean]. The PScore is the mean of the task means. “given” is what the model was given of its role."),
    table("Scores by task", head, [...scores.candidates.map((one) => row(one, first)), ...(scores.comparable ? paper : [])], 2),
    scores.comparable ? el("p", { class: "muted small" }, "Rows with (paper) are OpenCharacter's; their judge is gpt-4o-2024-08-06, and scores of other judges are not comparable.")
    : el("p", { class: "muted small" }, `The paper's rows are left out: ${scores.not_comparable}.`),
    scores.judges.length > 1 ? scores.judges.map((judge) => [el("h4", { class: "apart" }, `Judge ${judge.name}`), table(`Scores by ${judge.name}`, head, scores.candidates.filter((one) => one.by[judge.name]).map((one) => row(one, judge.name)), 2)]) : null),
    general.length ? folded("General ability", table("General ability", ["model", "instructions followed", "95 % interval", "of", "perplexity"], general.map((one) => [
      one.name, percent((one.general.followed ?? 0) * 1000, 1000), `${fixed(100 * one.general.low, 0)} to ${fixed(100 * one.general.high, 0)} %`, count(one.general.of), fixed(one.general.perplexity)])),
    el("ul", {}, scores.general.map((one) => el("li", {}, one)))) : null,
    scores.strata.length ? folded("PScore by stratum of the personas", el("p", { class: "muted small" }, "‡ is too few to say much. Differences between the columns are not tested."),
      scores.strata.map((one) => table(`PScore by ${one.trait}`, [one.trait, ...one.columns], one.rows))) : null,
    folded("Agreement of the judges", scores.agreement.length
    ? [table("Agreement", ["", ...scores.agreement.map(([task]) => task)], [
      ["Krippendorff's alpha: 1 perfect, 0 chance", ...scores.agreement.map(([, one]) => range(one.alpha, one.alpha_low, one.alpha_high))],
      ["candidates in the same order", ...scores.agreement.map(([, one]) => range(one.same_order, one.same_order_low, one.same_order_high))],
      ["of pairs that both judges tell apart", ...scores.agreement.map(([, one]) => count(one.pairs))]])]
    : el("p", { class: "empty" }, "There is only one judge, so agreement cannot be measured.")),
    scores.fork_counts.length ? folded("As the paper's runner counts", el("p", { class: "muted small" }, "Both rows of a model are from the same replies. The paper's runner counts a call of the judge that failed or cannot be read as 0; ours are missing there."),
    table("As the paper's runner counts", ["model", "judge", "counted as", ...tasks, "zeros"], scores.fork_counts, 3)) : null,
    folded("The answers that were judged", table("Answers", ["model", "weights", "asked", "answered", "truncated", "words per answer"],
    scores.candidates.map((one) => [one.name, one.model, count(one.questions), count(one.answered), count(one.truncated), fixed(one.words, 0)]), 2))));
}

const range = (value, low, high) => (isNumber(value) ? [fixed(value), isNumber(low) ? el("small", {}, ` [${fixed(low)}, ${fixed(high)}]`) : null] : [absent]);

/** Each candidate against the baseline, answer by answer. */
function showChanged(body, changed) {
  for (const one of changed) {
    const given = (scores) => Object.entries(scores).map(([judge, score]) => tag(`${judge}: ${score}`));
    const answer = (row) => el("li", { class: "panel case" },
      el("div", { class: "tags" }, tag(signed(row.difference), row.difference > 0 ? "good" : "bad"), tag(row.task)),
      text(row.persona, "p", { class: "text muted small" }),
      el("div", { class: "chat" }, bubble("user", "Question", longText(row.question)),
        bubble("generate", one.a, longText(row.answer_a), el("div", { class: "tags" }, given(row.scores_a))),
        bubble("rewrite", one.b, longText(row.answer_b), el("div", { class: "tags" }, given(row.scores_b)))));
    body.append(folded(`${one.a} and ${one.b}, answer by answer`,
      table("Wins and losses", ["task", "difference", "wins", "losses", "ties"], one.tasks.map((row) => [row.task, signed(row.difference), count(row.wins), count(row.losses), count(row.ties)])),
      one.personas.length ? table("Personas that changed most", ["persona", "difference"], one.personas.map((row) => [row.persona, signed(row.difference)])) : null,
      one.answers.length ? el("ol", { class: "rows" }, one.answers.map(answer)) : null));
  }
}

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
