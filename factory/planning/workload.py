"""What a run has to do: its steps in order, with the rows of each, and the engines that do them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from factory.config import Training
from factory.planning.uncertainty import Draws
from factory.storage.tables import rows_per_shard

Kind = Literal["profiles", "generate", "rewrite", "answers", "general", "examples", "judgments"]


@dataclass(frozen=True)
class GeneratedTable:
    """A table whose rows an engine writes; `rows` is None if it is not known how many there are."""

    name: str
    kind: Kind
    rows: Draws | None
    calls_per_row: float = 1


@dataclass(frozen=True)
class ReplicaPool:
    """The replicas of an engine that work on a phase."""

    kind: str
    """The engine's, or `served` for models on Ray Serve."""
    model: str
    replicas: int = 1
    gpus_per_replica: int = 0
    """0 on a CPU, and for endpoints."""
    max_concurrency: int = 64
    """Rows that one replica works on at a time."""

    @property
    def is_local(self) -> bool:
        """Whether its replicas belong to the run, so that more of them help."""
        return self.kind in ("vllm", "served")


@dataclass(frozen=True)
class Phase:
    """Tables that one engine fills at once. Steps of one `concurrency_group` run at the same time."""

    name: str
    tables: tuple[GeneratedTable, ...]
    pool: ReplicaPool
    concurrency_group: str


@dataclass(frozen=True)
class CpuStep:
    """A step on CPU cores."""

    name: str
    table: str
    rows: Draws | None
    files: Draws | None
    """Files that tasks write; None if they are not known."""
    bytes_per_row: float
    """Of rows that are shuffled through files; 0 if they are not."""
    rows_per_task: float
    """Rows per second of one task."""
    max_tasks: float = np.inf
    """Tasks that can run at the same time."""
    startup_seconds: float = 8.0
    """What it takes regardless of its rows."""


@dataclass(frozen=True)
class TrainingStep:
    """What is trained, and how."""

    settings: Training
    dialogues: Draws | None
    """Before curation."""
    on_gpu: bool = False


@dataclass(frozen=True)
class CommandStart:
    """Start and end of one of our commands."""

    command: str


PlannedStep = CommandStart | CpuStep | Phase | TrainingStep


@dataclass(frozen=True)
class Workload:
    """All steps of a run, in order."""

    steps: tuple[PlannedStep, ...]
    on_s3: bool = False
    notes: tuple[str, ...] = ()


def shard_count(rows: Draws) -> Draws:
    """Return the number of shards of a table."""
    sizes = np.array([rows_per_shard(max(1, round(number))) for number in rows.tolist()], np.float64)
    return np.asarray(np.maximum(np.ceil(rows / sizes), 1.0))
