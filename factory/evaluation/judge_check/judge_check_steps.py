"""The steps that run a config's judges on the built-in pairs of answers, whose order is known.

    pairs ──► questions (one row per persona) ──► examples (by one judge) ──┐
       ├────► answers (two rows per pair) ──────────────────────────────────┴──► scores (a table per judge)
       └────► orders (two rows per pair) ───► preferences (a table per judge)

Judges get the same requests for scores as in an evaluation, with example replies, so that the number that ranks
candidates is what is checked. The pairs are few and their number is fixed, so the driver may read the results.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from rich.table import Table as Grid
from rich.text import Text

from factory.config import RunConfig
from factory.errors import ConfigError
from factory.evaluation.dry_run import ModelJudge, check_listed, check_prompts, check_reachable, check_window, locate
from factory.evaluation.evaluation_steps import (
    examples_job,
    judge_job,
    judgment_job,
    judgment_protocol,
    read_rubrics,
    run_judge_jobs,
)
from factory.evaluation.judge_check.check_results import FOLDER
from factory.evaluation.judge_check.judge_report import preferences_table, scores_table
from factory.evaluation.judge_check.pairs import AnswerPair, read_pairs
from factory.evaluation.judge_check.pairwise import (
    BETTER_FIRST,
    WORSE_FIRST,
    PairwiseProtocol,
    parse_preference,
    preference_ids,
    render_preference,
)
from factory.evaluation.judge_clients import JudgeClient
from factory.evaluation.judging import render_judgment
from factory.evaluation.row_tokens import evaluation_tokens
from factory.evaluation.rubric import Rubric
from factory.evaluation.run_benchmark import named_benchmark
from factory.inference.generation_step import GenerationStep, TableJob
from factory.inference.prompts import load_prompt, own_prompts
from factory.inference.token_estimates import cost_line
from factory.personagym import Benchmark
from factory.records import Answer, AnswerWithExamples, OrderedPair, Question, content_id
from factory.runtime.build_table import build_table
from factory.runtime.progress import Progress
from factory.serving.fleet import check_fleet
from factory.storage import file_io
from factory.storage.joined_table import JoinedTable
from factory.storage.rows import Row, ok_row, to_record
from factory.storage.schemas import ANSWERS, PREFERENCES, QUESTIONS, record_schema, with_common_columns
from factory.storage.tables import Table, compute_fingerprint

RESERVED_NAMES = ("answers", "orders", "questions", "examples", "generic")
"""Tables beside those of the judges."""
PROMPTS = ("judge", "judge-pair", "score-examples")

ORDERS = with_common_columns(record_schema(OrderedPair))


def check(config: RunConfig) -> None:
    """Check judges, their windows, prompts and rubrics.

    Raises:
        UserError: something would stop a run.
    """
    rubrics = _check_settings(config)
    for judge in config.evaluation.judges:
        locate(judge)
        if isinstance(judge, ModelJudge):
            _check_window(config, rubrics, judge)


def _check_settings(config: RunConfig) -> Mapping[str, Rubric]:
    check_listed(config, "judges")
    for judge in config.evaluation.judges:
        if judge.name in RESERVED_NAMES:
            raise ConfigError(f"evaluation.judges: the name {judge.name!r} is taken by a table of pairs; take another")
    check_prompts(config, PROMPTS)
    check_fleet(config.evaluation.fleet)
    return read_rubrics(named_benchmark(config))


def _check_window(config: RunConfig, rubrics: Mapping[str, Rubric], judge: ModelJudge) -> None:
    pairs = read_pairs()
    protocol, pairwise = judgment_protocol(config, rubrics, judge.name), pairwise_protocol(config, rubrics, judge.name)
    requests = [
        *(render_judgment(protocol, to_record(AnswerWithExamples, row)) for row in _sides(pairs)),
        *(render_preference(pairwise, to_record(OrderedPair, row)) for row in _orders(pairs)),
    ]
    examples = config.evaluation.example_sampling.max_tokens
    other_tokens = {"example replies (evaluation.example_sampling.max_tokens)": examples}
    check_window(config, judge, "rubric, persona, question and answers", requests, other_tokens)


def plan(config: RunConfig, progress: Progress) -> None:
    """Check everything that a run checks, and print the calls of each judge.

    A remote service that does not answer is noted, since a dry run may happen away from the cluster.

    Raises:
        UserError: something would stop a run.
    """
    rubrics = _check_settings(config)
    file_io.check_writable(config.output)
    judges, calls = config.evaluation.judges, f"{2 * len(read_pairs()):,}"
    notes = check_reachable(judges, partial(_check_window, config, rubrics))
    grid = Grid(title="Plan", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("judge", "scores", "comparisons", "examples", "by"):
        grid.add_column(column, justify="left" if column in ("judge", "by") else "right")
    for judge in judges:
        examples = f"{len(_questions(read_pairs())):,}" if judge.name == example_writer(config) else "0"
        grid.add_row(judge.name, calls, calls, examples, Text(f"{judge.model} ({judge.kind})"))
    progress.show(grid)
    about = evaluation_tokens(config, named_benchmark(config))
    cost = sum(about["judgments"].cost(judge, 4 * len(read_pairs())) for judge in judges)
    (writer,) = (judge for judge in judges if judge.name == example_writer(config))
    if line := cost_line(cost + about["examples"].cost(writer, len(_questions(read_pairs())))):
        progress.print(line)
    for line in own_prompts(PROMPTS, config.prompt_places):
        progress.print(line)
    progress.print(f"Output: {config.output} (can be written)")
    for note in notes:
        progress.print(f"Not checked from here: {note}")


@dataclass(frozen=True)
class PairTables:
    """The tables made of the pairs."""

    questions: Table
    answers: Table
    orders: Table


def build_pair_tables(config: RunConfig, progress: Progress) -> PairTables:
    """Write tables of questions for example replies, of answers to score, and of pairs to compare in both orders."""
    pairs = sorted(read_pairs(), key=lambda pair: pair.task)  # all prompts of a task start with its criteria

    def build(name: str, rows: list[Row], schema: pa.Schema) -> Table:
        table, inputs = Table(config.output, f"{FOLDER}/{name}"), {"rows": compute_fingerprint({"rows": rows})}
        # One shard: answers and examples are joined shard by shard.
        build_table(table, inputs, len(rows), lambda: table.write("00000", rows, schema), progress)
        return table

    return PairTables(
        build("questions", _questions(pairs), QUESTIONS),
        build("answers", list(_sides(pairs)), ANSWERS),
        build("orders", list(_orders(pairs)), ORDERS),
    )


def _questions(pairs: Sequence[AnswerPair]) -> list[Row]:
    """Return each persona's question, which pairs of several kinds may share."""
    asked = {content_id(pair.persona): pair for pair in pairs}
    return [ok_row(Question(key, key, pair.persona, pair.task, pair.question)) for key, pair in asked.items()]


