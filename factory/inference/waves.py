"""Gives the shards of unfinished tables to their engines in waves, as the budget and the needed rows allow."""

from collections.abc import Iterator, Sequence
from functools import partial

from ray.data import Dataset

from factory.inference.engine_pool.open_pools import OpenPools
from factory.inference.engines.backend import ShardedWork
from factory.inference.generation_step import (
    EngineUse,
    TableJob,
    counts_from_row,
    parse_and_write,
    read_and_render,
)
from factory.inference.pending_job import PendingJob
from factory.inference.spending import Spending
from factory.records import Counts
from factory.runtime import shutdown
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, dataset_of, rows_as_they_come
from factory.runtime.shutdown import StopFlag


def generate_within(
    spending: Spending,
    opened: Sequence[PendingJob],
    totals: Sequence[Counts],
    flag: StopFlag,
    pools: OpenPools,
    progress: Progress,
) -> Iterator[tuple[int, Counts]]:
    """Yield for each written shard its job's number and its counts, as long as the budget allows to begin more.

    After a stop request, these are the shards that were read by then; `totals` grow with what is yielded.
    """
    while not shutdown.is_requested():
        wave = spending.next_wave([one.work(total) for one, total in zip(opened, totals, strict=True)])
        if not any(wave):
            return
        is_stopping = False
        for pending, total, shards in zip(opened, totals, wave, strict=True):
            pending.quota.in_flight = shards
            if shards and (line := pending.short(total)):
                progress.print(f"{line}: {shards:,} shards next")
        for number, counts in _generate(opened, wave, totals, flag, pools):
            yield number, counts
            if spending.is_used_up and not is_stopping:  # the rows use more than those before
                is_stopping = True
                flag.set()
        if is_stopping:
            return
        for pending, shards in zip(opened, wave, strict=True):
            pending.done.extend(pending.pending[:shards])
            del pending.pending[:shards]


def _generate(
    opened: Sequence[PendingJob], wave: Sequence[int], done: Sequence[Counts], flag: StopFlag, pools: OpenPools
) -> Iterator[tuple[int, Counts]]:
    """Yield for each written shard of a wave, so many of each job, its job's number and its counts."""
    engines: list[EngineUse] = []
    for pending, shards in zip(opened, wave, strict=True):
        if shards and not any(map(pending.job.engine.is_same_engine, engines)):
            engines.append(pending.job.engine)
    first, *others = [_answer(opened, wave, done, engine, flag, pools) for engine in engines]
    answered = first.union(*others) if others else first
    # One block per shard from the read on: nothing in between merges or splits blocks.
    written = answered.map(partial(parse_and_write, [pending.job for pending in opened]), num_cpus=IO_TASK_CPUS)
    for row in rows_as_they_come(written):
        if row["is_read"]:
            counts, quota = counts_from_row(row), opened[row["job"]].quota
            quota.add(row["shard"], counts)
            quota.in_flight -= 1
            yield row["job"], counts


def _answer(
    opened: Sequence[PendingJob],
    wave: Sequence[int],
    done: Sequence[Counts],
    engine: EngineUse,
    flag: StopFlag,
    pools: OpenPools,
) -> Dataset:
    """Return the answered shards of a wave that an engine's jobs have in it."""
    own = [(n, one) for n, one in enumerate(opened) if wave[n] and one.job.engine.is_same_engine(engine)]
    shards = [
        {"job": number, "shard": name, "state": pending.state}
        for number, pending in own
        for name in pending.pending[: wave[number]]
    ]
    rows = round(sum(pending.rows_of(wave[number], done[number]) for number, pending in own))
    jobs = [pending.job for pending in opened]
    read = dataset_of(shards).map(partial(read_and_render, jobs, flag), num_cpus=IO_TASK_CPUS)
    work = ShardedWork(
        read,
        shard_rows=max(1, rows // len(shards)),
        rows=rows,
        flag=flag,
        longest_to_mean=max(_longest_to_mean(pending.job, done[number]) for number, pending in own),
    )
    return engine.backend.answer(work, engine.model, engine.seed, pools)


def _longest_to_mean(job: TableJob, done: Counts) -> float:
    """Return the longest reply over the mean one, as far as the finished rows show it."""
    return job.engine.sampling.max_tokens * done.rows / done.output_tokens if done.output_tokens else 0.0
