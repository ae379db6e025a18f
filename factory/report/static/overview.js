function showOverview({ flow: stages, steps, totals, costs, versions, settings }) {
  const body = bodyOf("overview");
  const accepted = (pattern) => steps.filter((step) => pattern.test(step.table)).reduce((sum, step) => sum + (step.ok ?? 0), 0);
  body.append(flow(stages), el("dl", { class: "stats" },
    stat("Characters", count(accepted(/^profiles$/)), "accepted profiles"),
    stat("Dialogues", count(accepted(/^dialogues\//)), "accepted"),
    stat("Curated", count(accepted(/^curated\//)), "training and validation"),
    stat("Tokens written", short(totals.output_tokens), `${count(totals.output_tokens)} by models${totals.thought_tokens ? `, ${percent(totals.thought_tokens, totals.output_tokens)} of them thoughts` : ""}`),
    stat("Tokens read", short(totals.prompt_tokens), totals.prompt_tokens ? `${percent(totals.cached_tokens, totals.prompt_tokens)} from the cache` : null),
    stat("Time", duration(totals.seconds), "parallel steps count once"),
    totals.engine_seconds ? stat("Engine time", duration(totals.engine_seconds), "sum over replicas") : null));
  body.append(folds(folded("Steps: rows, tokens, speed", stepTable(steps)),
    costs.rows ? folded("Cost of each part", table("Cost", ["tables", "model", "by", costs.currency],
    costs.rows.map((row) => [el("span", { class: "wrap" }, row.tables.join(", ")), row.model ?? absent, el("span", { class: "wrap" }, [row.by, row.why].filter(Boolean).join(": ")), isNumber(row.cost) ? row.cost.toFixed(4) : tag("no price")]), 3),
    el("p", { class: "muted small" }, `Tokens of endpoints by the prices of the config, else by list prices; GPUs on demand by the price table of ${costs.date}: check both. Not included: the time to load engines, and machines without GPUs.`)) : null,
    folded("Models, prompts and fingerprints", table("What built each table",
    ["table", "model", "engine", "prompts", "fingerprint", "started", "finished", "commit"],
    steps.filter((step) => step.finished).map((step) => [step.table, [step.model ?? absent, step.revision ? el("small", {}, ` ${step.revision.slice(0, 24)}`) : null],
      step.engine ?? absent, step.prompts.join(", ") || absent, step.fingerprint ?? absent, when(step.started), when(step.ended), step.commit?.slice(0, 10) ?? absent]), 8)),
    folded("Versions of libraries", table("Versions", ["library", "version"],
    Object.entries(versions).map(([name, numbers]) => [name, numbers.join(" and ")]), 2)),
    settings ? folded("Settings",
    el("div", { class: "raw", tabindex: "0", role: "region", "aria-label": "Settings" }, el("pre", {}, settings))) : null));
}

function stepTable(steps) {
  return table("Steps of the run",
    ["table", "rows in", "accepted", "rejected", "tokens in", "cached", "tokens out", "tokens/s", "rows/s", "time", "state"],
    steps.map((step) => {
      const rejected = Object.values(step.rejected).reduce((sum, rows) => sum + rows, 0);
      return [step.table, count(step.rows), count(step.ok), count(rejected),
        step.prompt_tokens ? count(step.prompt_tokens) : "", step.prompt_tokens ? percent(step.cached_tokens, step.prompt_tokens) : "",
        step.output_tokens ? count(step.output_tokens) : "", step.output_tokens ? count(step.output_tokens_per_second) : "",
        isNumber(step.rows_per_second) ? short(step.rows_per_second) : "", isNumber(step.seconds) ? duration(step.seconds) : "",
        step.finished ? "finished" : tag("not finished", "bad")];
    }));
}

const when = (moment) => (moment ? moment.replace("T", " ").replace("+00:00", " UTC") : absent);
