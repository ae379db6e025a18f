"""The steps of best of n, after the candidates: comparisons by a judge, then dialogues and those passed over.

candidates ──► comparisons (each pair in both orders) ──► dialogues, passed over (both with the shards of candidates)
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from factory.config import RunConfig
from factory.evaluation.best_of.candidate_pairs import (
    CandidatePairs,
    ChoiceProtocol,
    choice_ids,
    group_candidates,
    parse_choice,
    render_choice,
)
from factory.evaluation.best_of.winners import choose, find_wins
from factory.evaluation.evaluation_steps import run_judge_jobs
from factory.evaluation.judge_clients import JudgeClient, with_judge
from factory.inference.generation_step import GenerationStep, TableJob, counts_from_row, counts_to_row
from factory.inference.prompts import load_prompt
from factory.records import CandidatePair, Counts
from factory.run_output import layout
from factory.runtime.build_table import Built, build_table, identity, map_shards
from factory.runtime.progress import Progress
from factory.storage.rows import TOKEN_COLUMNS
from factory.storage.schemas import COMPARISONS, DIALOGUES, PASSED_OVER
from factory.storage.tables import Table

PROMPT = "judge-replies"
_COPIED = (
    "prompts", "engine", "model", "cost", "seconds", "startup_seconds", "engine_seconds", "engines", "engines_started",
    "output_tokens_per_second",
)  # fmt: skip
"""Fields of the candidates' manifest that the dialogues' has too: what generating all of them took."""


def with_its_judge(config: RunConfig) -> RunConfig:
    """Return the config with the judge of `dialogues.choose` in place of the evaluation's."""
    assert config.dialogues.choose is not None
    return with_judge(config, config.dialogues.choose.judge)


def choose_dialogues(config: RunConfig, assignments: Sequence[Table], progress: Progress) -> None:
    """Let the judge compare the candidates, and write the dialogues and those passed over.

    Args:
        config: the run's settings, with more than one candidate for a dialogue.
        assignments: the tables that the candidates were generated from.
        progress: reports what happens.
    """
    names = [
        (table, {"strategy": strategy, "corpus": (layout.ASSIGNMENTS.parts(table.name) or {})["corpus"]})
        for table in assignments
        for strategy in config.dialogues.strategies
    ]

    def jobs_for(judges: Sequence[JudgeClient]) -> list[TableJob]:
        return [comparison_job(config, judges[0], parts) for _, parts in names]

    run_judge_jobs(with_its_judge(config), [jobs_for], progress)
    for table, parts in names:
        _write_chosen(config, table, parts, progress)


def comparison_job(config: RunConfig, judge: JudgeClient, parts: dict[str, str]) -> TableJob:
    """Return the job in which the judge compares the candidates of a table."""
    settings = config.dialogues.choose
    assert settings is not None
    protocol = ChoiceProtocol(judge.name, load_prompt(PROMPT, config.prompt_places), settings.attempts)
    step = GenerationStep(
        record=CandidatePair,
        schema=COMPARISONS,
        prompt=protocol.prompt.ref,
        render=partial(render_choice, protocol),
        parse=partial(parse_choice, protocol),
        ids=partial(choice_ids, protocol),
        keep_truncated=True,
    )
    pairs = CandidatePairs(config.output, layout.CANDIDATES.name(**parts), config.dialogues.candidates)
    table = layout.COMPARISONS.table(config.output, **parts)
    inputs = {"judge": judge.name, "attempts": settings.attempts, **judge.settings}
    return TableJob(step, pairs, table, inputs, judge.engine(settings.sampling, config.seed))


def _write_chosen(config: RunConfig, assignments: Table, parts: dict[str, str], progress: Progress) -> None:
    candidates = layout.CANDIDATES.table(config.output, **parts)
    comparisons = layout.COMPARISONS.table(config.output, **parts)
    dialogues = layout.DIALOGUES.table(config.output, **parts)
    passed_over = layout.PASSED_OVER.table(config.output, **parts)
    manifest, count = candidates.manifest() or {}, config.dialogues.candidates
    made_of = [identity(candidates), identity(comparisons)]
    work = {"work": (assignments.manifest() or {})["fingerprint"]}
    # The same settings as without candidates, which the reports and exports read.
    inputs = {**(candidates.inputs() or {}), **work, "candidates": count, "made_of": made_of}
    fields = {name: manifest[name] for name in _COPIED if name in manifest}
    fields |= {"candidates": count, "candidates_started": manifest.get("started")}
    tokens = {name: manifest.get(name, 0) for name in TOKEN_COLUMNS}
    choosing = partial(_write_shard, candidates, comparisons, count, dialogues, passed_over)

    def write(is_dialogue: bool) -> Built:
        rows = map_shards(candidates, partial(choosing, is_dialogue))
        counts = sum(map(counts_from_row, rows), Counts())
        return Built(replace(counts, **tokens), fields) if is_dialogue else Built(counts)

    build_table(dialogues, inputs, manifest["rows_in"] // count, partial(write, True), progress, repeatable=True)
    others = {"candidates": count, "made_of": made_of}
    build_table(passed_over, others, None, partial(write, False), progress, repeatable=True)


def _write_shard(
    candidates: Table,
    comparisons: Table,
    count: int,
    dialogues: Table,
    passed_over: Table,
    is_dialogue: bool,
    shard: dict[str, Any],
) -> dict[str, Any]:
    """Write the winners of a shard, or those that they were preferred to; returns their counts."""
    name = shard["shard"]
    compared = comparisons.read(name, ["status", "first_id", "second_id", "preferred", "judge"]).to_pylist()
    won, judge = find_wins(compared), compared[0]["judge"] if compared else ""
    chosen = [choose(group, won) for group in group_candidates(candidates.read(name).to_pylist(), count)]
    if is_dialogue:
        counts = dialogues.write(name, [winner for winner, _ in chosen], DIALOGUES)
    else:
        rows = [row | {"judge": judge} for row in chain.from_iterable(others for _, others in chosen)]
        counts = passed_over.write(name, rows, PASSED_OVER)
    return counts_to_row(counts)
