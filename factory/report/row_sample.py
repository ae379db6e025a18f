"""The rows that the report shows: those whose ids have the lowest hashes, so the same ones each time.

A table is scanned by its narrow columns, and a bounded sample of it is kept: 400 characters with four pairs of
character and instruction each, and 200 rejected rows. Their texts are read afterwards, by location.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.records import content_id
from factory.run_output.folder import RunFolder, RunTable
from factory.storage.tables import REJECTED

CHARACTERS = 400
CASES_PER_CHARACTER = 4
"""Maximum pairs of a character and an instruction shown per character."""
REJECTED_ROWS = 200
ROWS_PER_REASON = 25
"""Maximum rejected rows of one table and reason, so that rare reasons are shown too."""


class RowLocation(NamedTuple):
    """Where a row is stored."""

    table: str
    shard: str
    row: int


def rank(*parts: str) -> int:
    """Return a number that is the same for the same strings and independent of their order."""
    return int(content_id("report", *parts), 16)


@dataclass
class StatusCounts:
    """Number of rows read by status; a malformed row is neither accepted nor rejected."""

    ok: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    malformed: int = 0

    @property
    def rows(self) -> int:
        """The number of all rows."""
        return self.ok + self.rejected.total() + self.malformed


@dataclass
class SpeakerSample:
    """The characters with the lowest ranks among those in the dialogues, and the cases of each.

    A case is a character with an instruction: its generated and its rewritten dialogue stay together.
    """

    size: int = CHARACTERS
    cases_each: int = CASES_PER_CHARACTER
    kept: dict[str, dict[tuple[int, str, str], list[RowLocation]]] = field(default_factory=dict)
    """Cases by character: each (rank, corpus, instruction) with the locations of its dialogues."""
    _ranks: list[tuple[int, str]] = field(default_factory=list)

    def add(self, corpus: str, table: str, shard: str, rows: pa.Table) -> None:
        """Consider some rows with `character_id` and `instruction_id`; null ids are skipped."""
        for character in pc.unique(rows["character_id"]).to_pylist():
            if character is not None and character not in self.kept:
                self._consider(character)
        chosen = pc.is_in(rows["character_id"], pa.array(list(self.kept), pa.string()))
        for row in np.flatnonzero(chosen.to_numpy(zero_copy_only=False)).tolist():
            character, instruction = (rows[name][row].as_py() for name in ("character_id", "instruction_id"))
            if instruction is not None:
                self._add_case(
                    character, (rank(character, corpus, instruction), corpus, instruction), table, shard, row
                )

    def _consider(self, character: str) -> None:
        entry = (-rank(character), character)
        if len(self._ranks) < self.size:
            heapq.heappush(self._ranks, entry)
        else:
            _, removed = heapq.heappushpop(self._ranks, entry)
            if removed == character:
                return
            del self.kept[removed]
        self.kept[character] = {}

    def _add_case(self, character: str, case: tuple[int, str, str], table: str, shard: str, row: int) -> None:
        cases = self.kept[character]
        cases.setdefault(case, []).append(RowLocation(table, shard, row))
        if len(cases) > self.cases_each:
            del cases[max(cases)]


@dataclass
class LowestRanks:
    """The characters with the lowest ranks, and their locations."""

    size: int
    kept: list[tuple[int, str, RowLocation]] = field(default_factory=list)
    """A heap: ranks are negative, the highest first."""

    def add(self, character: str, location: RowLocation) -> None:
        """Consider a character."""
        entry = (-rank(character), character, location)
        if len(self.kept) < self.size:
            heapq.heappush(self.kept, entry)
        else:
            heapq.heappushpop(self.kept, entry)

    def locations(self) -> dict[str, RowLocation]:
        """Return the location of each, the lowest rank first."""
        return {character: location for _, character, location in sorted(self.kept, reverse=True)}


@dataclass
class RejectSample:
    """A sample of the rejected rows of all tables, by table and reason."""

    per_reason: int = ROWS_PER_REASON
    kept: dict[tuple[str, str], list[tuple[int, RowLocation]]] = field(default_factory=dict)

    def add(self, table: str, shard: str, rows: pa.Table) -> None:
        """Consider the rejected rows among some with `status` and `reason`."""
        status, reasons = rows["status"].to_numpy(), rows["reason"].to_numpy()
        rejected = np.flatnonzero(status == "rejected")
        for reason in {str(reason) for reason in reasons[rejected]}:
            of_reason = rejected[reasons[rejected].astype(str) == reason]
            ranks = _hash_numbers(rank(table, shard), of_reason)
            lowest = np.argsort(ranks, kind="stable")[: self.per_reason].tolist()
            before = self.kept.get((table, reason), [])
            new = [(int(ranks[n]), RowLocation(table, shard, int(of_reason[n]))) for n in lowest]
            if before or len(self.kept) < REJECTED_ROWS:
                self.kept[table, reason] = sorted(before + new)[: self.per_reason]

    def locations(self) -> list[RowLocation]:
        """Return the rows to show: first one of every reason, then a second one, up to the limit."""
        turns = sorted((turn, rows[turn]) for rows in self.kept.values() for turn in range(len(rows)))
        return sorted(location for _, (_, location) in turns[:REJECTED_ROWS])


def _hash_numbers(seed: int, numbers: np.ndarray) -> np.ndarray:
    """Hash numbers to 64 bits (the finalizer of splitmix64); a Python hash per row takes a second per million."""
    x = numbers.astype(np.uint64) + np.uint64(seed)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def count_statuses(rows: pa.Table, id_column: str, counts: StatusCounts) -> np.ndarray:
    """Count rows by their status.

    Args:
        rows: rows with `status`, `reason` and the id column.
        id_column: the column that an accepted row must have.
        counts: where the rows are added.

    Returns:
        bool of shape (rows,): the accepted ones.
    """
    has_id = pc.is_valid(rows[id_column]).to_numpy()
    status = rows["status"].to_numpy()
    accepted = (status == "ok") & has_id
    rejected = status == "rejected"
    counts.ok += int(accepted.sum())
    counts.rejected.update(map(str, rows["reason"].to_numpy()[rejected]))
    counts.malformed += int((~accepted & ~rejected).sum())
    return np.asarray(accepted)


def fetch_rows(
    folder: RunFolder, tables: Mapping[str, RunTable], locations: Iterable[RowLocation], columns: list[str]
) -> Iterator[tuple[RowLocation, dict[str, Any]]]:
    """Yield the rows at some locations, by table and shard."""
    wanted: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for location in sorted(set(locations)):
        wanted[location.table][location.shard].append(location.row)
    for name, shards in wanted.items():
        for shard, rows in folder.read(tables[name], columns, shards):
            # Fewer if a run has rewritten the file in the meantime.
            for row, values in zip(shards[shard], rows.to_pylist(), strict=False):
                yield RowLocation(name, shard, row), values


def find_rows(
    folder: RunFolder,
    table: RunTable,
    id_column: str,
    ids: Iterable[str],
    columns: list[str],
    counted: tuple[RejectSample, StatusCounts] | None = None,
    key: Callable[[Mapping[str, Any]], str] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return rows of a table by their ids; of equal ids the first one.

    Args:
        folder: the run's folder.
        table: the table.
        id_column: the column of the ids.
        ids: the ids to find.
        columns: the columns to read of their rows.
        counted: where, in the same pass, rejected rows are added and all rows are counted.
        key: what rows are returned by, if not by their ids.
    """
    values = pa.array(sorted(set(ids)), pa.string())
    locations: list[RowLocation] = []
    narrow = [id_column, *(["status", "reason"] if counted else [])]
    for shard, rows in folder.read(table, narrow):
        hits = pc.is_in(rows[id_column], values).to_numpy(zero_copy_only=False)
        locations += [RowLocation(table.name, shard, row) for row in np.flatnonzero(hits).tolist()]
        if counted:
            rejects, counts = counted
            rejects.add(table.name, shard, rows)
            count_statuses(rows, id_column, counts)
    found: dict[str, dict[str, Any]] = {}
    for _, row in fetch_rows(folder, {table.name: table}, locations, [id_column, *columns]):
        found.setdefault(key(row) if key else row[id_column], row)
    return found


def add_rejected_input(folder: RunFolder, table: RunTable, rejects: RejectSample) -> None:
    """Add the rejected rows of an input, which are in files of their own."""
    shards = tuple(name for name in table.shards if name.startswith(REJECTED))
    for shard, rows in folder.read(RunTable(table.table, table.manifest, shards), ["status", "reason"]):
        rejects.add(table.name, shard, rows)
