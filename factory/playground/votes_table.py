"""Votes to the table `feedback`: each reply's last vote is one row, however often it is told."""

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

SETTINGS = {"rows": "one a reply: the last vote on it"}
"""What decides the rows; a model or prompt stands in each row, so one table takes the votes of all runs."""
SHARD_DIGITS = 2
"""A shard has the rows whose id begins alike: 256 shards, each rewritten whole for a vote (20 ms at 500 rows)."""


@dataclass(frozen=True)
class Vote:
    """A vote and what made the reply: the weights' name, and the reference of the system prompt."""

    feedback: Feedback
    model: str
    prompt: str


def table_of(output: str) -> Table:
    """The table of a run's votes."""
    return Table(output, "feedback")


def open_table(output: str) -> Table:
    """The table, ready for more votes: it is not whole any more."""
    table = table_of(output)
    table.begin(compute_fingerprint(SETTINGS), SETTINGS)
    file_io.delete_file(file_io.join(table.path, MANIFEST))
    return table


def keep(table: Table, votes: Iterable[Vote]) -> None:
    """Write votes; on return they are stored.

    Of the votes on one reply the one that was given last stays, in whatever order they come, and a vote
    that is told again changes nothing. There must be one writer.
    """
    shards: defaultdict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        shards[vote.feedback.feedback_id[:SHARD_DIGITS]].append(vote)
    there = set(table.shards())
    for shard, new in shards.items():
        before = _read(table, shard).to_pylist() if shard in there else []
        rows = {row["feedback_id"]: row for row in before}
        for vote in new:
            _lay_over(rows, vote)
        after = [rows[feedback_id] for feedback_id in sorted(rows)]
        if after != before:
            table.write(shard, after, FEEDBACK)


def _lay_over(rows: dict[str, Any], vote: Vote) -> None:
    new = ok_row(vote.feedback, model=vote.model, prompt=vote.prompt)
    old = rows.get(new["feedback_id"])
    # Tables of version 0.1 have no numbers. Never by time: a clock that is set back would lose a vote.
    if old is None or new["number"] > (old.get("number") or 0):
        rows[new["feedback_id"]] = new


def counts_of(table: Table) -> Counts:
    """The accounts of all votes, shard by shard."""
    total = Counts()
    for shard in table.shards():
        total += count_rows(_read(table, shard))
    return total


def _read(table: Table, shard: str) -> pa.Table:
    """Return the votes of a shard; none where it cannot be read, and is kept apart."""
    try:
        return table.read(shard)
    except DamagedError as problem:
        logging.getLogger(__name__).warning("%s; its votes are left out", problem)
        table.drop_damaged(shard)
        return FEEDBACK.empty_table()
