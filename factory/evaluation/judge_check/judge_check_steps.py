"""The steps that try a config's judges on the built-in pairs of answers, whose order is known.

    take_pairs ──► answers (two rows a pair) ──► scores (a table a judge)
             └──► orders (two rows a pair) ───► preferences (a table a judge)

Judges are asked for scores in the very way in which an evaluation asks them, but without example
replies. The pairs are a fixed handful, so the driver may read what became of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from rich.table import Table as Grid
from rich.text import Text

from factory.config import RunConfig
from factory.errors import ConfigError
from factory.evaluation.dry_run import Windowed, check_named, check_prompts, check_window, locate, not_checked
from factory.evaluation.judge_check.judge_report import FOLDER, preferences_table, scores_table
from factory.evaluation.judge_check.pairs import Pair, read_pairs
from factory.evaluation.judge_check.pairwise import (
    BETTER_FIRST,
    WORSE_FIRST,
    PairwiseProtocol,
    parse_preference,
    preference_ids,
    render_preference,
)
from factory.evaluation.judges import Judge
from factory.evaluation.judging import render_judgment
from factory.evaluation.rubric import Rubric
from factory.evaluation.steps import ask_judges, judgment_lane, lane_of_judge, protocol_of, rubrics_of
from factory.inference.generation_step import GenerationStep, TableJob
from factory.inference.prompts import load_prompt
from factory.personagym import Benchmark, open_benchmark
from factory.records import Answer, AnswerWithExamples, Counts, OrderedPair
from factory.runtime.build_table import build_table
from factory.runtime.progress import Progress
from factory.serving.fleet import check_fleet
from factory.storage import file_io
from factory.storage.rows import Row, ok_row, to_record
from factory.storage.schemas import ANSWERS, PREFERENCES, SCORE_EXAMPLES, record_schema, with_common_columns
from factory.storage.tables import Table, compute_fingerprint, rows_per_shard

WORK = ("answers", "orders")
PROMPTS = ("judge", "judge-pair")

SIDES = pa.schema([*ANSWERS, SCORE_EXAMPLES.field("examples")])
"""An answer of a pair; the candidate is its side, persona and question have the id of the pair."""
ORDERS = with_common_columns(record_schema(OrderedPair))


def check(config: RunConfig) -> None:
    """Check judges, their windows, prompts and rubrics.

    Raises:
        UserError: what a run would stop at.
    """
    rubrics = _check_settings(config)
    for judge in config.evaluation.judges:
        locate(judge)
        if isinstance(judge, Windowed):
            _check_window(config, rubrics, judge)


def _check_settings(config: RunConfig) -> Mapping[str, Rubric]:
    check_named(config, "judges")
    for judge in config.evaluation.judges:
        if judge.name in WORK:
            raise ConfigError(f"evaluation.judges: the name {judge.name!r} is taken by a table of pairs; take another")
    check_prompts(config, PROMPTS)
    check_fleet(config.evaluation.fleet)
    return rubrics_of(open_benchmark(config.evaluation.benchmark))


def _check_window(config: RunConfig, rubrics: Mapping[str, Rubric], judge: Windowed) -> None:
    pairs = read_pairs()
    protocol, comparison = protocol_of(config, rubrics, judge.name), comparison_of(config, rubrics, judge.name)
    requests = [
        *(render_judgment(protocol, to_record(AnswerWithExamples, row)) for row in _sides(pairs)),
        *(render_preference(comparison, to_record(OrderedPair, row)) for row in _orders(pairs)),
    ]
    check_window(config, judge, "rubric, persona, question and answers", requests, {})


def dry_run(config: RunConfig, progress: Progress) -> None:
    """Check everything that a run checks, and print the calls of each judge.

    A remote place that does not answer is noted, since a plan may be made away from the cluster.

    Raises:
        UserError: what a run would stop at.
    """
    rubrics = _check_settings(config)
    file_io.check_writable(config.output)
    judges, calls = config.evaluation.judges, f"{2 * len(read_pairs()):,}"
    notes = not_checked(judges, partial(_check_window, config, rubrics))
    grid = Grid(title="Plan", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("judge", "scores", "comparisons", "by"):
        grid.add_column(column, justify="left" if column in ("judge", "by") else "right")
    for judge in judges:
        grid.add_row(judge.name, calls, calls, Text(f"{judge.model} ({judge.kind})"))
    progress.show(grid)
    progress.say(f"Output: {config.output} (can be written)")
    for note in notes:
        progress.say(f"Not checked from here: {note}")


def take_pairs(config: RunConfig, progress: Progress) -> tuple[Table, Table]:
    """The built-in pairs to a table of answers to score and one of pairs to compare, in both orders."""
    pairs = sorted(read_pairs(), key=lambda pair: pair.task)  # a task's criteria start all of its prompts
    work = {"answers": (_sides(pairs), SIDES), "orders": (_orders(pairs), ORDERS)}
    made = []
    for name, (rows, schema) in work.items():
        table, asked = Table(config.output, f"{FOLDER}/{name}"), list(rows)
        write = partial(_write, table, asked, schema)
        build_table(table, {"rows": compute_fingerprint({"rows": asked})}, len(asked), write, progress)
        made.append(table)
    answers, orders = made
    return answers, orders


def _write(table: Table, rows: Sequence[Row], schema: pa.Schema) -> Counts:
    size = rows_per_shard(len(rows))
    starts = range(0, len(rows), size)
    return sum((table.write(f"{n:05}", rows[start : start + size], schema) for n, start in enumerate(starts)), Counts())


def _sides(pairs: Sequence[Pair]) -> Iterator[dict[str, Any]]:
    for pair in pairs:
        for side, text in (("better", pair.better), ("worse", pair.worse)):
            yield ok_row(Answer(side, pair.id, pair.persona, pair.task, pair.id, pair.question, text, truncated=False))


def _orders(pairs: Sequence[Pair]) -> Iterator[dict[str, Any]]:
    for pair in pairs:
        for order, a, b in ((BETTER_FIRST, pair.better, pair.worse), (WORSE_FIRST, pair.worse, pair.better)):
            yield ok_row(OrderedPair(pair.id, order, pair.persona, pair.task, pair.question, a, b))


def comparison_of(config: RunConfig, rubrics: Mapping[str, Rubric], judge: str) -> PairwiseProtocol:
    """How a judge is asked to compare."""
    return PairwiseProtocol(judge, rubrics, load_prompt("judge-pair", config.prompts_dir), config.evaluation.attempts)


def ask(config: RunConfig, benchmark: Benchmark, answers: Table, orders: Table, progress: Progress) -> None:
    """Every answer to a score of each judge, and every pair to its choice in both orders; all at the same time."""
    rubrics = rubrics_of(benchmark)

    def lanes_of(judges: Sequence[Judge]) -> list[TableJob]:
        scores = [judgment_lane(config, rubrics, judge, answers, scores_table(config, judge.name)) for judge in judges]
        return scores + [_preferences(config, rubrics, judge, orders) for judge in judges]

    ask_judges(config, [lanes_of], progress)


def _preferences(config: RunConfig, rubrics: Mapping[str, Rubric], judge: Judge, orders: Table) -> TableJob:
    comparison = comparison_of(config, rubrics, judge.name)
    step = GenerationStep(
        record=OrderedPair,
        schema=PREFERENCES,
        prompt=comparison.prompt.ref,
        render=partial(render_preference, comparison),
        parse=partial(parse_preference, comparison),
        ids=partial(preference_ids, comparison),
        keep_truncated=True,
        reject_as="judge_failed",
    )
    return lane_of_judge(config, rubrics, judge, step, orders, preferences_table(config, judge.name))
