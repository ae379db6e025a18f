"""The tables of general ability: its instructions, and each candidate's results on them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from factory.config import RunConfig
from factory.evaluation.general_ability.items import (
    general_ids,
    general_items,
    parse_general,
    render_general,
    verifiable_instructions,
)
from factory.inference.generation_step import EngineUse, GenerationStep, TableJob
from factory.records import GeneralItem
from factory.run_output import layout
from factory.runtime.build_table import build_table, write_in_shards
from factory.runtime.progress import Progress
from factory.storage.rows import ok_row
from factory.storage.schemas import GENERAL_ITEMS, GENERAL_RESULTS
from factory.storage.tables import Table, compute_fingerprint

NO_PROMPT = "none"
"""In place of a prompt: the model gets the instructions as they are."""


def general_jobs(config: RunConfig, engines: Sequence[EngineUse], progress: Progress) -> list[TableJob]:
    """Return a job per candidate, on the engine that answers for it; none where `evaluation.general` is off."""
    if not config.evaluation.general:
        return []
    items = _build_items(config, progress)
    instructions = verifiable_instructions(config.evaluation.ifeval, config.evaluation.general_limit)
    jobs = []
    for candidate, engine in zip(config.evaluation.candidates, engines, strict=True):
        step = GenerationStep(
            record=GeneralItem,
            schema=GENERAL_RESULTS,
            prompt=NO_PROMPT,
            render=render_general,
            parse=partial(parse_general, candidate.name, instructions),
            ids=partial(general_ids, candidate.name),
            keep_truncated=True,
        )
        table = layout.GENERAL_RESULTS.table(config.output, candidate=candidate.name)
        jobs.append(TableJob(step, items, table, {"candidate": candidate.name}, engine))
    return jobs


def _build_items(config: RunConfig, progress: Progress) -> Table:
    evaluation = config.evaluation
    items, table = general_items(evaluation.ifeval, evaluation.general_limit), layout.GENERAL_ITEMS.table(config.output)
    fingerprint = compute_fingerprint({"ids": [item.item_id for item in items]})
    build_table(
        table,
        {"items": fingerprint},
        len(items),
        partial(write_in_shards, table, list(map(ok_row, items)), GENERAL_ITEMS),
        progress,
    )
    return table


def read_results(config: RunConfig) -> list[list[dict[str, Any]]]:
    """Read the results of each candidate, some dozens each; none where `evaluation.general` is off."""
    if not config.evaluation.general:
        return []
    columns = ["status", "item_id", "followed", "log_likelihood", "tokens"]
    results = []
    for candidate in config.evaluation.candidates:
        table = layout.GENERAL_RESULTS.table(config.output, candidate=candidate.name)
        rows = [row for shard in table.shards() for row in table.read(shard, columns).to_pylist()]
        results.append([row for row in rows if row["status"] == "ok"])
    return results
