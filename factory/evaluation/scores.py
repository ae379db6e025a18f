"""Judgments to scores: all tables of an evaluation to `scores.json` and `leaderboard.md`.

The arrays of `Items` live in one Ray task, some bytes a judgment; the driver sees the finished document.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import ray

from factory.config import RunConfig
from factory.evaluation import scores_schema
from factory.evaluation.general_ability.general_scores import general_change, general_of
from factory.evaluation.general_ability.general_steps import read_results
from factory.evaluation.leaderboard import grid, leaderboard, notes
from factory.evaluation.model_families import family_of, self_preference_warnings
from factory.evaluation.questions import FOLDER, answers_table, examples_table, judgments_table, questions_table
from factory.evaluation.score_arrays import TASK_NAMES, ScoreArrays, over_judges, paired_cells, persona_task_means
from factory.evaluation.statistics import agreement, compare_all, length_correlation, persona_scores, summary
from factory.personagym import Benchmark
from factory.runtime.progress import Progress
from factory.runtime.ray_session import reraise_own_errors
from factory.storage import file_io
from factory.storage.rows import Row
from factory.storage.tables import Table


def score(config: RunConfig, benchmark: Benchmark, progress: Progress) -> None:
    """Write `scores.json` and `leaderboard.md`, and show them."""
    with reraise_own_errors():
        found = scores_schema.Scores.model_validate(ray.get(_score.remote(config, benchmark)))
    folder = file_io.join(config.output, FOLDER)
    file_io.write_bytes(file_io.join(folder, "leaderboard.md"), leaderboard(found).encode())
    file_io.write_bytes(file_io.join(folder, "scores.json"), (found.model_dump_json(indent=2) + "\n").encode())
    progress.show(grid(found))
    for note in notes(found):
        progress.say(note)
    progress.say(f"Scores: {file_io.join(folder, 'leaderboard.md')}")


@ray.remote(num_cpus=0.5)
def _score(config: RunConfig, benchmark: Benchmark) -> dict[str, Any]:
    return scores_of(config, benchmark, read_score_arrays(config), read_results(config)).model_dump()


def read_score_arrays(config: RunConfig) -> ScoreArrays:
    """Read the tables, shard by shard."""
    candidates = [candidate.name for candidate in config.evaluation.candidates]
    judges = [judge.name for judge in config.evaluation.judges]
    questions, personas = questions_table(config), dict[str, int]()
    parts: list[list[np.ndarray]] = []
    truncated = np.zeros(len(candidates), np.int64)
    for shard in questions.shards():
        asked = questions.read(shard, ["question_id", "persona_id", "task"]).to_pydict()
        places = {question: place for place, question in enumerate(asked["question_id"])}
        owners = [personas.setdefault(known, len(personas)) for known in asked["persona_id"]]
        words = np.full((len(candidates), len(places)), np.nan, np.float32)
        scores = np.full((len(candidates), len(judges), len(places)), np.nan, np.float32)
        expected = scores.copy()
        for number, candidate in enumerate(candidates):
            truncated[number] += _take_answers(answers_table(config, candidate), shard, places, words[number])
            for place, judge in enumerate(judges):
                table = judgments_table(config, candidate, judge)
                _take_judgments(table, shard, places, scores[number, place], expected[number, place])
        tasks = np.array([TASK_NAMES.index(name) for name in asked["task"]], np.int8)
        parts.append([np.array(owners, np.int32), tasks, words, scores, expected])
    persona, task, words, scores, expected = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    return ScoreArrays(persona, task, len(personas), words, truncated, scores, expected)


def _take_answers(table: Table, shard: str, places: Mapping[str, int], words: np.ndarray) -> int:
    rows = table.read(shard, ["question_id", "status", "answer", "truncated"]).to_pylist()
    accepted = [row for row in rows if row["status"] == "ok"]
    for row in accepted:
        words[places[row["question_id"]]] = len(row["answer"].split())
    return sum(row["truncated"] for row in accepted)


def _take_judgments(
    table: Table, shard: str, places: Mapping[str, int], scores: np.ndarray, expected: np.ndarray
) -> None:
    for row in table.read(shard, ["question_id", "status", "score", "expected_score"]).to_pylist():
        if row["status"] == "ok":
            scores[places[row["question_id"]]] = row["score"]
            if row["expected_score"] is not None:
                expected[places[row["question_id"]]] = row["expected_score"]


def scores_of(
    config: RunConfig, benchmark: Benchmark, items: ScoreArrays, general: Sequence[Sequence[Row]]
) -> scores_schema.Scores:
    """All figures of an evaluation; `general` holds the results of each candidate, or nothing."""
    evaluation = config.evaluation
    candidates, judges = evaluation.candidates, evaluation.judges
    questions = questions_table(config)
    scored = [_candidate(config, items, number) for number in range(len(candidates))]
    if general:
        told = map(general_of, general)
        scored = [one.model_copy(update={"general": of}) for one, of in zip(scored, told, strict=True)]
    warnings = self_preference_warnings(
        {judge.name: judge.model for judge in judges},
        {candidate.name: candidate.model for candidate in candidates},
        config.engine.model if config.instructions else None,
    )
    return scores_schema.Scores(
        protocol=evaluation.protocol,
        parity=evaluation.judge_protocol,
        benchmark=scores_schema.Benchmark(
            place=benchmark.place,
            name=benchmark.name,
            digest=(questions.inputs() or {})["benchmark"],
            personas=items.personas,
            questions=len(items.task),
            examples=(examples_table(config).manifest() or {})["ok"],
        ),
        tasks=TASK_NAMES,
        candidates=scored,
        judges=[
            scores_schema.Judge(name=judge.name, model=judge.model, kind=judge.kind, family=family_of(judge.model))
            for judge in judges
        ],
        agreement=_agreement(items),
        comparisons=[
            comparison
            for b, a in itertools.combinations(range(len(candidates)), 2)
            for comparison in _comparisons(config, items, a, b)
        ],
        general_changes=[
            general_change(candidates[a].name, candidates[b].name, general[a], general[b], config.seed)
            for b, a in itertools.combinations(range(len(general)), 2)
        ],
        warnings=warnings,
        published=benchmark.official,
    )


def _candidate(config: RunConfig, items: ScoreArrays, number: int) -> scores_schema.CandidateScores:
    candidate = config.evaluation.candidates[number]
    manifest = answers_table(config, candidate.name).manifest() or {}
    words = items.words[number]
    by_judge = {
        judge.name: _judge_scores(config, items, number, items.scores[number, place], items.expected[number, place])
        for place, judge in enumerate(config.evaluation.judges)
    }
    by_mean = _judge_scores(
        config, items, number, over_judges(items, items.scores[number]), over_judges(items, items.expected[number])
    )
    marked = any(scores.marked for scores in by_judge.values())
    return scores_schema.CandidateScores(
        name=candidate.name,
        model=candidate.model,
        revision=manifest["model"]["revision"],
        condition=candidate.condition,
        questions=len(items.task),
        answered=manifest["ok"],
        answers_rejected=manifest["rejected"],
        answers_truncated=int(items.truncated[number]),
        answer_words_mean=float(np.nanmean(words)) if manifest["ok"] else None,
        scores=by_mean.model_copy(update={"marked": marked}),
        by_judge=by_judge,
    )


def _judge_scores(
    config: RunConfig, items: ScoreArrays, number: int, scores: np.ndarray, expected: np.ndarray
) -> scores_schema.JudgeScores:
    answered, judged = ~np.isnan(items.words[number]), ~np.isnan(scores)
    failed = int((answered & ~judged).sum())
    unscored = float((~judged).mean())
    tasks, pscore = _summaries(config, items, scores)
    told = not np.isnan(expected).all()
    expected_tasks, expected_pscore = _summaries(config, items, expected) if told else (None, None)
    correlation = length_correlation(items.words[number].tolist(), scores.tolist())
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
    config: RunConfig, items: ScoreArrays, scores: np.ndarray
) -> tuple[dict[str, scores_schema.TaskScore], scores_schema.TaskScore]:
    by_persona = persona_task_means(items, scores)
    tasks = {
        task: scores_schema.TaskScore.model_validate(summary(by_persona[:, place], config.seed))
        for place, task in enumerate(TASK_NAMES)
    }
    return tasks, scores_schema.TaskScore.model_validate(summary(persona_scores(by_persona), config.seed))


def _agreement(items: ScoreArrays) -> dict[str, float | None]:
    if items.scores.shape[1] < 2:
        return {}
    by_judge = items.scores.swapaxes(0, 1)
    found: dict[str, float | None] = {}
    for place, task in enumerate(TASK_NAMES):
        found[task] = agreement(by_judge[:, :, items.task == place].reshape(len(by_judge), -1))
    return found | {scores_schema.MEAN: agreement(by_judge.reshape(len(by_judge), -1))}


def _comparisons(config: RunConfig, items: ScoreArrays, a: int, b: int) -> list[scores_schema.CandidateComparison]:
    judges = [*(judge.name for judge in config.evaluation.judges), scores_schema.MEAN]
    names = [candidate.name for candidate in config.evaluation.candidates]
    return [
        scores_schema.CandidateComparison(
            a=names[a],
            b=names[b],
            judge=judge,
            results=[
                scores_schema.Difference.model_validate(asdict(one))
                for one in compare_all(*both, TASK_NAMES, config.seed)
            ],
        )
        for judge, both in zip(judges, paired_cells(items, a, b), strict=True)
    ]
