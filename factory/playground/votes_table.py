"""The table `feedback`: one row per reply with its last vote, however often a vote is sent."""

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory.errors import DamagedError
from factory.records import Counts, Feedback
from factory.storage import file_io
from factory.storage.rows import count_rows, ok_row
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
    return Table(output, "feedback")


def open_table(output: str) -> Table:
    """Return the table, marked as incomplete, for more votes."""
    table = votes_table(output)
    table.begin(compute_fingerprint(SETTINGS), SETTINGS)
    file_io.delete_file(file_io.join(table.path, MANIFEST))
    return table


def write_votes(table: Table, votes: Iterable[Vote]) -> None:
    """Write votes; they are stored when it returns.

    The vote with the highest number on a reply wins, in whatever order votes arrive; writing a vote
    again changes nothing. The table must have only one writer.
    """
    shards: defaultdict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        shards[vote.feedback.feedback_id[:SHARD_DIGITS]].append(vote)
    existing = set(table.shards())
    for shard, new in shards.items():
        before = _read(table, shard).to_pylist() if shard in existing else []
        rows = {row["feedback_id"]: row for row in before}
        for vote in new:
            _merge(rows, vote)
        after = [rows[feedback_id] for feedback_id in sorted(rows)]
        if after != before:
            table.write(shard, after, FEEDBACK)


def _merge(rows: dict[str, Any], vote: Vote) -> None:
    new = ok_row(vote.feedback, model=vote.model, prompt=vote.prompt)
    old = rows.get(new["feedback_id"])
    # Not by time: after a clock was set back, a vote would be lost.
    if old is None or new["number"] > old["number"]:
        rows[new["feedback_id"]] = new


def count_votes(table: Table) -> Counts:
    """Return the counts of all shards."""
    total = Counts()
    for shard in table.shards():
        total += count_rows(_read(table, shard))
    return total


def _read(table: Table, shard: str) -> pa.Table:
    """Return the votes of a shard; set a damaged one aside and return no votes."""
    try:
        return table.read(shard)
    except DamagedError as problem:
        logging.getLogger(__name__).warning("%s; its votes are left out", problem)
        table.drop_damaged(shard)
        return FEEDBACK.empty_table()
