"""A step: every row of a finished table goes through an engine into a row of the next one.

    shards of work ──read, render, tokenise──► engine ──► parse, write──► shards of the table

A finished shard is skipped, so a killed run goes on where it stopped; the driver sees counts alone.
"""

import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import pyarrow as pa
from ray.data import Dataset

from factory.config import OpenAIEngine, Sampling, ScriptedEngine, VllmEngine
from factory.errors import DamagedError, Stopped
from factory.inference.backend import Backend
from factory.inference.engines import backend_for
from factory.inference.model_files import Located
from factory.records import Completion, Counts, Reject, Request, TokenSampling
from factory.runtime import metrics, shutdown
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, dataset_of, iter_rows, reraise_own_errors
from factory.runtime.shutdown import StopFlag
from factory.storage.manifest import Timing, build_manifest
from factory.storage.rows import count_rows, ok_row, rejected_row, to_record
from factory.storage.tables import Table, compute_fingerprint

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
    ids: Callable[[In], dict[str, str]]
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
    """One table that a run of the engine makes: its rows come from a finished table of work.

    `settings` decide the rows beside prompt, engine and work.
    """

    step: GenerationStep[Any, Any]
    work: Table
    table: Table
    settings: Mapping[str, Any]
    engine: EngineUse


@dataclass(frozen=True)
class PendingJob:
    """A lane whose table is not finished: what there is of it, and what is to be done."""

    lane: TableJob
    fingerprint: str
    rows_in: int
    done: list[str]
    pending: list[str]
    """`_count_shards` adds those that are there and cannot be read."""


def run_jobs(lanes: Sequence[TableJob], progress: Progress) -> None:
    """Make the tables of all lanes, or what is missing of them, in one run.

    Lanes of one engine share it, because starting one costs a minute on a laptop and more for a
    large model; lanes of several engines run at the same time.

    Raises:
        Stopped: the run was asked to end; what was in flight is written.
        FactoryError: the run cannot go on; what is written stays, and the same command goes on.
    """
    opened = [one for lane in lanes if (one := _open(lane, progress))]
    if not opened:
        return
    progress.begin([one.lane.table.name for one in opened], sum(one.rows_in for one in opened))
    try:
        with reraise_own_errors(), shutdown.stop_flag(opened[0].lane.table.output) as gate:
            accounts = [_count_shards(one, progress) for one in opened]
            left = [len(one.pending) for one in opened]
            progress.resume(sum(accounts, Counts()))
            made = [Counts() for _ in opened]
            for number in [n for n, shards in enumerate(left) if not shards]:
                _finish(opened[number], accounts[number], progress.timing(made[number]), progress)
            for number, new, engine_up in _generate(opened, gate):
                progress.engine_up(engine_up)
                progress.advance(new)
                made[number] += new
                accounts[number] += new
                _tell(opened[number], new, accounts[number])
                left[number] -= 1
                if not left[number]:
                    _finish(opened[number], accounts[number], progress.timing(made[number]), progress)
            if any(left):
                written = sum(accounts, Counts()).rows
                raise Stopped(
                    f"{written:,} rows of {_told(opened)} are written; the same command goes on with the rest"
                )
    finally:
        progress.finish()


def _tell(one: PendingJob, new: Counts, all_there: Counts) -> None:
    name = one.lane.table.name
    metrics.count(name, new, one.lane.engine.model.ref)
    metrics.set_rows_left(name, one.rows_in - all_there.rows)


def is_finished(lane: TableJob) -> bool:
    """Whether a lane's table is whole, with the lane's own settings and work."""
    finished = lane.table.manifest()
    if finished is None or lane.work.manifest() is None:
        return False
    return bool(finished["fingerprint"] == compute_fingerprint(_decided(lane)))


def _decided(lane: TableJob) -> dict[str, Any]:
    work = lane.work.manifest()
    assert work is not None, f"{lane.work.path} is not finished"
    return {**lane.settings, "prompt": lane.step.prompt, **lane.engine.settings(), "work": work["fingerprint"]}


def _open(lane: TableJob, progress: Progress) -> PendingJob | None:
    decided = _decided(lane)
    fingerprint = compute_fingerprint(decided)
    lane.table.begin(fingerprint, decided, progress.say)
    finished = lane.table.manifest()
    if finished:
        progress.done(finished, skipped=True)
        return None
    names, there = lane.work.shards(), set(lane.table.shards())
    done, pending = ([n for n in names if (n in there) is wanted] for wanted in (True, False))
    return PendingJob(lane, fingerprint, (lane.work.manifest() or {})["ok"], done, pending)


def _finish(one: PendingJob, counts: Counts, timing: Timing, progress: Progress) -> None:
    one.lane.table.check_complete(counts, one.rows_in)
    engine = one.lane.engine
    made_with = {"prompts": [one.lane.step.prompt], "engine": engine.config.kind, "model": asdict(engine.model)}
    name = one.lane.table.name
    manifest = build_manifest(name, one.rows_in, counts, timing, one.fingerprint, **made_with)
    one.lane.table.finish(manifest)
    progress.done(manifest)


