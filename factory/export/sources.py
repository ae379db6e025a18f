"""The sources of an export: finished tables, part by part, and the settings that identify them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.config import RunConfig
from factory.errors import ConfigError, InputError
from factory.export.export_files import FileType, size_of
from factory.export.formats import CHARACTERS, SHAPES, Shape, with_thoughts
from factory.export.speakers import find_speakers, ids_to_numbers
from factory.run_output import layout
from factory.run_output.layout import SPLITS
from factory.storage.rows import Row
from factory.storage.tables import Table

Selection = Literal["curated", "dialogues"]

CHARACTERS_PART = "characters"
SLICE_ROWS = 256
SAMPLED_SHARDS = 8
COUNTED = ("corpus", "strategy", "messages", "output_tokens")
"""The columns for the statistics."""


@dataclass(frozen=True)
class ExportPart:
    """Rows that are exported to files of one name: a split, or the characters."""

    name: str
    tables: tuple[Table, ...]
    shape: Shape
    rows: int
    """The expected number of rows."""
    columns: tuple[str, ...]
    only: np.ndarray | None = None
    """The characters to export, as sorted numbers (`ids_to_numbers`); None for all."""

    @property
    def has_stats(self) -> bool:
        """Whether its rows are dialogues, with the columns of the statistics."""
        return set(COUNTED) <= set(self.columns)

    def read(self, observe: Callable[[pa.Table], None]) -> Iterator[Row]:
        """Yield the exported rows, in the order of tables and shards; `observe` receives the source rows."""
        for table in self.tables:
            for shard in table.shards():
                rows = self._accepted(table, shard)
                for start in range(0, rows.num_rows, SLICE_ROWS):
                    part = rows.slice(start, SLICE_ROWS)
                    observe(part)
                    yield from map(self.shape.convert, part.to_pylist())

    def bytes_per_row(self, file_type: FileType) -> float:
        """Estimate the bytes of a row in a file, from the first rows of some shards across the tables."""
        shards = [(table, shard) for table in self.tables for shard in table.shards()]
        total = rows = 0
        for table, shard in shards[:: -(-len(shards) // SAMPLED_SHARDS)] if shards else []:
            accepted = self._accepted(table, shard).slice(0, SLICE_ROWS)
            converted = list(map(self.shape.convert, accepted.to_pylist()))
            total += size_of(converted, self.shape.schema, file_type)
            rows += len(converted)
        return total / max(1, rows)

    def _accepted(self, table: Table, shard: str) -> pa.Table:
        rows = table.read(shard, list(self.columns))
        rows = rows.filter(pc.equal(rows["status"], "ok"))
        if self.only is None:
            return rows
        numbers = ids_to_numbers(rows["character_id"])
        positions = np.minimum(np.searchsorted(self.only, numbers), len(self.only) - 1)
        return rows.filter(pa.array(self.only[positions] == numbers))


@dataclass(frozen=True)
class Sources:
    """Everything that one export reads."""

    config: RunConfig
    format: str
    what: Selection
    parts: tuple[ExportPart, ...]
    """The splits, and the characters if the format has them."""
    dialogues: tuple[Table, ...]
    """The tables of dialogues behind the rows, for the card."""
    settings: dict[str, Any]
    """The settings that identify this export."""

    @property
    def splits(self) -> tuple[ExportPart, ...]:
        """The parts with dialogues."""
        return tuple(part for part in self.parts if part.name != CHARACTERS_PART)


def find_sources(config: RunConfig, what: Selection, export_format: str, file_type: FileType) -> Sources:
    """Find the finished tables of a run that an export reads.

    Raises:
        ConfigError: a table is missing or not finished.
        InputError: the tables have no row, or do not belong together.
    """
    tables: dict[str, tuple[Table, ...]]
    if what == "curated":
        tables = {split: (layout.CURATED.table(config.output, split=split),) for split in SPLITS}
        dialogues = _curated_dialogues(config, tables["train"][0])
    else:
        dialogues = _all_dialogues(config)
        tables = {"train": dialogues}
    identities = {name: [_identity(table, what) for table in group] for name, group in tables.items()}
    shape = with_thoughts(SHAPES[export_format]) if config.training.learn_thoughts else SHAPES[export_format]
    columns = ("status", *COUNTED, *shape.reads)
    parts = [
        ExportPart(
            name,
            group,
            shape,
            sum(_read_manifest(table, what)["ok"] for table in group),
            tuple(dict.fromkeys(columns)),
        )
        for name, group in tables.items()
    ]
    if not any(part.rows for part in parts):
        raise InputError(
            f"{parts[0].tables[0].path}: no row was accepted; see `rejected` in its .manifest.json for why"
        )
    if export_format == "opencharacter":
        parts.append(_characters(config, dialogues, what, sum(tables.values(), ())))
        identities[CHARACTERS_PART] = [_identity(table, what) for table in parts[-1].tables]
    settings: dict[str, Any] = {"what": what, "format": export_format, "file_type": file_type, "made_of": identities}
    if config.training.learn_thoughts:
        settings["thoughts"] = True
    if parts[-1].only is not None:
        settings["characters"] = "those who speak"
    return Sources(config, export_format, what, tuple(part for part in parts if part.rows), dialogues, settings)


def find_characters(
    config: RunConfig, what: Selection, shape: Shape
) -> tuple[ExportPart, tuple[Table, ...], dict[str, Any]]:
    """Find the characters of a run by themselves.

    Returns:
        The part with those that speak in the curated splits, or all accepted ones; the tables of their dialogues; and
        what identifies the tables.

    Raises:
        ConfigError: a table is missing or not finished.
        InputError: the tables do not belong together.
    """
    curated = tuple(layout.CURATED.table(config.output, split=split) for split in SPLITS) if what == "curated" else ()
    dialogues = _curated_dialogues(config, curated[0]) if curated else ()
    part = _characters(config, dialogues, what, curated, shape)
    return part, dialogues, {table.name: _identity(table, what) for table in (*curated, *part.tables)}


def _curated_dialogues(config: RunConfig, train: Table) -> tuple[Table, ...]:
    """Return the tables that were curated, and check that they are still the same: the card describes their models."""
    _read_manifest(train, "curated")
    tables = []
    for name, _, *used in (train.inputs() or {})["sources"]:
        table = Table(config.output, f"dialogues/{name}")
        if table.manifest() and _identity(table, "curated") != used:
            raise InputError(
                f"{table.path}: was built again after {train.path}; "
                "run `character-factory curate` with this config first"
            )
        tables.append(table)
    return tuple(tables)


def _all_dialogues(config: RunConfig) -> tuple[Table, ...]:
    pairs = [(source.strategy, source.corpus) for source in config.curation.mixture]
    pairs += [(strategy, one.corpus) for one in config.instructions for strategy in config.dialogues.strategies]
    if not pairs:
        raise ConfigError("instructions: the config has no corpus, so there are no dialogues; add one")
    return tuple(
        layout.DIALOGUES.table(config.output, strategy=strategy, corpus=corpus)
        for strategy, corpus in dict.fromkeys(pairs)
    )


def _characters(
    config: RunConfig,
    dialogues: tuple[Table, ...],
    what: Selection,
    speaking: tuple[Table, ...],
    shape: Shape = CHARACTERS,
) -> ExportPart:
    """Return the accepted profiles, after a check that the dialogues were built from them.

    After curation, only characters with a dialogue in the splits are exported: the others include those that the
    safety checks left out.
    """
    profiles = layout.PROFILES.table(config.output)
    identity = _identity(profiles, "dialogues")
    for table in dialogues:
        corpus = (layout.DIALOGUES.parts(table.name) or {})["corpus"]
        assignments = layout.ASSIGNMENTS.table(config.output, corpus=corpus)
        manifest, settings = assignments.manifest(), table.inputs() or {}
        if manifest is None or manifest["fingerprint"] != settings.get("work"):
            raise InputError(
                f"{table.path}: was built from other assignments than the current ones; {_AGAIN[what]} first"
            )
        if (assignments.inputs() or {})["profiles"] != identity:
            raise InputError(f"{profiles.path}: was built again after {table.path}; {_AGAIN[what]} first")
    columns = ("status", *shape.reads)
    if what == "dialogues":
        return ExportPart(CHARACTERS_PART, (profiles,), shape, _read_manifest(profiles, what)["ok"], columns)
    speakers = find_speakers(speaking)
    return ExportPart(CHARACTERS_PART, (profiles,), shape, len(speakers), columns, speakers)


_AGAIN = {
    "curated": "run `character-factory synthesize` and `character-factory curate` with this config",
    "dialogues": "run `character-factory synthesize` with this config",
}


def _read_manifest(table: Table, what: Selection) -> dict[str, Any]:
    manifest = table.manifest()
    if manifest is None:
        other = ", or give --what dialogues" if what == "curated" else ""
        raise ConfigError(f"{table.path}: there is no finished table; {_AGAIN[what]} first{other}")
    return manifest


def _identity(table: Table, what: Selection) -> list[str]:
    """Return what identifies a table: replies are sampled, so the same settings build other ones."""
    manifest = _read_manifest(table, what)
    return [manifest["fingerprint"], manifest["finished"]]
