"""Runs the table jobs of a step through their engines.

A finished shard is skipped, so a killed run resumes where it stopped; the driver sees only counts.
"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from factory.config import OpenAIEngine
from factory.errors import ConfigError, FactoryError
from factory.inference.accept_quota import AcceptQuota, mark_shard
from factory.inference.engine_pool.open_pools import OpenPools, open_pools
from factory.inference.generation_step import (
    TableJob,
    count_shard,
    counts_from_row,
)
from factory.inference.open_work import open_work, report_open_work
from factory.inference.pending_job import PendingJob
from factory.inference.spending import Usage, current_spending
from factory.inference.token_prices import cost_of, token_prices
from factory.inference.waves import generate_within
from factory.records import Counts
from factory.runtime import metrics, shutdown
from factory.runtime.build_table import copy_rows
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, dataset_of, iter_rows, reraise_own_errors
from factory.runtime.shutdown import StopFlag
from factory.storage import file_io
from factory.storage.manifest import Timing, build_manifest
from factory.storage.rows import TOKEN_COLUMNS
from factory.storage.tables import compute_fingerprint


def run_jobs(jobs: Sequence[TableJob], progress: Progress) -> None:
    """Build the tables of all jobs, or what is missing of them, in one run.

    Jobs of one engine share it, because starting one takes a minute on a laptop and more for a
    large model; jobs of several engines run at the same time.

    Raises:
        Stopped: a stop of the run was requested, or its budget is used up; all shards in flight are written.
        FactoryError: the run cannot go on; what is written stays, and the same command goes on.
    """
    opened = [pending for job in jobs if (pending := _open(job, progress))]
    if not opened:
        return
    rows = sum(pending.rows_in for pending in opened)
    has_quota = any(pending.quota.goal is not None for pending in opened)
    progress.start([pending.job.table.name for pending in opened], None if has_quota else rows)
    try:
        with (
            reraise_own_errors(),
            open_pools() as pools,
            shutdown.stop_flag(opened[0].job.table.output) as flag,
        ):
            _run(opened, flag, progress, pools)
    finally:
        progress.stop()


def _run(opened: Sequence[PendingJob], flag: StopFlag, progress: Progress, pools: OpenPools) -> None:
    totals = [_count_done(pending, progress) for pending in opened]
    left = [len(pending.pending) for pending in opened]
    spending = current_spending()
    spending.used |= {p.job.table.name: Usage.of(total, p.prices) for p, total in zip(opened, totals, strict=True)}
    progress.resume(sum(totals, Counts()), spending.cost_text())
    written = [Counts() for _ in opened]

    def finish_if_done(number: int) -> None:
        """Finish a table of which all shards are written, or all that are needed."""
        quota = opened[number].quota
        if quota.is_reached and not quota.in_flight:
            left[number] = 0
        if left[number] or (quota.goal is not None and not quota.is_reached):
            return
        key = opened[number].job.engine.pool_key
        state = pools.state(key)
        _finish(
            opened[number], totals[number], progress.timing(written[number], state.lives if state else ()), progress
        )
        if not any(shards for shards, pending in zip(left, opened, strict=True) if pending.job.engine.pool_key == key):
            pools.release(key)

    for number in range(len(opened)):
        finish_if_done(number)
    uses = [(pending.job.engine, pending.state) for pending in opened]
    with pools.report_to(progress.engine_states), report_open_work(uses, progress.print):
        for number, counts in generate_within(spending, opened, totals, flag, pools, progress):
            written[number] += counts
            totals[number] += counts
            spending.used[opened[number].job.table.name] = Usage.of(totals[number], opened[number].prices)
            progress.advance(counts, spending.cost_text())
            _count_metrics(opened[number], counts, totals[number])
            left[number] -= 1
            finish_if_done(number)
    for number in [n for n, pending in enumerate(opened) if left[n] and pending.quota.is_reached]:
        opened[number].quota.in_flight = 0  # what a stop left unread is not needed
        finish_if_done(number)
    short = [line for pending, total in zip(opened, totals, strict=True) if (line := pending.short(total))]
    if any(left):
        rows, rows_in = sum(totals, Counts()).rows, sum(pending.rows_in for pending in opened)
        tables = ", ".join(pending.job.table.name for pending in opened)
        going_on = "".join(f"; {work} go on there and are paid" for work in open_work(uses))
        limit = "" if shutdown.is_requested() else spending.reached()
        raise shutdown.stopped(
            f"{limit and f'{limit}; '}{rows:,} rows of {rows_in:,} of {tables} are written"
            f"{''.join(f'; {line}' for line in short)}{going_on}; "
            f"{limit and 'raise it, and '}the same command goes on with the rest"
        )
    if short:
        raise FactoryError(
            f"all input is used, and {'; '.join(short)}; all rows are kept: lower `accept`, or give more input"
        )


def _count_metrics(pending: PendingJob, counts: Counts, total: Counts) -> None:
    name = pending.job.table.name
    metrics.count(name, counts, pending.job.engine.model.ref)
    metrics.set_rows_left(name, pending.rows_in - total.rows)


def is_finished(job: TableJob) -> bool:
    """Return whether a job's table is complete, with the job's own settings and work."""
    finished = job.table.manifest()
    if finished is None or job.work.manifest() is None:
        return False
    return bool(finished["fingerprint"] == compute_fingerprint(job.fingerprint_inputs()))


def _open(job: TableJob, progress: Progress) -> PendingJob | None:
    inputs = job.fingerprint_inputs()
    fingerprint = compute_fingerprint(inputs)
    job.table.begin(fingerprint, inputs, progress.print)
    finished = job.table.manifest()
    prices = token_prices(job.engine.config)
    if finished and finished.get("accept") != job.accept:
        job.table.reopen()
        finished = job.table.manifest()
    if finished:
        counts = Counts(finished["ok"], finished["rejected"], *(finished.get(name, 0) for name in TOKEN_COLUMNS))
        current_spending().used[job.table.name] = Usage.of(counts, prices)
        progress.record_table(finished, skipped=True)
        return None
    if job.given:
        copy_rows(job.given, job.table, job.step.schema)
    names, written = job.work.shards(), set(job.table.shards())
    done, pending = ([name for name in names if (name in written) is expected] for expected in (True, False))
    rows = (job.work.manifest() or {})["ok"]
    goal = None if job.accept is None else max(0, job.accept - _given(job).ok)
    if goal is not None and goal > rows:
        raise ConfigError(
            f"accept: {job.table.name} is to have {goal:,} accepted rows, but only {rows:,} are there to generate; "
            "lower the number, or add rows to the source"
        )
    return PendingJob(job, fingerprint, rows, done, pending, prices, AcceptQuota(goal, names))


def _given(job: TableJob) -> Counts:
    return Counts(ok=(job.given.manifest() or {})["ok"]) if job.given else Counts()


def _finish(pending: PendingJob, counts: Counts, timing: Timing, progress: Progress) -> None:
    table, step, engine = pending.job.table, pending.job.step, pending.job.engine
    not_started = max(0, pending.rows_in - counts.rows) if pending.quota.is_part else 0
    table.check_complete(counts, pending.rows_in - not_started)
    given, counts = _given(pending.job), _mark_needed(pending, counts)
    fields: dict[str, Any] = {"prompts": [step.prompt], "engine": engine.config.kind, "model": asdict(engine.model)}
    if isinstance(engine.config, OpenAIEngine):
        fields["cost"] = None if pending.prices is None else round(cost_of(counts, pending.prices), 6)
    if given.ok:
        fields["given"] = given.ok
    fields |= pending.job.summarize(table)
    if pending.job.accept is not None:
        fields |= {"accept": pending.job.accept, "not_started": not_started}
        metrics.set_rows_left(table.name, 0)
    rows_in, counts = pending.rows_in - not_started + given.ok, counts + given
    manifest = build_manifest(table.name, rows_in, counts, timing, pending.fingerprint, **fields)
    table.finish(manifest)
    file_io.delete_folder(pending.state)
    progress.record_table(manifest)


def _mark_needed(pending: PendingJob, counts: Counts) -> Counts:
    """Let exactly the needed rows of a table count, and return its counts after that."""
    if changes := pending.quota.changes():
        mark = partial(mark_shard, pending.job.table, pending.job.step.schema)
        for _ in iter_rows(dataset_of(changes).map(mark, num_cpus=IO_TASK_CPUS)):
            pass
    return pending.quota.recount(counts)


def _count_done(pending: PendingJob, progress: Progress) -> Counts:
    """Count the rows of the finished shards; one that cannot be read becomes pending."""
    total = Counts()
    if not pending.done:
        return total
    shards = dataset_of([{"shard": name} for name in pending.done])
    for row in iter_rows(shards.map(partial(count_shard, pending.job.table), num_cpus=IO_TASK_CPUS)):
        counts = counts_from_row(row)
        total += counts
        if not row["damage"]:
            pending.quota.add(row["shard"], counts)
        else:
            progress.print(f"{row['damage']}; it is generated again")
            pending.done.remove(row["shard"])
            pending.pending.append(row["shard"])
    if pending.quota.goal is not None:
        pending.pending.sort(key=pending.quota.order.index)
    return total
