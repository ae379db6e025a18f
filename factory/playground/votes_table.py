"""The table `feedback`: one row per reply with its last vote, however often a vote is sent."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.errors import DamagedError
from factory.records import Counts, Feedback
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.manifest import Timing, build_manifest
from factory.storage.rows import Row, count_rows, ok_row
from factory.storage.schemas import FEEDBACK
from factory.storage.tables import MANIFEST, Table, compute_fingerprint

SETTINGS = {"rows": "one per reply: the last vote on it"}
"""Fingerprint inputs. Each row contains its model and prompt, so one table holds the votes of all runs."""
SHARD_DIGITS = 2
"""A shard holds the rows whose ids share this prefix: 256 shards, each rewritten per vote (20 ms at 500 rows)."""


@dataclass(frozen=True)
class Vote:
    """A vote with the model and the system prompt (as its reference) that produced the reply."""

    feedback: Feedback
    model: str
    prompt: str


def votes_table(output: str) -> Table:
    """Return the table of a run's votes."""
    return layout.FEEDBACK.table(output)


def open_table(output: str) -> Table:
    """Return the table, marked as incomplete, for more votes."""
    return open_for_more(votes_table(output), SETTINGS)


def open_for_more(table: Table, settings: Mapping[str, Any]) -> Table:
    """Return a table of votes or labels, marked as incomplete."""
    table.begin(compute_fingerprint(settings), settings)
    file_io.delete_file(file_io.join(table.path, MANIFEST))
    return table


def write_votes(table: Table, votes: Iterable[Vote]) -> None:
    """Write votes; they are stored when it returns. The table must have only one writer."""
    rows = [ok_row(vote.feedback, model=vote.model, prompt=vote.prompt) for vote in votes]
    write_latest(table, rows, "feedback_id", FEEDBACK)


def write_latest(table: Table, rows: Iterable[Row], key: str, schema: pa.Schema) -> None:
    """Write rows, of which one per key is kept; they are stored when it returns.

    The row with the highest `number` wins, in whatever order rows arrive; writing one again changes nothing. The
    table must have only one writer.

    Args:
        table: where to.
        rows: with the columns `number` and `key`.
        key: a column of ids.
        schema: of the rows.
    """
    shards: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        shards[row[key][:SHARD_DIGITS]].append(row)
    existing = set(table.shards())
    for shard, new in shards.items():
        before = read_rows(table, shard, schema) if shard in existing else []
        latest = {row[key]: row for row in before}
        for row in new:
            old = latest.get(row[key])
            # Not by time: after a clock was set back, a vote would be lost.
            if old is None or row["number"] > old["number"]:
                latest[row[key]] = row
        after = [latest[name] for name in sorted(latest)]
        if after != before:
            table.write(shard, after, schema)


def count_votes(table: Table, schema: pa.Schema = FEEDBACK) -> Counts:
    """Return the counts of all shards."""
    total = Counts()
    for shard in table.shards():
        total += count_rows(_read(table, shard, schema))
    return total


def complete_table(
    table: Table, settings: Mapping[str, Any], schema: pa.Schema, timing: Timing, progress: Progress
) -> None:
    """Write the manifest of a table of votes or labels, once its page has stopped."""
    if not table.inputs():  # stopped before the table was opened
        return
    counts = count_votes(table, schema)
    manifest = build_manifest(table.name, counts.rows, counts, timing, compute_fingerprint(settings))
    table.finish(manifest)
    progress.record_table(manifest)


def read_rows(table: Table, shard: str, schema: pa.Schema) -> list[Row]:
    """Return the rows of a shard; set a damaged one aside and return none."""
    return list(_read(table, shard, schema).to_pylist())


def _read(table: Table, shard: str, schema: pa.Schema) -> pa.Table:
    try:
        return table.read(shard)
    except DamagedError as problem:
        logging.getLogger(__name__).warning("%s; its votes are left out", problem)
        table.drop_damaged(shard)
        return schema.empty_table()
