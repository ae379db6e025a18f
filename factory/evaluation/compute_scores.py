"""Judgments to scores: all tables of an evaluation to `scores.json` and `leaderboard.md`.

The `ScoreArrays` live in one Ray task, some bytes per judgment; the driver gets the finished document.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import ray

from factory.config import RunConfig
from factory.evaluation.example_tables import count_examples
from factory.evaluation.general_ability.general_scores import compare_general, summarize_general
from factory.evaluation.general_ability.general_steps import read_results
from factory.evaluation.parity.fork_scores import fork_counts
from factory.evaluation.parity.paper_rows import why_no_paper_rows
from factory.evaluation.score_store import append_scores, write_leaderboard
from factory.evaluation.scoring import scores_schema, statistics
from factory.evaluation.scoring.leaderboard import leaderboard
from factory.evaluation.scoring.model_families import find_family, self_preference_warnings
from factory.evaluation.scoring.score_arrays import (
    TASK_NAMES,
    ScoreArrays,
    mean_over_judges,
    paired_task_means,
    persona_task_means,
)
from factory.evaluation.scoring.score_summary import score_grid, score_notes
from factory.personagym import Benchmark
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, reraise_own_errors
from factory.storage import file_io
from factory.storage.rows import Row
from factory.storage.tables import Table

LEADERBOARD = "evaluation/leaderboard.md"


def write_scores(config: RunConfig, benchmark: Benchmark, progress: Progress) -> None:
    """Write `scores.json` and `leaderboard.md`, and show them."""
    with reraise_own_errors():
        scores = scores_schema.Scores.model_validate(ray.get(_compute.remote(config, benchmark)))
    page = file_io.join(config.output, LEADERBOARD)
    document = scores.model_dump_json(indent=2) + "\n"
    file_io.write_bytes(page, leaderboard(scores).encode())
    file_io.write_bytes(file_io.join(config.output, layout.SCORES), document.encode())
    if store := config.evaluation.store:
        append_scores(store, config.output, document.encode())
        progress.print(f"Scores of all runs: {write_leaderboard(store)}")
    progress.show(score_grid(scores))
    for note in score_notes(scores):
        progress.print(note)
    progress.print(f"Scores: {page}")


@ray.remote(num_cpus=IO_TASK_CPUS)
def _compute(config: RunConfig, benchmark: Benchmark) -> dict[str, Any]:
    return build_scores(config, benchmark, read_score_arrays(config), read_results(config)).model_dump()


def read_score_arrays(config: RunConfig) -> ScoreArrays:
    """Read the tables, shard by shard."""
    output = config.output
    candidates = [candidate.name for candidate in config.evaluation.candidates]
    judges = [judge.name for judge in config.evaluation.judges]
    questions, personas = layout.BENCHMARK_QUESTIONS.table(output), dict[str, int]()
    parts: list[list[np.ndarray]] = []
    truncated = np.zeros(len(candidates), np.int64)
    for shard in questions.shards():
        columns = questions.read(shard, ["question_id", "persona_id", "task"]).to_pydict()
        index = {question: number for number, question in enumerate(columns["question_id"])}
        owners = [personas.setdefault(persona, len(personas)) for persona in columns["persona_id"]]
        words = np.full((len(candidates), len(index)), np.nan, np.float32)
        scores = np.full((len(candidates), len(judges), len(index)), np.nan, np.float32)
        expected = scores.copy()
        for c, candidate in enumerate(candidates):
            answers = layout.ANSWERS.table(output, candidate=candidate)
            truncated[c] += _read_answers(answers, shard, index, words[c])
            for j, judge in enumerate(judges):
                judgments = layout.JUDGMENTS.table(output, candidate=candidate, judge=judge)
                _read_judgments(judgments, shard, index, scores[c, j], expected[c, j])
        tasks = np.array([TASK_NAMES.index(name) for name in columns["task"]], np.int8)
        parts.append([np.array(owners, np.int32), tasks, words, scores, expected])
    persona, task, words, scores, expected = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    return ScoreArrays(persona, task, len(personas), words, truncated, scores, expected)


def _read_answers(table: Table, shard: str, index: Mapping[str, int], words: np.ndarray) -> int:
    """Fill in the words of each answer, and return how many answers were truncated."""
    rows = table.read(shard, ["question_id", "status", "answer", "truncated"]).to_pylist()
    accepted = [row for row in rows if row["status"] == "ok"]
    for row in accepted:
        words[index[row["question_id"]]] = len(row["answer"].split())
    return sum(row["truncated"] for row in accepted)


def _read_judgments(
    table: Table, shard: str, index: Mapping[str, int], scores: np.ndarray, expected: np.ndarray
) -> None:
    for row in table.read(shard, ["question_id", "status", "score", "expected_score"]).to_pylist():
        if row["status"] == "ok":
            scores[index[row["question_id"]]] = row["score"]
            if row["expected_score"] is not None:
                expected[index[row["question_id"]]] = row["expected_score"]


def build_scores(
    config: RunConfig, benchmark: Benchmark, arrays: ScoreArrays, general: Sequence[Sequence[Row]]
) -> scores_schema.Scores:
    """Build the document; `general` holds the results of each candidate, or nothing."""
    evaluation, because = config.evaluation, why_no_paper_rows(config, benchmark)
    candidates, judges = evaluation.candidates, evaluation.judges
    scored = [_candidate_scores(config, arrays, number) for number in range(len(candidates))]
    if general:
        abilities = map(summarize_general, general)
        pairs = zip(scored, abilities, strict=True)
        scored = [scores.model_copy(update={"general": ability}) for scores, ability in pairs]
    return scores_schema.Scores(
        protocol=evaluation.protocol,
        judge_protocol=evaluation.parity or "structured",
        benchmark=scores_schema.ScoredBenchmark(
            folder=benchmark.folder,
            name=benchmark.name,
            digest=(layout.BENCHMARK_QUESTIONS.table(config.output).inputs() or {})["benchmark"],
            personas=arrays.personas,
            questions=len(arrays.task),
            examples=count_examples(config, benchmark),
            frozen=benchmark.frozen and benchmark.frozen.whole_digest,
        ),
        tasks=TASK_NAMES,
        candidates=scored,
        judges=[
            scores_schema.ScoringJudge(
                name=judge.name, model=judge.model, kind=judge.kind, family=find_family(judge.model)
            )
            for judge in judges
        ],
        agreement=_agreement(arrays),
        comparisons=[
            comparison
            for b, a in itertools.combinations(range(len(candidates)), 2)
            for comparison in _comparisons(config, arrays, a, b)
        ],
        general_changes=[
            compare_general(candidates[a].name, candidates[b].name, general[a], general[b], config.seed)
            for b, a in itertools.combinations(range(len(general)), 2)
        ],
        warnings=self_preference_warnings(
            {judge.name: judge.model for judge in judges},
            {candidate.name: candidate.model for candidate in candidates},
            config.engine_section.model if config.instructions and config.engine_section else None,
        ),
        costs=_costs(config),
        fork_counts=fork_counts(config),
        published=not because,
        unpublished_because=because,
    )


def _costs(config: RunConfig) -> dict[str, float | None]:
    """Return what each candidate and judge behind an endpoint cost, by the manifests of their tables."""
    evaluation, output, costs = config.evaluation, config.output, dict[str, float | None]()
    names, kinds = [one.name for one in evaluation.candidates], [layout.ANSWERS]
    kinds += [layout.GENERAL_RESULTS] if evaluation.general else []
    tables = {f"answers of {name}": [kind.table(output, candidate=name) for kind in kinds] for name in names}
    for judge in evaluation.judges:
        kind = layout.BLOCK_VERDICTS if evaluation.parity else layout.JUDGMENTS
        judged = [kind.table(output, candidate=name, judge=judge.name) for name in names]
        tables[f"judgments of {judge.name}"] = [*judged, layout.SCORE_EXAMPLES.table(output, judge=judge.name)]
    for what, parts in tables.items():
        paid = [manifest["cost"] for table in parts if "cost" in (manifest := table.manifest() or {})]
        if any(cost != 0 for cost in paid):
            costs[what] = None if None in paid else round(sum(paid), 6)
    return costs


def _candidate_scores(config: RunConfig, arrays: ScoreArrays, number: int) -> scores_schema.CandidateScores:
    candidate = config.evaluation.candidates[number]
    manifest = layout.ANSWERS.table(config.output, candidate=candidate.name).manifest() or {}
    words, scores, expected = arrays.words[number], arrays.scores[number], arrays.expected[number]
    by_judge = {
        judge.name: _judge_scores(config, arrays, number, scores[j], expected[j])
        for j, judge in enumerate(config.evaluation.judges)
    }
    by_mean = _judge_scores(
        config, arrays, number, mean_over_judges(arrays, scores), mean_over_judges(arrays, expected)
    )
    marked = any(scores.marked for scores in by_judge.values())
    return scores_schema.CandidateScores(
        name=candidate.name,
        model=candidate.model,
        revision=manifest["model"]["revision"],
        condition=candidate.condition,
        questions=len(arrays.task),
        answered=manifest["ok"],
        answers_rejected=manifest["rejected"],
        answers_truncated=int(arrays.truncated[number]),
        answer_words_mean=float(np.nanmean(words)) if manifest["ok"] else None,
        scores=by_mean.model_copy(update={"marked": marked}),
        by_judge=by_judge,
    )


def _judge_scores(
    config: RunConfig, arrays: ScoreArrays, number: int, scores: np.ndarray, expected: np.ndarray
) -> scores_schema.JudgeScores:
    answered, judged = ~np.isnan(arrays.words[number]), ~np.isnan(scores)
    failed = int((answered & ~judged).sum())
    unscored = float((~judged).mean())
    tasks, pscore = _summaries(config, arrays, scores)
    has_expected = not np.isnan(expected).all()
    expected_tasks, expected_pscore = _summaries(config, arrays, expected) if has_expected else (None, None)
    correlation = statistics.length_correlation(arrays.words[number].tolist(), scores.tolist())
    return scores_schema.JudgeScores(
        judged=int(judged.sum()),
        failed=failed,
        failure_share=failed / max(1, int(answered.sum())),
        unscored_share=unscored,
        marked=unscored > config.evaluation.max_judge_failures,
        tasks=tasks,
        pscore=pscore,
        expected=expected_tasks,
        expected_pscore=expected_pscore,
        length_correlation=scores_schema.LengthCorrelation.model_validate(correlation) if correlation else None,
    )


def _summaries(
    config: RunConfig, arrays: ScoreArrays, scores: np.ndarray
) -> tuple[dict[str, scores_schema.TaskScore], scores_schema.TaskScore]:
    means = persona_task_means(arrays, scores)
    tasks = {
        task: scores_schema.TaskScore.model_validate(statistics.summarize(means[:, column], config.seed))
        for column, task in enumerate(TASK_NAMES)
    }
    return tasks, scores_schema.TaskScore.model_validate(
        statistics.summarize(statistics.persona_scores(means), config.seed)
    )


def _agreement(arrays: ScoreArrays) -> dict[str, float | None]:
    if arrays.scores.shape[1] < 2:
        return {}
    by_judge = arrays.scores.swapaxes(0, 1)
    alphas: dict[str, float | None] = {}
    for number, task in enumerate(TASK_NAMES):
        alphas[task] = statistics.agreement(by_judge[:, :, arrays.task == number].reshape(len(by_judge), -1))
    return alphas | {scores_schema.MEAN: statistics.agreement(by_judge.reshape(len(by_judge), -1))}


def _comparisons(config: RunConfig, arrays: ScoreArrays, a: int, b: int) -> list[scores_schema.CandidateComparison]:
    judges = [*(judge.name for judge in config.evaluation.judges), scores_schema.MEAN]
    names = [candidate.name for candidate in config.evaluation.candidates]
    return [
        scores_schema.CandidateComparison(
            a=names[a],
            b=names[b],
            judge=judge,
            results=[
                scores_schema.ScoreDifference.model_validate(asdict(result))
                for result in statistics.compare_all(*means, TASK_NAMES, config.seed)
            ],
        )
        for judge, means in zip(judges, paired_task_means(arrays, a, b), strict=True)
    ]
