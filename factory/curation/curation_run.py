"""A run of curation: its tables, its units of work, and the folder of its temporary files.

A unit is one shard of dialogues, or several small ones, that one task reads, filters and writes.
Ray moves only the names of units.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from factory.config import RunConfig
from factory.curation.curation_inputs import CurationInputs, DialogueSource, find_inputs
from factory.curation.sampling import SPLITS
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, dataset_of, iter_rows, reraise_own_errors
from factory.storage import file_io
from factory.storage.rows import Row
from factory.storage.tables import TEMPORARY, Table, compute_fingerprint

ALL_ROWS = 1 << 40
"""More rows than a unit has."""
UNIT_ROWS = 128
"""Target number of rows of a unit, as a row takes some milliseconds, and a Ray task 20 more."""


@dataclass(frozen=True)
class CurationRun:
    """What every task of a run needs: only names, settings and references."""

    config: RunConfig
    sources: tuple[DialogueSource, ...]
    profiles: Table
    languages: frozenset[str]
    prompts: tuple[str, ...]
    benchmark: Any
    """A reference to the benchmark's texts in Ray's object store, since they have megabytes."""
    people: Any
    """A reference to the names of real people."""
    manifest_fields: dict[str, Any]
    """What the manifests record about the benchmark and the safety rules."""
    fingerprint: str
    passed: str
    """A fingerprint of what decides which dialogues a judge reads."""

    @property
    def rows(self) -> int:
        """The number of dialogues of all sources."""
        return sum(source.rows for source in self.sources)

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The table of each split."""
        return _tables(self.config)

    @property
    def temporary(self) -> str:
        """The folder of the run's temporary files."""
        return file_io.join(temporary_folder(self.config), self.fingerprint)

    @property
    def filtered(self) -> Table:
        """The filter's result for each dialogue, with a shard per unit."""
        return Table(self.temporary, "filter-results")

    def name(self, unit: Row) -> str:
        """Return the name of a unit's shards."""
        return f"{self.sources[unit['source']].name}-{unit['shards'][0]}"

    def dialogues(self, unit: Row) -> pa.Table:
        """Return a unit's rows: the accepted dialogues of its shards, or the first of them."""
        rows = _read(self.sources[unit["source"]].dialogues, unit)
        return rows.filter(pc.equal(rows["status"], "ok")).slice(0, unit["rows"])

    def assignments(self, unit: Row) -> pa.Table:
        """Return the assignments that a unit's dialogues were generated from."""
        return _read(self.sources[unit["source"]].assignments, unit)


def temporary_folder(config: RunConfig) -> str:
    """Return the folder of the temporary files of all runs of curation."""
    return file_io.join(config.output, TEMPORARY, "curated")


def _tables(config: RunConfig) -> dict[str, Table]:
    return {split: layout.CURATED.table(config.output, split=split) for split in SPLITS}


def _read(table: Table, unit: Row) -> pa.Table:
    return pa.concat_tables([table.read(shard) for shard in unit["shards"]])


def begin(config: RunConfig, progress: Progress, judge: Mapping[str, Any] | None = None) -> CurationRun | None:
    """Open both tables, or report that they are finished and return None.

    Args:
        config: the run's settings.
        progress: reports what happens.
        judge: what decides which dialogues its judge rejects; None without one.

    Raises:
        UserError: an input is missing.
    """
    inputs, fingerprint = open_tables(config, progress, judge)
    finished = [table.manifest() for table in _tables(config).values()]
    if all(finished):
        for manifest in finished:
            progress.record_table(manifest or {}, skipped=True)
        return None
    folder = temporary_folder(config)
    for other in file_io.list_names(folder, ""):
        if other != fingerprint:
            file_io.delete_folder(file_io.join(folder, other))
    return CurationRun(
        config,
        inputs.sources,
        inputs.profiles,
        inputs.languages,
        inputs.prompts,
        ray.put(inputs.benchmark),
        ray.put(inputs.people),
        _manifest_fields(config, inputs),
        fingerprint,
        inputs.passed,
    )


def open_tables(
    config: RunConfig, progress: Progress, judge: Mapping[str, Any] | None = None
) -> tuple[CurationInputs, str]:
    """Begin both tables, and return their inputs and the fingerprint of these."""
    inputs = find_inputs(config, judge)
    fingerprint = compute_fingerprint(inputs.settings)
    for table in _tables(config).values():
        table.begin(fingerprint, inputs.settings, progress.print)
    return inputs, fingerprint


def _manifest_fields(config: RunConfig, inputs: CurationInputs) -> dict[str, Any]:
    benchmark, people, safety = inputs.benchmark, inputs.people, config.safety
    return {
        "benchmark": {"place": benchmark.path, "texts": benchmark.texts, "digest": benchmark.digest},
        "safety": {
            "personal_data": list(safety.personal_data),
            "phone_regions": list(safety.phone_regions),
            "toxicity": safety.toxicity,
            "people": people and {"place": people.path, "names": people.names, "digest": people.digest},
        },
    }


@contextmanager
def showing_progress(run: CurationRun, progress: Progress) -> Iterator[None]:
    """Show the run's progress, and raise the error of a failed task as it is."""
    if not run.languages:
        progress.print(language_note(run.config))
    progress.start([table.name for table in run.tables.values()], run.rows)
    try:
        with reraise_own_errors():
            yield
    finally:
        progress.stop()


def language_note(config: RunConfig) -> str:
    """Return why replies may be in any language."""
    return f"profiles.language is {config.profiles.language!r}, which the detector does not know: wrong_language is off"


def units(run: CurationRun) -> list[dict[str, Any]]:
    """Return all units in order; where there is a limit, the first ones of each source."""
    found: list[dict[str, Any]] = []
    for number, source in enumerate(run.sources):
        shards = source.dialogues.shards()
        size = 1 + UNIT_ROWS * len(shards) // ((source.dialogues.manifest() or {})["rows_in"] + 1)
        starts = range(0, len(shards), size)
        of_source = [{"source": number, "shards": shards[start : start + size], "rows": ALL_ROWS} for start in starts]
        found += _limited(run, of_source) if run.config.curation.limit else of_source
    return found


def _limited(run: CurationRun, of_source: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counted = dataset_of(of_source).map(
        lambda unit: {"name": run.name(unit), "rows": run.dialogues(unit).num_rows}, num_cpus=IO_TASK_CPUS
    )
    available = {row["name"]: row["rows"] for row in iter_rows(counted)}
    left, first = run.config.curation.limit or 0, []
    for unit in of_source:
        rows = min(left, available[run.name(unit)])
        first += [{**unit, "rows": rows}] if rows else []
        left -= rows
    return first
