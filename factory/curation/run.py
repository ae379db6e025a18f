"""One run of curation: its inputs cut into units, its tables, and where its intermediate files lie.

A unit is a shard of dialogues, or some small ones in a row: read, judged and written in one task each.
Ray moves names of units.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from factory.config import RunConfig
from factory.curation.inputs import Inputs, Source, find_inputs
from factory.curation.rules.context import RuleSettings
from factory.curation.sampling import SPLITS
from factory.runtime.progress import Progress
from factory.runtime.ray_session import dataset_of, iter_rows, reraise_own_errors
from factory.storage import file_io
from factory.storage.rows import Row
from factory.storage.tables import TEMPORARY, Table, compute_fingerprint


@dataclass(frozen=True)
class Run:
    """What every task knows of the run: names and settings alone."""

    config: RunConfig
    sources: tuple[Source, ...]
    profiles: Table
    book: RuleSettings
    benchmark: Any
    """A reference to it in Ray's object store, since it has megabytes."""
    people: Any
    """Likewise."""
    against: dict[str, Any]
    """What the manifest says of what dialogues are held against."""
    fingerprint: str

    @property
    def rows(self) -> int:
        """The dialogues of all sources."""
        return sum(source.rows for source in self.sources)

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The table of each split."""
        return _tables(self.config)

    @property
    def scratch(self) -> str:
        """The folder of the run's intermediate files."""
        return file_io.join(self.config.output, SCRATCH, self.fingerprint)

    @property
    def verdicts(self) -> Table:
        """What the examination says of each dialogue, a shard a unit."""
        return Table(self.scratch, "verdicts")

    def name(self, unit: Row) -> str:
        """The name of a unit's shards."""
        return f"{self.sources[unit['source']].name}-{unit['shards'][0]}"

    def dialogues(self, unit: Row) -> pa.Table:
        """A unit's rows: the accepted dialogues of its shards, or the first of them."""
        rows = _read(self.sources[unit["source"]].dialogues, unit)
        return rows.filter(pc.equal(rows["status"], "ok")).slice(0, unit["rows"])

    def assignments(self, unit: Row) -> pa.Table:
        """The rows of work that a unit's dialogues were made of."""
        return _read(self.sources[unit["source"]].assignments, unit)


def _tables(config: RunConfig) -> dict[str, Table]:
    return {split: Table(config.output, f"curated/{split}") for split in SPLITS}


def _read(table: Table, unit: Row) -> pa.Table:
    return pa.concat_tables([table.read(shard) for shard in unit["shards"]])


SCRATCH = f"{TEMPORARY}/curated"
ALL = 1 << 40
"""More rows than a unit has."""
UNIT_ROWS = 128
"""About so many at least: a row takes about 3 ms, a task of Ray's 20 besides."""


def begin(config: RunConfig, progress: Progress) -> Run | None:
    """Open both tables, or note that they are finished and return None.

    Raises:
        UserError: an input is missing.
    """
    inputs, fingerprint = open_tables(config, progress)
    finished = [table.manifest() for table in _tables(config).values()]
    if all(finished):
        for manifest in finished:
            progress.done(manifest or {}, skipped=True)
        return None
    for other in file_io.list_names(file_io.join(config.output, SCRATCH), ""):
        if other != fingerprint:
            file_io.delete_folder(file_io.join(config.output, SCRATCH, other))
    return Run(
        config,
        inputs.sources,
        inputs.profiles,
        inputs.book,
        ray.put(inputs.benchmark),
        ray.put(inputs.people),
        _against(config, inputs),
        fingerprint,
    )


def open_tables(config: RunConfig, progress: Progress) -> tuple[Inputs, str]:
    """Begin both tables; returns what they are made of, and its fingerprint."""
    inputs = find_inputs(config)
    fingerprint = compute_fingerprint(inputs.settings)
    for table in _tables(config).values():
        table.begin(fingerprint, inputs.settings, progress.say)
    return inputs, fingerprint


def _against(config: RunConfig, inputs: Inputs) -> dict[str, Any]:
    benchmark, people, safety = inputs.benchmark, inputs.people, config.safety
    return {
        "benchmark": {"place": benchmark.place, "texts": benchmark.texts, "digest": benchmark.digest},
        "safety": {
            "personal_data": list(safety.personal_data),
            "phone_regions": list(safety.phone_regions),
            "toxicity": safety.toxicity,
            "people": people and {"place": people.place, "names": people.names, "digest": people.digest},
        },
    }


@contextmanager
def at_work(run: Run, progress: Progress) -> Iterator[None]:
    """Show how far the run is; a failure in a task is told as itself."""
    if not run.book.languages:
        progress.say(language_note(run.config))
    progress.begin([table.name for table in run.tables.values()], run.rows)
    try:
        with reraise_own_errors():
            yield
    finally:
        progress.finish()


def language_note(config: RunConfig) -> str:
    """Why replies may be in any language."""
    return f"profiles.language is {config.profiles.language!r}, which the detector does not know: wrong_language is off"


def units(run: Run) -> list[dict[str, Any]]:
    """All units, in order; where there is a limit, the first of each source."""
    found: list[dict[str, Any]] = []
    for number, source in enumerate(run.sources):
        shards = source.dialogues.shards()
        size = 1 + UNIT_ROWS * len(shards) // ((source.dialogues.manifest() or {})["rows_in"] + 1)
        starts = range(0, len(shards), size)
        mine = [{"source": number, "shards": shards[start : start + size], "rows": ALL} for start in starts]
        found += _first(run, mine) if run.config.curation.limit else mine
    return found


def _first(run: Run, mine: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counted = dataset_of(mine).map(
        lambda unit: {"name": run.name(unit), "rows": run.dialogues(unit).num_rows}, num_cpus=0.5
    )
    there = {row["name"]: row["rows"] for row in iter_rows(counted)}
    left, first = run.config.curation.limit or 0, []
    for unit in mine:
        rows = min(left, there[run.name(unit)])
        first += [{**unit, "rows": rows}] if rows else []
        left -= rows
    return first