def _sides(pairs: Sequence[AnswerPair]) -> Iterator[dict[str, Any]]:
    for pair in pairs:
        for side, text in (("better", pair.better), ("worse", pair.worse)):
            persona_id = content_id(pair.persona)
            answer = Answer(side, persona_id, pair.persona, pair.task, pair.id, pair.question, text, truncated=False)
            yield ok_row(answer)


def _orders(pairs: Sequence[AnswerPair]) -> Iterator[dict[str, Any]]:
    for pair in pairs:
        for order, a, b in ((BETTER_FIRST, pair.better, pair.worse), (WORSE_FIRST, pair.worse, pair.better)):
            yield ok_row(OrderedPair(pair.id, order, pair.persona, pair.task, pair.question, a, b))


def pairwise_protocol(config: RunConfig, rubrics: Mapping[str, Rubric], judge: str) -> PairwiseProtocol:
    """Return the protocol by which a judge compares."""
    return PairwiseProtocol(judge, rubrics, load_prompt("judge-pair", config.prompt_places), config.evaluation.attempts)


def example_writer(config: RunConfig) -> str:
    """Return the judge that writes the example replies: that of the evaluation, or the first by name."""
    return config.evaluation.example_writer or min(judge.name for judge in config.evaluation.judges)


def judge_pairs(config: RunConfig, benchmark: Benchmark, pairs: PairTables, progress: Progress) -> None:
    """Let each judge score every answer and compare every pair in both orders; all run at the same time."""
    rubrics = read_rubrics(benchmark)
    examples = Table(config.output, f"{FOLDER}/examples")

    def examples_for(judges: Sequence[JudgeClient]) -> list[TableJob]:
        (writer,) = (judge for judge in judges if judge.name == example_writer(config))
        return [examples_job(config, rubrics, writer, pairs.questions, examples)]

    def jobs_for(judges: Sequence[JudgeClient]) -> list[TableJob]:
        work = JoinedTable.of(pairs.answers, examples, "persona_id", "examples", order="task")
        scores = [judgment_job(config, rubrics, judge, work, scores_table(config, judge.name)) for judge in judges]
        return scores + [_preference_job(config, rubrics, judge, pairs.orders) for judge in judges]

    run_judge_jobs(config, [examples_for, jobs_for], progress)


def _preference_job(config: RunConfig, rubrics: Mapping[str, Rubric], judge: JudgeClient, orders: Table) -> TableJob:
    protocol = pairwise_protocol(config, rubrics, judge.name)
    step = GenerationStep(
        record=OrderedPair,
        schema=PREFERENCES,
        prompt=protocol.prompt.ref,
        render=partial(render_preference, protocol),
        parse=partial(parse_preference, protocol),
        ids=partial(preference_ids, protocol),
        keep_truncated=True,
        reject_as="judge_failed",
    )
    return judge_job(config, rubrics, judge, step, orders, preferences_table(config, judge.name))
