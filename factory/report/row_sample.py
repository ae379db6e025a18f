"""Which rows of a run are shown: those whose ids have the lowest hashes, so the same ones each time.

A table is read in passing, by the columns that decide. What is kept of it is bounded: 400 characters
with four pairs of character and instruction each, and 200 rejected rows. Their texts are read
afterwards, by their places.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.records import content_id
from factory.run_output.folder import Folder, Found
from factory.storage.tables import REJECTED

CHARACTERS = 400
CASES = 4
"""The most pairs of a character and an instruction that are shown of one character."""
REJECTED_ROWS = 200
A_REASON = 25
"""The most rejected rows of one table and reason, so that a rare one is seen too."""


class Place(NamedTuple):
    """Where a row stands."""

    table: str
    shard: str
    row: int


def rank(*parts: str) -> int:
    """A number that the same strings always have, and that has nothing to do with their order."""
    return int(content_id("report", *parts), 16)


@dataclass
class Tally:
    """How many rows of each kind were read; a malformed one is neither accepted nor rejected."""

    ok: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    malformed: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return self.ok + self.rejected.total() + self.malformed


@dataclass
class Speakers:
    """The characters with the lowest ranks among those that rows name, and the cases of each.

    A case is a character with an instruction: its generated and its rewritten dialogue stay together.
    """

    size: int = CHARACTERS
    cases_each: int = CASES
    kept: dict[str, dict[tuple[int, str, str], list[Place]]] = field(default_factory=dict)
    """Cases by character: each (rank, corpus, instruction) with the places of its dialogues."""
    seen: int = 0
    _ranks: list[tuple[int, str]] = field(default_factory=list)

    def offer(self, corpus: str, table: str, shard: str, rows: pa.Table) -> None:
        """Look at some rows with `character_id` and `instruction_id`; null ids are passed over."""
        for character in pc.unique(rows["character_id"]).to_pylist():
            if character is not None and character not in self.kept:
                self._enter(character)
        chosen = pc.is_in(rows["character_id"], pa.array(list(self.kept), pa.string()))
        for place in np.flatnonzero(chosen.to_numpy(zero_copy_only=False)).tolist():
            character, instruction = (rows[name][place].as_py() for name in ("character_id", "instruction_id"))
            if instruction is not None:
                self._add(character, (rank(character, corpus, instruction), corpus, instruction), table, shard, place)

    def _enter(self, character: str) -> None:
        entry = (-rank(character), character)
        if len(self._ranks) < self.size:
            heapq.heappush(self._ranks, entry)
        else:
            _, out = heapq.heappushpop(self._ranks, entry)
            if out == character:
                return
            del self.kept[out]
        self.kept[character] = {}

    def _add(self, character: str, case: tuple[int, str, str], table: str, shard: str, row: int) -> None:
        cases = self.kept[character]
        cases.setdefault(case, []).append(Place(table, shard, row))
        if len(cases) > self.cases_each:
            del cases[max(cases)]


@dataclass
class Lowest:
    """The characters with the lowest ranks, and where they stand."""

    size: int
    kept: list[tuple[int, str, Place]] = field(default_factory=list)
    """A heap: ranks are negative, the highest first."""

    def offer(self, character: str, place: Place) -> None:
        """Look at one of them."""
        entry = (-rank(character), character, place)
        if len(self.kept) < self.size:
            heapq.heappush(self.kept, entry)
        else:
            heapq.heappushpop(self.kept, entry)

    def places(self) -> dict[str, Place]:
        """Where each stands, the lowest first."""
        return {character: place for _, character, place in sorted(self.kept, reverse=True)}


@dataclass
class Refused:
    """Rejected rows of all tables, some of each table and reason."""

    a_reason: int = A_REASON
    kept: dict[tuple[str, str], list[tuple[int, Place]]] = field(default_factory=dict)

    def offer(self, table: str, shard: str, rows: pa.Table) -> None:
        """Look at the rejected rows among some with `status` and `reason`."""
        status, reasons = rows["status"].to_numpy(), rows["reason"].to_numpy()
        refused = np.flatnonzero(status == "rejected")
        for reason in {str(reason) for reason in reasons[refused]}:
            mine = refused[reasons[refused].astype(str) == reason]
            ranks = _mixed(rank(table, shard), mine)
            lowest = np.argsort(ranks, kind="stable")[: self.a_reason].tolist()
            there = self.kept.get((table, reason), [])
            new = [(int(ranks[n]), Place(table, shard, int(mine[n]))) for n in lowest]
            if there or len(self.kept) < REJECTED_ROWS:
                self.kept[table, reason] = sorted(there + new)[: self.a_reason]

    def places(self) -> list[Place]:
        """The rows that are shown: first one of every reason, then a second one, up to the limit."""
        turns = sorted((turn, rows[turn]) for rows in self.kept.values() for turn in range(len(rows)))
        return sorted(place for _, (_, place) in turns[:REJECTED_ROWS])


def _mixed(seed: int, numbers: np.ndarray) -> np.ndarray:
    """Numbers to 64-bit hashes (the finaliser of splitmix64); a Python hash a row takes a second a million."""
    x = numbers.astype(np.uint64) + np.uint64(seed)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def tally(rows: pa.Table, identity: str, into: Tally) -> np.ndarray:
    """Count rows by their status.

    Args:
        rows: with `status`, `reason` and the identity's column.
        identity: the column that an accepted row must have.
        into: where they are counted.

    Returns:
        bool of shape (rows,): the accepted ones.
    """
    there = pc.is_valid(rows[identity]).to_numpy()
    status = rows["status"].to_numpy()
    good = (status == "ok") & there
    refused = status == "rejected"
    into.ok += int(good.sum())
    into.rejected.update(map(str, rows["reason"].to_numpy()[refused]))
    into.malformed += int((~good & ~refused).sum())
    return np.asarray(good)


def fetch(folder: Folder, found: Mapping[str, Found], places: Iterable[Place], columns: list[str]) -> Iterator[Any]:
    """The rows at some places, each as (place, dict), by table and shard."""
    wanted: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place in sorted(set(places)):
        wanted[place.table][place.shard].append(place.row)
    for name, shards in wanted.items():
        for shard, rows in folder.read(found[name], columns, shards):
            # Fewer where a run has written the file anew in the meantime.
            for row, values in zip(shards[shard], rows.to_pylist(), strict=False):
                yield Place(name, shard, row), values


def matching(
    folder: Folder,
    found: Found,
    identity: str,
    ids: Iterable[str],
    columns: list[str],
    account: tuple[Refused, Tally] | None = None,
) -> dict[str, dict[str, Any]]:
    """Rows of a table by their ids; of equal ids the first one.

    Args:
        folder: where the table is.
        found: the table.
        identity: the column of the ids.
        ids: those that are wanted.
        columns: what is wanted of their rows.
        account: takes in the rejected rows, and counts all, in passing.
    """
    values = pa.array(sorted(set(ids)), pa.string())
    places: list[Place] = []
    keys = [identity, *(["status", "reason"] if account else [])]
    for shard, rows in folder.read(found, keys):
        hits = pc.is_in(rows[identity], values).to_numpy(zero_copy_only=False)
        places += [Place(found.name, shard, row) for row in np.flatnonzero(hits).tolist()]
        if account:
            refused, counts = account
            refused.offer(found.name, shard, rows)
            tally(rows, identity, counts)
    rows_there: dict[str, dict[str, Any]] = {}
    for _, row in fetch(folder, {found.name: found}, places, [identity, *columns]):
        rows_there.setdefault(row[identity], row)
    return rows_there


def input_refused(folder: Folder, found: Found, refused: Refused) -> None:
    """Take in the rejected rows of an input, which stand in files of their own."""
    apart = tuple(name for name in found.shards if name.startswith(REJECTED))
    for shard, rows in folder.read(Found(found.table, found.manifest, apart), ["status", "reason"]):
        refused.offer(found.name, shard, rows)
