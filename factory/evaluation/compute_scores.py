"""Judgments to scores: all tables of an evaluation to `scores.json` and `leaderboard.md`.

The `ScoreArrays` live in one Ray task, some bytes per judgment; the driver gets the finished document.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import ray

from factory.config import RunConfig
from factory.evaluation.example_tables import count_examples
from factory.evaluation.general_ability.general_steps import read_results
from factory.evaluation.judge_check.check_results import read_checks, refuse_weak_judges
from factory.evaluation.parity.fork_scores import fork_counts
from factory.evaluation.parity.paper_rows import why_no_paper_rows
from factory.evaluation.score_document import RunFacts, build_scores
from factory.evaluation.score_store import append_scores, write_leaderboard
from factory.evaluation.scoring import scores_schema
from factory.evaluation.scoring.leaderboard import leaderboard
from factory.evaluation.scoring.score_arrays import TASK_NAMES, ScoreArrays
from factory.evaluation.scoring.score_summary import score_grid, score_notes
from factory.personagym import Benchmark
from factory.records import answer_key
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, reraise_own_errors
from factory.storage import file_io
from factory.storage.repeated_table import RepeatedTable
from factory.storage.tables import Table

LEADERBOARD = "evaluation/leaderboard.md"


def write_scores(config: RunConfig, benchmark: Benchmark, progress: Progress) -> None:
    """Write `scores.json` and `leaderboard.md`, and show them."""
    refuse_weak_judges(config)
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
    arrays, general = read_score_arrays(config), read_results(config)
    return build_scores(config, benchmark, _read_facts(config, benchmark), arrays, general).model_dump()


def _read_facts(config: RunConfig, benchmark: Benchmark) -> RunFacts:
    names = [candidate.name for candidate in config.evaluation.candidates]
    manifests = {name: layout.ANSWERS.table(config.output, candidate=name).manifest() or {} for name in names}
    return RunFacts(
        digest=(layout.BENCHMARK_QUESTIONS.table(config.output).inputs() or {})["benchmark"],
        examples=count_examples(config, benchmark),
        answers=manifests,
        costs=_costs(config),
        fork_counts=fork_counts(config),
        unpublished_because=why_no_paper_rows(config, benchmark),
        checks={name: entry["reports"] for name, entry in read_checks(config).items()},
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


def read_score_arrays(config: RunConfig) -> ScoreArrays:
    """Read the tables, shard by shard."""
    output = config.output
    candidates = [candidate.name for candidate in config.evaluation.candidates]
    judges = [judge.name for judge in config.evaluation.judges]
    questions, personas = layout.BENCHMARK_QUESTIONS.table(output), dict[str, int]()
    asked = RepeatedTable.of(questions, config.evaluation.draws, "draw")
    parts: list[list[np.ndarray]] = []
    truncated, re_asked = np.zeros(len(candidates), np.int64), np.zeros(len(judges), np.int64)
    for shard in asked.shards():
        rows = asked.read(shard, ["question_id", "persona_id", "task"]).to_pylist()
        index = {answer_key(row): number for number, row in enumerate(rows)}
        words = np.full((len(candidates), len(index)), np.nan, np.float32)
        scores = np.full((len(candidates), len(judges), len(index)), np.nan, np.float32)
        expected = scores.copy()
        for c, candidate in enumerate(candidates):
            answers = layout.ANSWERS.table(output, candidate=candidate)
            truncated[c] += _read_answers(answers, shard, index, words[c])
            for j, judge in enumerate(judges):
                judgments = layout.JUDGMENTS.table(output, candidate=candidate, judge=judge)
                re_asked[j] += _read_judgments(judgments, shard, index, scores[c, j], expected[c, j])
        owners = [personas.setdefault(row["persona_id"], len(personas)) for row in rows]
        tasks = [TASK_NAMES.index(row["task"]) for row in rows]
        parts.append([np.array(owners, np.int32), np.array(tasks, np.int8), words, scores, expected])
    persona, task, words, scores, expected = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    return ScoreArrays(
        persona=persona,
        task=task,
        personas=len(personas),
        words=words,
        truncated=truncated,
        scores=scores,
        expected=expected,
        re_asked=re_asked,
        draws=config.evaluation.draws,
        persona_ids=tuple(personas),
    )


def _read_answers(table: Table, shard: str, index: Mapping[str, int], words: np.ndarray) -> int:
    """Fill in the words of each answer, and return how many answers were truncated."""
    rows = table.read(shard, ["question_id", "draw", "status", "answer", "truncated"]).to_pylist()
    accepted = [row for row in rows if row["status"] == "ok"]
    for row in accepted:
        words[index[answer_key(row)]] = len(row["answer"].split())
    return sum(row["truncated"] for row in accepted)


def _read_judgments(
    table: Table, shard: str, index: Mapping[str, int], scores: np.ndarray, expected: np.ndarray
) -> int:
    """Fill in the scores, and return how many judgments took more than one attempt."""
    columns = ["question_id", "draw", "status", "score", "expected_score", "attempts"]
    rows = table.read(shard, columns).to_pylist()
    for row in rows:
        if row["status"] == "ok":
            number = index[answer_key(row)]
            scores[number] = row["score"]
            if row["expected_score"] is not None:
                expected[number] = row["expected_score"]
    return sum((row["attempts"] or 1) > 1 for row in rows)
