"""What an export is made of: finished tables, part by part, and what tells them from others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.config import RunConfig
from factory.errors import ConfigError, InputError
from factory.export.export_files import FileType, size_of
from factory.export.formats import CHARACTERS, SHAPES, Format, Shape
from factory.storage import file_io
from factory.storage.rows import Row
from factory.storage.tables import Table

What = Literal["curated", "dialogues"]

SPLITS = ("train", "validation")
CHARACTERS_PART = "characters"
SLICE_ROWS = 256
SAMPLED_SHARDS = 8
MERGED_AT_ONCE = 1 << 22
"""So many numbers of characters are gathered before those that are there twice go."""
COUNTED = ("corpus", "strategy", "messages", "output_tokens")
"""What the figures are counted from."""


@dataclass(frozen=True)
class Part:
    """Rows that are exported to files of one name: a split, or the characters."""

    name: str
    tables: tuple[Table, ...]
    shape: Shape
    rows: int
    """How many there must be."""
    columns: tuple[str, ...]
    only: np.ndarray | None = None
    """The characters whose rows are exported, as sorted numbers (`numbers_of`); None: those of all."""

    def read(self, passing: Callable[[pa.Table], None]) -> Iterator[Row]:
        """The exported rows, in the order of tables and shards; `passing` sees the rows that they are made of."""
        for table in self.tables:
            for shard in table.shards():
                rows = self._accepted(table, shard)
                for start in range(0, rows.num_rows, SLICE_ROWS):
                    some = rows.slice(start, SLICE_ROWS)
                    passing(some)
                    yield from map(self.shape.convert, some.to_pylist())

    def bytes_per_row(self, file_type: FileType) -> float:
        """About what a row takes in a file, from the first rows of some shards all over the tables."""
        shards = [(table, shard) for table in self.tables for shard in table.shards()]
        total = rows = 0
        for table, shard in shards[:: -(-len(shards) // SAMPLED_SHARDS)] if shards else []:
            some = self._accepted(table, shard).slice(0, SLICE_ROWS)
            made = list(map(self.shape.convert, some.to_pylist()))
            total += size_of(made, self.shape.schema, file_type)
            rows += len(made)
        return total / max(1, rows)

    def _accepted(self, table: Table, shard: str) -> pa.Table:
        rows = table.read(shard, list(self.columns))
        rows = rows.filter(pc.equal(rows["status"], "ok"))
        if self.only is None:
            return rows
        numbers = numbers_of(rows["character_id"])
        places = np.minimum(np.searchsorted(self.only, numbers), len(self.only) - 1)
        return rows.filter(pa.array(self.only[places] == numbers))


@dataclass(frozen=True)
class Sources:
    """All that one export reads."""

    config: RunConfig
    format: Format
    what: What
    parts: tuple[Part, ...]
    """The splits, and the characters where the format has them."""
    dialogues: tuple[Table, ...]
    """The tables of dialogues that the rows come from, for the card."""
    settings: dict[str, Any]
    """What tells this export from another one."""

    @property
    def splits(self) -> tuple[Part, ...]:
        """The parts that are dialogues."""
        return tuple(part for part in self.parts if part.name != CHARACTERS_PART)


def find_sources(config: RunConfig, what: What, form: Format, file_type: FileType) -> Sources:
    """The finished tables of a run that an export reads.

    Raises:
        ConfigError: one is not there, or not finished.
        InputError: they hold no row, or do not belong together.
    """
    tables: dict[str, tuple[Table, ...]]
    if what == "curated":
        tables = {split: (Table(config.output, f"curated/{split}"),) for split in SPLITS}
        dialogues = _behind_curated(config, tables["train"][0])
    else:
        dialogues = _all_dialogues(config)
        tables = {"train": dialogues}
    made = {name: [_made(table, what) for table in some] for name, some in tables.items()}
    columns = ("status", *COUNTED, *SHAPES[form].reads)
    parts = [
        Part(
            name, some, SHAPES[form], sum(_finished(table, what)["ok"] for table in some), tuple(dict.fromkeys(columns))
        )
        for name, some in tables.items()
    ]
    if not any(part.rows for part in parts):
        raise InputError(
            f"{parts[0].tables[0].path}: no row was accepted; see `rejected` in its .manifest.json for why"
        )
    if form == "opencharacter":
        parts.append(_characters(config, dialogues, what, sum(tables.values(), ())))
        made[CHARACTERS_PART] = [_made(table, what) for table in parts[-1].tables]
    settings: dict[str, Any] = {"what": what, "format": form, "file_type": file_type, "made_of": made}
    if parts[-1].only is not None:
        settings["characters"] = "those who speak"
    return Sources(config, form, what, tuple(part for part in parts if part.rows), dialogues, settings)


def _behind_curated(config: RunConfig, train: Table) -> tuple[Table, ...]:
    """The tables that were curated; the card tells of their models, so others must not stand in their place."""
    _finished(train, "curated")
    tables = []
    for name, _, *made in (train.inputs() or {})["sources"]:
        table = Table(config.output, f"dialogues/{name}")
        if table.manifest() and _made(table, "curated") != made:
            raise InputError(
                f"{table.path}: was made anew after {train.path}; run `make curate` with this config first"
            )
        tables.append(table)
    return tuple(tables)


def _all_dialogues(config: RunConfig) -> tuple[Table, ...]:
    names = [f"{source.strategy}-{source.corpus}" for source in config.curation.mixture]
    names += [f"{strategy}-{one.corpus}" for one in config.instructions for strategy in config.dialogues.strategies]
    if not names:
        raise ConfigError("instructions: the config names no corpus, so there are no dialogues; give one")
    return tuple(Table(config.output, f"dialogues/{name}") for name in dict.fromkeys(names))


def _characters(config: RunConfig, dialogues: tuple[Table, ...], what: What, speaking: tuple[Table, ...]) -> Part:
    """The accepted profiles, known to be those that the dialogues were made of.

    After curation they are those of the characters that speak in the splits alone: of the others are the
    people whom the safety gate left out.
    """
    profiles = Table(config.output, "profiles")
    made = _made(profiles, "dialogues")
    for table in dialogues:
        work = Table(config.output, f"assignments/{table.name.partition('-')[2]}")
        assigned, told = work.manifest(), table.inputs() or {}
        if assigned is None or assigned["fingerprint"] != told.get("work"):
            raise InputError(f"{table.path}: was made of other assignments than are there; {_AGAIN[what]} first")
        if (work.inputs() or {})["profiles"] != made:
            raise InputError(f"{profiles.path}: was made anew after {table.path}; {_AGAIN[what]} first")
    columns = ("status", *CHARACTERS.reads)
    if what == "dialogues":
        return Part(CHARACTERS_PART, (profiles,), CHARACTERS, _finished(profiles, what)["ok"], columns)
    speakers = _speakers(speaking)
    return Part(CHARACTERS_PART, (profiles,), CHARACTERS, len(speakers), columns, speakers)


def _speakers(tables: tuple[Table, ...]) -> np.ndarray:
    """The characters that have an accepted row, as sorted numbers: 8 bytes each, whatever the tables hold."""
    # Arrow's data sets bring pandas, which takes a second and which other exports need not wait for.
    import pyarrow.dataset as ds

    from factory.run_output.scan import Place

    found = np.zeros(0, np.uint64)
    for table in tables:
        new, waiting = [found], 0
        for batch in Place(table.path, file_io.sizes(table.path)).scan(["character_id"], ds.field("status") == "ok"):
            new.append(np.unique(numbers_of(batch["character_id"])))
            waiting += len(new[-1])
            if waiting > MERGED_AT_ONCE:
                new, waiting = [np.unique(np.concatenate(new))], 0
        found = np.unique(np.concatenate(new))
    return found


def numbers_of(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Ids as unsigned 64-bit numbers, which are in the order of their text."""
    return np.frombuffer(bytes.fromhex("".join(ids.to_pylist())), ">u8").astype(np.uint64)


_AGAIN = {
    "curated": "run `make synthesize` and `make curate` with this config",
    "dialogues": "run `make synthesize` with this config",
}


def _finished(table: Table, what: What) -> dict[str, Any]:
    manifest = table.manifest()
    if manifest is None:
        other = ", or give --what dialogues" if what == "curated" else ""
        raise ConfigError(f"{table.path}: there is no finished table; {_AGAIN[what]} first{other}")
    return manifest


def _made(table: Table, what: What) -> list[str]:
    """What tells a table from another: replies are sampled, so the same settings make other ones again."""
    manifest = _finished(table, what)
    return [manifest["fingerprint"], manifest["finished"]]
