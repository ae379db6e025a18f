"""What a run consists of: steps with their seconds by limit, and the tables that its engines write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from factory.config import TokenPrices
from factory.planning.pilot import Kind, PilotTable
from factory.planning.uncertainty import Draws
from factory.storage.shuffle import BYTES_PER_SPILL, ROWS_PER_SPILL, FileShuffle

Limit = Literal["start-up", "engine", "long replies", "reading", "S3 requests", "training", "global batch"]
REMEDIES: dict[Limit, str] = {
    "start-up": "It takes as long on any cluster: use a larger run, or engines that are kept up",
    "long replies": "The longest replies end last: lower max_tokens, or use fewer replicas",
    "reading": "A task reads one file, and all files under a limit: give many files and no limit",
    "S3 requests": "The requests of a shuffle grow faster than its rows: split the run",
    "global batch": "A step has global_batch_size sequences: raise it, or use fewer training processes",
}
"""What helps against the limits that more GPUs do not remove."""

Parts = Mapping[Limit, Draws]
"""Seconds of a step by limit; they add up."""


@dataclass(frozen=True)
class ReplicaPool:
    """The replicas of an engine that work on a step."""

    kind: str
    """The engine's, or `served` for models on Ray Serve."""
    model: str
    replicas: int = 1
    gpus_per_replica: int = 0
    """0 on a CPU, and for endpoints."""
    max_concurrency: int = 64
    """Rows that one replica works on at a time."""
    prices: TokenPrices | None = None
    """Of an endpoint's tokens; None if they are not known."""

    @property
    def is_local(self) -> bool:
        """Whether its replicas belong to the run, so that more of them help."""
        return self.kind in ("vllm", "served")


@dataclass(frozen=True)
class GeneratedTable:
    """A table whose rows an engine writes; what is not known is not a number."""

    name: str
    kind: Kind
    pool: ReplicaPool
    rows: Draws
    calls_per_row: float
    sample: Draws
    """Generated tokens of some of its rows, all turns together, (rows,)."""
    output: Draws
    """Generated tokens per row."""
    prompt: Draws
    """Prompt tokens per row."""
    cached: Draws
    """Those that the prefix cache serves."""
    seen: list[PilotTable]
    """The pilot's tables that measure it."""


@dataclass(frozen=True)
class Step:
    """A part of the run that takes time; steps of one `concurrency_group` run at the same time."""

    name: str
    concurrency_group: str
    parts: Callable[[float, float], Parts]
    """Seconds by limit on a number of CPU cores and of workers; not a number if something it needs is not known."""
    workers: int = 1
    """Replicas or training processes, as the config has them."""
    unit: str = ""
    """What a worker is called; empty if the step runs on all cores."""
    gpus_per_worker: int = 0
    part: Literal["synthesis", "judges", "training"] = "synthesis"
    """Whose GPUs those are, as `planning.gpu` names their kinds."""
    scales: bool = False
    """Whether more workers help."""


def spilled_files(rows: Draws, bytes_per_row: float) -> Draws:
    """Return to how many files rows are spilled."""
    files: Draws = np.ceil(rows * max(1 / ROWS_PER_SPILL, bytes_per_row / BYTES_PER_SPILL))
    return files


def shuffle_requests(files: Draws, partitions: int) -> Draws:
    """Return how many ranges of spilled files are read until each partition is in one place."""
    shuffle = FileShuffle("", partitions, pa.schema([]))
    if shuffle.groups == 1:
        return files * partitions
    # Each group is read from all files and written to its share of as many, from which its partitions are read.
    requests: Draws = files * shuffle.groups + np.ceil(files / shuffle.groups) * partitions
    return requests