def _count_shards(one: PendingJob, progress: Progress) -> Counts:
    """Count the rows that are there; a shard that cannot be read is one that is missing."""
    if not one.done:
        return Counts()
    there = Counts()
    counted = dataset_of([{"shard": name} for name in one.done]).map(
        partial(_count_shard, one.lane.table), num_cpus=IO_TASK_CPUS
    )
    for row in iter_rows(counted):
        there += _counts_of(row)
        if row["damage"]:
            progress.say(f"{row['damage']}; it is made again")
            one.done.remove(row["shard"])
            one.pending.append(row["shard"])
    return there


def _told(opened: Sequence[PendingJob]) -> str:
    return f"{sum(one.rows_in for one in opened):,} of {', '.join(one.lane.table.name for one in opened)}"


def _generate(opened: Sequence[PendingJob], gate: StopFlag) -> Iterator[tuple[int, Counts, float]]:
    """Answer the pending shards; for each that is written, its lane, its counts, when its engine was up.

    Where the run is asked to stop, those that were read by then.
    """
    engines: list[EngineUse] = []
    for one in opened:
        if one.pending and not any(map(one.lane.engine.is_same_engine, engines)):
            engines.append(one.lane.engine)
    if not engines:
        return
    first, *others = [_answered(opened, engine, gate) for engine in engines]
    answered = first.union(*others) if others else first
    # One block a shard from the read on: nothing between there and here merges or cuts blocks.
    written = answered.map(partial(_parse_and_write, [one.lane for one in opened]), num_cpus=IO_TASK_CPUS)
    for row in written.iter_rows():
        if row["passed"]:
            yield row["lane"], _counts_of(row), row["engine_up"]


def _answered(opened: Sequence[PendingJob], engine: EngineUse, gate: StopFlag) -> Dataset:
    """The pending shards of an engine's lanes, answered; Ray names the columns of all engines alike."""
    mine = [(number, one) for number, one in enumerate(opened) if one.lane.engine.is_same_engine(engine)]
    shards = [{"lane": number, "shard": name} for number, one in mine for name in one.pending]
    everything = sum(len(one.pending) + len(one.done) for _, one in mine)
    shard_rows = max(1, sum(one.rows_in for _, one in mine) // everything)
    read = dataset_of(shards).map(partial(_read_and_render, [one.lane for one in opened], gate), num_cpus=IO_TASK_CPUS)
    return engine.backend.answer(read, engine.model, engine.seed, shard_rows)


def _read_and_render(lanes: Sequence[TableJob], gate: StopFlag, shard: dict[str, Any]) -> dict[str, Any]:
    lane = lanes[shard["lane"]]
    passed = not gate.is_set()
    found = lane.work.read(shard["shard"]).to_pylist() if passed else []
    inputs = [to_record(lane.step.record, row) for row in found if row.get("status", "ok") == "ok"]
    rendered = [lane.step.render(one) for one in inputs]
    rejects = [one if isinstance(one, Reject) else None for one in rendered]
    engine, backend = lane.engine, lane.engine.backend
    requests = [
        backend.prepare(engine.model, engine.with_sampling(request))
        for request in rendered
        if isinstance(request, Request)
    ]
    return {
        **shard,
        "passed": passed,
        "work": pickle.dumps(list(zip(inputs, rejects, strict=True))),
        "requests": pickle.dumps(requests),
    }


def _parse_and_write(lanes: Sequence[TableJob], shard: dict[str, Any]) -> dict[str, Any]:
    if not shard["passed"]:
        return {"lane": shard["lane"], "passed": False, "engine_up": 0.0, **_as_row(Counts())}
    lane = lanes[shard["lane"]]
    completions = iter(pickle.loads(shard["completions"]))
    made_with = {"prompt": lane.step.prompt, "model": lane.engine.model.ref}
    rows = []
    for record, reject in pickle.loads(shard["work"]):
        completion = Completion() if reject else next(completions)
        made = reject or _parse(lane.step, record, completion)
        if isinstance(made, Reject):
            if lane.step.reject_as:
                made = Reject(lane.step.reject_as, f"{made.reason}: {made.detail}")
            rows.append(rejected_row(made, lane.step.ids(record), completion, **made_with))
        else:
            rows.append(ok_row(made, completion, **made_with))
    counts = lane.table.write(shard["shard"], rows, lane.step.schema)
    return {"lane": shard["lane"], "passed": True, "engine_up": shard["engine_up"], **_as_row(counts)}


def _parse(step: GenerationStep[In, Out], record: In, completion: Completion) -> Out | Reject:
    """Read a reply: the failures that every step shares, then the step's own way."""
    raw = "\n\n".join(completion.replies)
    if completion.error:
        return Reject(completion.error, completion.detail or raw)
    if completion.truncated and not step.keep_truncated:
        return Reject("truncated", raw)
    return step.parse(record, completion)


def _count_shard(table: Table, shard: dict[str, Any]) -> dict[str, Any]:
    columns = ["status", "reason", "prompt_tokens", "output_tokens", "cached_tokens"]
    try:
        return {**shard, "damage": "", **_as_row(count_rows(table.read(shard["shard"], columns)))}
    except DamagedError as problem:
        table.drop_damaged(shard["shard"])
        return {**shard, "damage": str(problem), **_as_row(Counts())}


def _as_row(counts: Counts) -> dict[str, Any]:
    return {"counts": json.dumps(asdict(counts))}


def _counts_of(row: Mapping[str, Any]) -> Counts:
    return Counts(**json.loads(row["counts"]))
