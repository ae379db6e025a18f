"""What an earlier small run tells: a sample of its rows, and what its manifests say of speed.

A table is read shard by shard, and of all its rows at most some thousand stay in memory.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, get_args

import numpy as np

from factory.errors import InputError
from factory.planning.uncertainty import Draws, share
from factory.planning.workload import Kind
from factory.storage import file_io
from factory.storage.archive import is_outside_tables
from factory.storage.tables import MANIFEST, Table

SAMPLE_ROWS = 1024
SAMPLE_SHARDS = 64
"""A shard holds rows of ids that are close, which is chance: a row of it is as good as any."""
COLUMNS = ["prompt_tokens", "output_tokens", "cached_tokens"]

_KINDS = {
    r"(evaluation/benchmark/)?profiles": "profiles",
    r"dialogues/generate-.*": "generate",
    r"dialogues/rewrite-.*": "rewrite",
    r"evaluation/[^/]*/answers": "answers",
    r"evaluation/(?!benchmark/)[^/]*/general": "general",
    r"evaluation/benchmark/examples": "examples",
    r"evaluation/[^/]*/judgments/[^/]*": "judgments",
}


def kind_of(table: str) -> Kind | None:
    """What kind of table a name is; None where no model makes its rows."""
    found = [kind for pattern, kind in _KINDS.items() if re.fullmatch(pattern, table)]
    return next((kind for kind in get_args(Kind) if kind in found), None)


@dataclass(frozen=True)
class Sample:
    """Tokens of some rows, in the same order: of the prompts, of the replies, and of the prompts' cached part."""

    prompt: Draws
    output: Draws
    cached: Draws


@dataclass(frozen=True)
class Observed:
    """A finished table of the pilot."""

    table: Table
    manifest: dict[str, Any]
    bytes: int

    @property
    def kind(self) -> Kind | None:
        """What kind of table it is."""
        return kind_of(self.table.name)

    @property
    def rows(self) -> int:
        """Accepted and rejected ones."""
        return int(self.manifest["rows_in"])

    @property
    def model(self) -> str:
        """The model that made it, as the config named it."""
        return str((self.manifest.get("model") or {}).get("ref", ""))

    @property
    def moment(self) -> tuple[str, ...]:
        """The same for tables that one engine filled in one go."""
        judge = self.table.name.rpartition("/")[2] if self.kind == "judgments" else ""
        return (self.manifest["started"], self.manifest.get("engine", ""), self.model, judge)

    @property
    def made(self) -> float:
        """The part of the rows that the finishing run made."""
        return float(self.manifest["rows_this_run"]) / max(self.rows, 1)

    @property
    def engines(self) -> int:
        """Replicas that made it, at least one."""
        return int(self.manifest.get("engines") or 1)

    @property
    def engine_seconds(self) -> float:
        """How long they were up while it was made, all together."""
        alone = float(self.manifest["seconds"]) - float(self.manifest["startup_seconds"])
        return float(self.manifest.get("engine_seconds") or alone)

    @cached_property
    def sample(self) -> Sample:
        """Rows from all over the table."""
        shards = self.table.shards()
        stride = -(-len(shards) // SAMPLE_SHARDS)
        chosen = shards[::stride] if shards else []
        each = -(-SAMPLE_ROWS // max(len(chosen), 1))
        parts = [self.table.read(name, COLUMNS).slice(0, each) for name in chosen]
        columns = [np.concatenate([part[name].to_numpy() for part in parts] or [np.zeros(0)]) for name in COLUMNS]
        return Sample(*(np.nan_to_num(column.astype(np.float64))[:SAMPLE_ROWS] for column in columns))


@dataclass(frozen=True)
class Pilot:
    """The finished tables of a run."""

    folder: str
    tables: dict[str, Observed] = field(default_factory=dict)

    @staticmethod
    def read(folder: str) -> "Pilot":
        """Find the tables of a run by one listing.

        Raises:
            InputError: there are none, or one tells of itself in another way than ours do.
            StorageError: the folder cannot be read.
        """
        found = file_io.sizes(folder) if file_io.exists(folder) else {}
        manifests = sorted(path for path in found if path.endswith(f"/{MANIFEST}") and not is_outside_tables(path))
        tables = {}
        for name in (path.removesuffix(f"/{MANIFEST}") for path in manifests):
            size = sum(size for path, size in found.items() if path.startswith(f"{name}/"))
            tables[name] = Observed(Table(folder, name), _manifest(folder, name), size)
        if not tables:
            raise InputError(
                f"--pilot {folder}: holds no finished table; give the output folder of a run, such as one with --limit"
            )
        return Pilot(folder, tables)

    def of(self, table: str, kind: Kind) -> list[Observed]:
        """The table of that name; where there is none, all of its kind."""
        same = self.tables.get(table)
        if same is not None and same.rows:
            return [same]
        return [one for one in self.tables.values() if one.kind == kind and one.rows]

    def beside(self, table: Observed) -> list[Observed]:
        """All tables that the same engine filled in the same go, the table itself included."""
        return [one for one in self.tables.values() if one.kind and one.rows and one.moment == table.moment]

    def accepted(self, table: str) -> Draws | None:
        """The share of a table's rows that were accepted; None where the pilot has no such table."""
        one = self.tables.get(table)
        if one is None or not one.rows:
            return None
        return share(int(one.manifest["ok"]), one.rows, f"accepted {table}")

    def seconds(self, table: str) -> float | None:
        """How long a table took."""
        one = self.tables.get(table)
        return float(one.manifest["seconds"]) if one else None

    def waits(self, before: str, after: str) -> float | None:
        """Seconds between the end of the last table of a kind and the start of the first of another, in one run."""
        ends = [_time(one.manifest["finished"]) for one in self.tables.values() if one.kind == before]
        starts = [_time(one.manifest["started"]) for one in self.tables.values() if one.kind == after]
        if not ends or not starts:
            return None
        wait = (min(starts) - max(ends)).total_seconds()
        return wait if 0 <= wait < 3600 else None

    def steps(self) -> Iterator[dict[str, Any]]:
        """What training told of its steps."""
        path = file_io.join(self.folder, "checkpoints", "metrics.jsonl")
        data = file_io.read_if_there(path) or b""
        for line in data.splitlines():
            with suppress(ValueError):  # a damaged line
                row = json.loads(line)
                if isinstance(row, dict) and row.get("kind") == "step":
                    yield row


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _manifest(folder: str, name: str) -> dict[str, Any]:
    path = file_io.join(folder, name, MANIFEST)
    try:
        manifest: dict[str, Any] = json.loads(file_io.read_bytes(path))
        needed = ("rows_in", "ok", "rows_this_run", "seconds", "startup_seconds", "started", "finished")
        missing = next((key for key in needed if key not in manifest), None)
    except (ValueError, TypeError) as problem:
        raise InputError(f"--pilot {path}: is no manifest ({problem}); make the pilot with this version") from None
    if missing:
        raise InputError(f"--pilot {path}: has no {missing!r}; make the pilot with this version")
    return manifest
