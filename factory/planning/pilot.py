"""Measurements from an earlier small run: a sample of the rows of its tables, and the speed in their manifests."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np

from factory.errors import InputError
from factory.planning.uncertainty import Draws
from factory.run_output import layout
from factory.storage import file_io
from factory.storage.archive import is_outside_tables
from factory.storage.tables import MANIFEST, Table

SAMPLE_ROWS = 1024
SAMPLE_SHARDS = 64
"""A shard holds rows with similar ids, which are random: any row of it is as good as another."""
COLUMNS = ["prompt_tokens", "output_tokens", "cached_tokens"]

Kind = Literal["profiles", "generate", "rewrite", "verdicts", "answers", "general", "examples", "judgments"]
_KINDS: dict[layout.TableKind | None, Kind] = {
    layout.PROFILES: "profiles", layout.BENCHMARK_PROFILES: "profiles", layout.JUDGED: "verdicts",
    layout.ANSWERS: "answers", layout.GENERAL_RESULTS: "general", layout.SCORE_EXAMPLES: "examples",
    layout.JUDGMENTS: "judgments", layout.BLOCK_VERDICTS: "judgments",
}  # fmt: skip


def generated_kind(table: str) -> Kind | None:
    """Return the kind of a table by its name; None if no model writes its rows."""
    if parts := layout.DIALOGUES.parts(table) or layout.CANDIDATES.parts(table):
        return cast(Kind, parts["strategy"])
    return _KINDS.get(layout.kind_of(table))


class PilotTable:
    """A finished table of the pilot, with its manifest and the bytes of its files."""

    def __init__(self, table: Table, manifest: dict[str, Any], size: int) -> None:
        self.table, self.manifest, self.bytes = table, manifest, size
        # The best of several dialogues were only chosen; what generating them took is in the table of candidates.
        self.kind = None if manifest.get("candidates") else generated_kind(table.name)
        self.rows, self.written = int(manifest["rows_in"]), int(manifest["rows_this_run"])
        self.model = str((manifest.get("model") or {}).get("ref", ""))
        self.engines = int(manifest.get("engines") or 1)
        self.startup_seconds = float(manifest["startup_seconds"])
        self.engine_seconds = float(manifest.get("engine_seconds") or manifest["seconds"] - self.startup_seconds)
        """Of all engines together, while the table was written."""
        judge = table.name.rpartition("/")[2] if self.kind in ("examples", "judgments") else ""
        self.engine_run = (manifest["started"], manifest.get("engine", ""), self.model, judge)
        """Equal for tables that one engine filled at once."""

    @cached_property
    def sample(self) -> Draws:
        """Tokens of rows from all over the table: prompt, output and cached, (3, rows)."""
        shards = self.table.shards()
        chosen = shards[:: -(-len(shards) // SAMPLE_SHARDS)] if shards else []
        per_shard = -(-SAMPLE_ROWS // max(len(chosen), 1))
        parts = [self.table.read(name, COLUMNS).slice(0, per_shard) for name in chosen]
        columns = [np.concatenate([part[name].to_numpy() for part in parts] or [np.zeros(0)]) for name in COLUMNS]
        return np.nan_to_num(np.array(columns, np.float64))[:, :SAMPLE_ROWS]


@dataclass(frozen=True)
class Pilot:
    """The finished tables of a run."""

    folder: str = ""
    tables: Mapping[str, PilotTable] = field(default_factory=dict)

    @staticmethod
    def read(folder: str) -> "Pilot":
        """Find the tables of a run with one listing.

        Raises:
            InputError: there are none, or a manifest is not one of this version.
            StorageError: the folder cannot be read.
        """
        found = file_io.sizes(folder) if file_io.exists(folder) else {}
        manifests = sorted(path for path in found if path.endswith(f"/{MANIFEST}") and not is_outside_tables(path))
        tables = {}
        for name in (path.removesuffix(f"/{MANIFEST}") for path in manifests):
            size = sum(size for path, size in found.items() if path.startswith(f"{name}/"))
            tables[name] = PilotTable(Table(folder, name), _manifest(folder, name), size)
        if tables:
            return Pilot(folder, tables)
        raise InputError(
            f"--pilot {folder}: holds no finished table; give the output folder of a run, such as one with --limit"
        )

    def like(self, name: str, kind: Kind) -> list[PilotTable]:
        """Return the table of this name; if the pilot does not have it, all of its kind."""
        same = self.tables.get(name)
        return [same] if same and same.rows else [t for t in self.tables.values() if t.kind == kind and t.rows]

    def filled_with(self, table: PilotTable) -> list[PilotTable]:
        """Return all tables that the same engine filled at the same time, the table itself included."""
        return [t for t in self.tables.values() if t.kind and t.written and t.engine_run == table.engine_run]

    def training_steps(self) -> Iterator[dict[str, Any]]:
        """Yield the metrics of the pilot's training steps."""
        content = file_io.read_if_there(file_io.join(self.folder, layout.METRICS)) or b""
        for line in content.splitlines():
            with suppress(ValueError):  # a damaged line
                row = json.loads(line)
                if isinstance(row, dict) and row.get("kind") == "step":
                    yield row


def _manifest(folder: str, name: str) -> dict[str, Any]:
    path = file_io.join(folder, name, MANIFEST)
    try:
        manifest: dict[str, Any] = json.loads(file_io.read_bytes(path))
        required = ("rows_in", "ok", "rows_this_run", "seconds", "startup_seconds", "started", "finished")
        missing = next((key for key in required if key not in manifest), None)
    except (ValueError, TypeError) as problem:
        raise InputError(f"--pilot {path}: is no manifest ({problem}); run the pilot with this version") from None
    if missing:
        raise InputError(f"--pilot {path}: has no {missing!r}; run the pilot with this version")
    return manifest
