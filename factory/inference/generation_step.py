"""A step: each accepted row of a finished table goes through an engine into a row of the next table.

    shards of work ──read, render, tokenize──► engine ──► parse, write──► shards of the table

This module holds what a step defines and the tasks on both sides of the engine; `run_jobs` runs them.
"""

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

import pyarrow as pa

from factory.config import OpenAIEngine, Sampling, ScriptedEngine, VllmEngine
from factory.errors import DamagedError
from factory.inference.engines.backend import Backend
from factory.inference.engines.registry import backend_for
from factory.inference.model_files import Located
from factory.records import Completion, Counts, Reject, Request, TokenSampling
from factory.runtime.shutdown import StopFlag
from factory.storage.rows import ok_row, rejected_row, to_record
from factory.storage.tables import Table

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class GenerationStep(Generic[In, Out]):
    """The parts that differ between steps; `render`, `parse` and `ids` are pure functions."""

    record: type[In]
    """The record of an input row."""
    schema: pa.Schema
    """Of the output table."""
    prompt: str
    """Reference of the prompt, for the rows."""
    render: Callable[[In], Request | Reject]
    parse: Callable[[In, Completion], Out | Reject]
    ids: Callable[[In], Mapping[str, Any]]
    """The columns that a rejected row keeps."""
    keep_truncated: bool = False
    """Whether `parse` also gets replies that were truncated at `max_tokens`; by default they are rejected."""
    reject_as: str = ""
    """The reason of every reject, with the original one before the detail; by default each keeps its own."""


@dataclass(frozen=True)
class EngineUse:
    """The engine that answers a step's requests, and its sampling."""

    config: VllmEngine | OpenAIEngine | ScriptedEngine
    sampling: Sampling
    seed: int
    model: Located

    @property
    def backend(self) -> Backend[Any]:
        """The backend of the engine's kind."""
        return backend_for(self.config)

    def is_same_engine(self, other: "EngineUse") -> bool:
        """Return whether the same replicas can answer for both; sampling belongs to each request."""
        return replace(self, sampling=other.sampling) == other

    @property
    def pool_key(self) -> str:
        """What the pool of this engine is found by; empty if it needs none."""
        return self.backend.pool_key(self.model, self.seed)

    def with_sampling(self, request: Request) -> Request:
        """Return a request with this sampling."""
        return replace(request, sampling=TokenSampling(**self.sampling.model_dump()))

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide what rows contain; the number of replicas is not among them."""
        return {
            "engine": self.config.kind,
            **asdict(self.model),
            "seed": self.seed,
            "sampling": self.sampling.model_dump(),
            **self.backend.fingerprint_settings(),
        }


@dataclass(frozen=True)
class TableJob:
    """A table to generate from a finished table of work.

    `settings` are the inputs of its fingerprint besides prompt, engine and work. The accepted rows of `given`, a
    finished table, are rows of the table as they are. `summarize` returns more fields of the manifest once all shards
    are written. With `accept`, rows are generated in the order of the work until so many are accepted, the given ones
    included.
    """

    step: GenerationStep[Any, Any]
    work: Table
    table: Table
    settings: Mapping[str, Any]
    engine: EngineUse
    given: Table | None = None
    summarize: Callable[[Table], Mapping[str, Any]] = lambda table: {}
    accept: int | None = None

    def fingerprint_inputs(self) -> dict[str, Any]:
        """Return everything that the table's rows depend on; the work must be finished."""
        work = self.work.manifest()
        assert work is not None, f"{self.work.path} is not finished"
        given = self.given and {"given": (self.given.manifest() or {})["fingerprint"]}
        inputs = {**self.settings, "prompt": self.step.prompt, **self.engine.settings(), "work": work["fingerprint"]}
        return inputs | (given or {})


def read_and_render(jobs: Sequence[TableJob], flag: StopFlag, shard: dict[str, Any]) -> dict[str, Any]:
    """Read a shard of work and render its requests; nothing is read once the run is to stop."""
    job = jobs[shard["job"]]
    is_read = not flag.is_set()
    rows = job.work.read(shard["shard"]).to_pylist() if is_read else []
    inputs = [to_record(job.step.record, row) for row in rows if row.get("status", "ok") == "ok"]
    rendered = [job.step.render(record) for record in inputs]
    rejects = [result if isinstance(result, Reject) else None for result in rendered]
    engine, backend = job.engine, job.engine.backend
    requests = [
        backend.prepare(engine.model, engine.with_sampling(result))
        for result in rendered
        if isinstance(result, Request)
    ]
    return {
        **shard,
        "is_read": is_read,
        "rows": len(inputs),
        "work": pickle.dumps(list(zip(inputs, rejects, strict=True))),
        "requests": pickle.dumps(requests),
    }


def parse_and_write(jobs: Sequence[TableJob], shard: dict[str, Any]) -> dict[str, Any]:
    """Parse the completions of a shard and write its rows; returns their counts."""
    if not shard["is_read"]:
        return {"job": shard["job"], "shard": shard["shard"], "is_read": False, **counts_to_row(Counts())}
    job = jobs[shard["job"]]
    completions = iter(pickle.loads(shard["completions"]))
    provenance = {"prompt": job.step.prompt, "model": job.engine.model.ref}
    rows = []
    for record, reject in pickle.loads(shard["work"]):
        completion = Completion() if reject else next(completions)
        result = reject or _parse(job.step, record, completion)
        if isinstance(result, Reject):
            if job.step.reject_as:
                result = Reject(job.step.reject_as, f"{result.reason}: {result.detail}")
            rows.append(rejected_row(result, job.step.ids(record), completion, **provenance))
        else:
            rows.append(ok_row(result, completion, **provenance))
    counts = job.table.write(shard["shard"], rows, job.step.schema)
    return {"job": shard["job"], "shard": shard["shard"], "is_read": True, **counts_to_row(counts)}


def _parse(step: GenerationStep[In, Out], record: In, completion: Completion) -> Out | Reject:
    """Reject the failures that all steps share, and let the step parse the rest."""
    raw = "\n\n".join(completion.replies)
    if completion.error:
        return Reject(completion.error, completion.detail or raw)
    if completion.truncated and not step.keep_truncated:
        return Reject("truncated", raw)
    return step.parse(record, completion)


def count_shard(table: Table, shard: dict[str, Any]) -> dict[str, Any]:
    """Count the rows of a shard; a damaged one is moved aside, and `damage` is its error."""
    try:
        return {**shard, "damage": "", **counts_to_row(table.count(shard["shard"]))}
    except DamagedError as problem:
        table.drop_damaged(shard["shard"])
        return {**shard, "damage": str(problem), **counts_to_row(Counts())}


def counts_to_row(counts: Counts) -> dict[str, Any]:
    """Return counts as a column of a Ray dataset."""
    return {"counts": json.dumps(asdict(counts))}


def counts_from_row(row: Mapping[str, Any]) -> Counts:
    """Return the counts of a row that `counts_to_row` wrote."""
    return Counts(**json.loads(row["counts"]))
