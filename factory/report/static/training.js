function showTraining(training) {
  const body = bodyOf("training");
  if (!training.curve && !training.steps) {
    body.append(notRun("Nothing is trained yet.", "train"));
    return;
  }
  const { curve, validations, gain, steps, packed } = training;
  const by = training.trained_by ?? {}, train = packed["packed/train"] ?? {};
  body.append(el("dl", { class: "stats" },
    stat("Steps", steps[1] ? `${count(steps[0])} of ${count(steps[1])}` : count(steps[0]), training.epochs ? `${training.epochs} epochs` : "so far"),
    stat("Tokens trained on", short(training.tokens), count(training.tokens)),
    train.learned_tokens ? stat("Learned tokens per epoch", short(train.learned_tokens), `${percent(train.learned_tokens, train.tokens)} of all; the others are context`) : null,
    train.fill ? stat("Sequences filled", percent(train.fill * 1000, 1000), `${count(train.sequences)} sequences`) : null,
    isNumber(train.segments) && train.segments !== train.ok ? stat("Segments", short(train.segments), `of ${plural(train.ok, "dialogue")}: the chat template shows past turns in another way`) : null,
    by.parameters ? stat("Parameters", short(by.parameters), `${by.engine ?? ""} · ZeRO ${by.zero_stage ?? absent} · ${count(by.workers)} workers`) : null,
    training.skipped_steps ? stat("Skipped steps", count(training.skipped_steps), "their gradient was not finite") : null,
    isNumber(training.train_loss) ? stat("Last training loss", fixed(training.train_loss, 3), "nats per token") : null));
  if (gain && isNumber(gain.before)) body.append(table("Validation loss before and after training", ["validation loss", "before", "after", "change", "95 % interval", "dialogues", "verdict"],
    [["nats per token", fixed(gain.before, 4), fixed(gain.after, 4), signed(gain.change, 4), `${signed(gain.low, 4)} to ${signed(gain.high, 4)}`, count(gain.dialogues),
      gain.significant ? tag("significant gain", "good") : tag("no significant gain")]]));
  body.append(el("div", { class: "grid apart" },
    lines("Loss, nats per token", [{ name: "training", points: curve.map((p) => [p[0], p[1]]) }, { name: "validation", points: validations.map((p) => [p[0], p[1]]), dots: true }]),
    lines("Learning rate", [{ name: "learning rate", points: curve.map((p) => [p[0], p[2]]) }]),
    lines("Speed, tokens per second", [{ name: "tokens per second", points: curve.map((p) => [p[0], p[3]]) }])));
  showCheckpointScores(body, training.checkpoint_scores ?? []);
  if (training.steps_per_point > 1) body.append(el("p", { class: "muted small" }, `Each point is the mean of ${count(training.steps_per_point)} steps.`));
  const { steps: shown, rows: samples } = training.samples ?? {};
  if (samples) body.append(table("What held-out characters say in training", ["message", ...shown.map((step) => step ? `after step ${count(step)}` : "before training")],
    samples.map(([dialogue, message, replies]) => [el("span", { title: dialogue }, message), ...replies.map((reply) => reply ?? absent)]), shown.length + 1));
  if (validations.length) body.append(folded("Validations in numbers", table("Validations", ["step", "loss", "dialogues"],
    validations.map(([step, loss, dialogues]) => [count(step), fixed(loss, 4), count(dialogues)]), 0)));
}

/** Rows are [step, validation loss, mean, low, high]. */
function showCheckpointScores(body, rows) {
  if (!rows.length) return;
  const points = (column) => rows.map((row) => [row[0], row[column]]).filter((point) => point.every(isNumber));
  body.append(folded("Role-play scores of the checkpoints", el("div", { class: "grid apart" },
    lines("PScore of the checkpoints, with its 95 % interval", [{ name: "PScore", points: points(2) }, { name: "low", points: points(3) }, { name: "high", points: points(4) }]),
    lines("Validation loss of the checkpoints, nats per token", [{ name: "validation", points: points(1), dots: true }])),
    table("Role-play scores of the checkpoints, by the light benchmark", ["step", "validation loss", "PScore", "95 % interval"],
    rows.map(([step, loss, mean, low, high]) => [count(step), isNumber(loss) ? fixed(loss, 4) : absent, isNumber(mean) ? fixed(mean, 2) : absent, isNumber(low) ? `${fixed(low, 2)} to ${fixed(high, 2)}` : absent]))));
}
