function showOverview({ flow: stages, steps, totals, reasons, costs, versions, settings }) {
  const body = bodyOf("overview");
  const accepted = (pattern) => steps.filter((step) => pattern.test(step.table)).reduce((sum, step) => sum + (step.ok ?? 0), 0);
  body.append(make("dl", { class: "stats" },
    stat("Characters", count(accepted(/^profiles$/)), "accepted profiles"),
    stat("Dialogues", count(accepted(/^dialogues\//)), "accepted"),
    stat("Curated", count(accepted(/^curated\//)), "training and validation"),
    stat("Tokens written", short(totals.output_tokens), `${count(totals.output_tokens)} by models`),
    stat("Tokens read", short(totals.prompt_tokens), totals.prompt_tokens ? `${percent(totals.cached_tokens, totals.prompt_tokens)} from the cache` : null),
    stat("Time", duration(totals.seconds), "steps side by side counted once"),
    totals.engine_seconds ? stat("Engine time", duration(totals.engine_seconds), "replicas together") : null,
    isNumber(costs.total) ? stat("Cost", `${costs.total.toFixed(2)} ${costs.currency}`, `prices of ${costs.date}${costs.open ? `; ${count(costs.open)} of ${count(costs.rows.length)} parts not priced` : ""}`) : null));
  body.append(make("h3", {}, "The way of the data"), flow(stages));
  body.append(make("h3", {}, "Steps"), table("Steps of the run",
    ["table", "rows in", "accepted", "rejected", "tokens in", "cached", "tokens out", "tokens/s", "rows/s", "time", "state"],
    steps.map((step) => {
      const lost = Object.values(step.rejected).reduce((sum, rows) => sum + rows, 0);
      return [step.table, count(step.rows), count(step.ok), count(lost),
        step.prompt_tokens ? count(step.prompt_tokens) : "", step.prompt_tokens ? percent(step.cached_tokens, step.prompt_tokens) : "",
        step.output_tokens ? count(step.output_tokens) : "", step.output_tokens ? count(step.output_tokens_per_second) : "",
        isNumber(step.rows_per_second) ? short(step.rows_per_second) : "", isNumber(step.seconds) ? duration(step.seconds) : "",
        step.finished ? "finished" : tag("not finished", "bad")];
    })));
  body.append(make("h3", {}, "Rejected, by reason"));
  body.append(reasons.length
    ? make("div", { class: "panel" }, bars("Rejected rows", reasons.slice(0, 20).map((one) => [`${one.reason} · ${one.table}`, one.rows])),
        reasons.length > 20 ? make("p", { class: "muted small" }, `and ${count(reasons.length - 20)} rarer ones`) : null)
    : make("p", { class: "empty" }, "No row was rejected."));
  if (costs.rows) body.append(make("details", {}, make("summary", {}, "Cost of each part"), table("Cost", ["tables", "model", "by", costs.currency],
    costs.rows.map((row) => [make("span", { class: "wrap" }, row.tables.join(", ")), row.model ?? absent, make("span", { class: "wrap" }, [row.by, row.why].filter(Boolean).join(": ")), isNumber(row.cost) ? row.cost.toFixed(4) : tag("not priced")]), 3),
    make("p", { class: "muted small" }, `By the price table of ${costs.date}, which is to be checked: tokens of endpoints without a discount for cached ones, GPUs on demand. The time in which engines load, and that of machines without GPUs, is left out.`)));
  body.append(make("details", {}, make("summary", {}, "Models, prompts and fingerprints"), table("What made each table",
    ["table", "model", "engine", "prompts", "fingerprint", "started", "finished", "commit"],
    steps.filter((step) => step.finished).map((step) => [step.table, [step.model ?? absent, step.revision ? make("small", {}, ` ${step.revision.slice(0, 24)}`) : null],
      step.engine ?? absent, step.prompts.join(", ") || absent, step.fingerprint ?? absent, when(step.started), when(step.ended), step.commit?.slice(0, 10) ?? absent]), 8)));
  body.append(make("details", {}, make("summary", {}, "Versions"), table("Versions", ["library", "version"],
    Object.entries(versions).map(([name, numbers]) => [name, numbers.join(" and ")]), 2)));
  if (settings) body.append(make("details", {}, make("summary", {}, "Settings"),
    make("div", { class: "raw", tabindex: "0", role: "region", "aria-label": "Settings" }, make("pre", {}, settings))));
}

const when = (moment) => (moment ? moment.replace("T", " ").replace("+00:00", " UTC") : absent);

function showNotes(missing, problems) {
  const box = document.getElementById("notes");
  if (missing.length) box.append(make("div", { class: "note" }, make("strong", {}, "Not everything is there yet."),
    make("ul", {}, missing.map((one) => make("li", {}, one.text, " ", one.command ? make("code", {}, one.command) : null)))));
  if (problems.length) box.append(make("div", { class: "note" }, make("strong", {}, "Some of it could not be read."),
    make("ul", {}, problems.map((one) => make("li", {}, one)))));
}
