"""The planner: it adds the steps of a run in order, and collects what is not known on the way.

Values of the config count before the pilot's measurements. A quantity that is not known is not a number, as is all that
follows from it.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from factory.config import Planning, StageFigures
from factory.inference.token_estimates import RowTokens
from factory.planning import constants as c
from factory.planning.batching import ReplyLengths, tail_steps
from factory.planning.pilot import Kind, Pilot, PilotTable
from factory.planning.plan_steps import GeneratedTable, Parts, ReplicaPool, Step, shuffle_requests
from factory.planning.uncertainty import UNKNOWN, Draws, constant, lognormal, mean_of, proportion, uniform
from factory.records import NOT_NEEDED
from factory.storage.shuffle import partitions_for


class Planner:
    """The steps of a run and their tables; `add_` methods add a step each.

    Args:
        planning: what the config gives.
        pilot: the tables of an earlier small run; it may have none.
        engine: the replicas of the config's section `engine`.
        flops: operations per second of a GPU that trains.
        on_s3: whether the run's output is on S3.
    """

    def __init__(
        self, planning: Planning, pilot: Pilot, engine: ReplicaPool, flops: float, on_s3: bool = False
    ) -> None:
        self.planning, self.pilot, self.engine, self.flops, self.on_s3 = planning, pilot, engine, flops, on_s3
        self.steps: list[Step] = []
        self.tables: list[GeneratedTable] = []
        self.rows: dict[str, Draws] = {}
        """Rows of all tables by name."""
        self.weight_bytes = 0.0
        """Of checkpoints and the trained model."""
        self.missing: list[str] = []
        self.estimated: list[Kind] = []
        """Kinds of tables whose tokens per row nothing measured."""
        self.notes: list[str] = []
        """What makes the estimate less certain than it could be."""

    def accepted(self, rows: Draws, *tables: str) -> Draws:
        """Return how many rows are accepted, in the proportion of the pilot's tables; all without a pilot."""
        found = [self.pilot.tables[name] for name in tables if name in self.pilot.tables]
        read = sum(table.rows for table in found)
        manifests = [table.manifest for table in found]
        ok = sum(int(one["ok"]) + one.get("rejected", {}).get(NOT_NEEDED, 0) for one in manifests)
        return rows * proportion(ok, read, f"accepted {tables}") if read else rows

    def add_command(self, command: str) -> None:
        """Add the start and end of one of our commands."""
        seconds, name = uniform(*c.COMMAND_START_S, f"start {command}"), f"start and end of {command}"
        self.steps.append(Step(name, name, lambda cpus, workers: {"start-up": seconds}))

    def add_cpu(
        self, name: str, table: str, rows: Draws, rows_per_task: float, startup: float = c.FIRST_STEP_S,
        files: Draws | float = 0, bytes_per_row: float = 0, max_tasks: float = np.inf,
    ) -> None:  # fmt: skip
        """Add a step on CPU cores.

        Args:
            name: its name.
            table: what it writes.
            rows: rows of the table.
            rows_per_task: rows per second of one task.
            startup: seconds regardless of its rows.
            files: to which rows are spilled that are shuffled.
            bytes_per_row: of those.
            max_tasks: tasks that can run at the same time.
        """
        self.rows[table] = rows
        seen, on_s3 = self.pilot.tables.get(table), self.on_s3
        # A pilot has few rows: its start-up is all of its time.
        seconds = float(seen.manifest["seconds"]) if seen else startup
        start = lognormal(seconds, c.STARTUP_SPREAD, f"start-up {table}")
        partitions = partitions_for(round(np.nan_to_num(rows[0]) * bytes_per_row))
        gets, latency = shuffle_requests(constant(0) + files, partitions), uniform(*c.S3_LATENCY_S, "S3 latency")

        def parts(cpus: float, workers: float) -> Parts:
            slots = cpus * c.TASKS_PER_CORE
            reading = rows / (rows_per_task * max(1.0, min(max_tasks, slots)))
            at_once = min(partitions, slots) * np.clip(files, 1, c.GETS_AT_ONCE)
            requests = np.maximum(gets / c.GETS_PER_SECOND, gets * latency / at_once)
            if on_s3 and not requests[0] <= reading[0]:
                return {"start-up": start, "S3 requests": requests}
            return {"start-up": start, "reading": reading}

        self.steps.append(Step(name, name, parts))

    def table(
        self, name: str, kind: Kind, pool: ReplicaPool, rows: Draws, calls_per_row: float = 1,
        about: RowTokens | None = None,
    ) -> GeneratedTable:  # fmt: skip
        """Return a table with its tokens per row: the config's, else the pilot's, else about so many."""
        given, seen = self._given(kind), self.pilot.like(name, kind)
        sample, output, prompt, cached = np.array([np.nan]), UNKNOWN, UNKNOWN, UNKNOWN
        if seen:
            prompts, sample, hits = np.hstack([other.sample for other in seen])
            output, prompt, cached = mean_of(sample, f"output {name}"), mean_of(prompts, name), mean_of(hits, name)
        elif about:
            self.estimated += [] if given.output_tokens else [kind]
            spread = lognormal(1, c.ESTIMATE_SPREAD, f"estimate {kind}")
            sample, output, prompt = np.array([about.output]), about.output * spread, about.prompt * spread
        if given.output_tokens:
            sample, output = np.array([given.output_tokens]), constant(given.output_tokens)
        if given.prompt_tokens:
            prompt = constant(given.prompt_tokens)
            cached = np.fmin(np.nan_to_num(cached), prompt)
        return GeneratedTable(name, kind, pool, rows, calls_per_row, sample, output, prompt, cached, seen)

    def add_engine(self, name: str, group: str, tables: Sequence[GeneratedTable]) -> None:
        """Add a step in which an engine fills tables at once, its replicas evenly loaded."""
        self.tables += tables
        self.rows |= {table.name: table.rows for table in tables}
        pool, (fixed, prefill) = tables[0].pool, _batch_cost(tables[0].pool)
        rows = np.sum([table.rows for table in tables], axis=0)
        lengths = ReplyLengths.mixture([(float(table.rows[0]), table.sample) for table in tables])
        output = np.sum([table.rows * table.output for table in tables], axis=0) / rows
        computed = np.sum([t.rows * np.nan_to_num(t.prompt - t.cached) for t in tables], axis=0) / rows
        work, rate, startup = output + prefill * computed, UNKNOWN, UNKNOWN
        if unknown := [table.kind for table in tables if np.isnan(table.output[0])]:
            line = "{0}: tokens per reply are not known; give planning.{0}.output_tokens"
            self.missing += [line.format(kind) for kind in unknown]
        elif not np.isnan(rows[0]):
            if (given := self._given_rate(tables)) is not None:
                work, rate = output, given  # a given speed includes the prompts
            else:
                rate = self._measured_rate(name, tables)
            rate = rate * lognormal(1, c.RATE_SPREAD, f"rate {name}")
            startup = constant(0) if np.isnan(rate[0]) else self._startup(name, group, tables)

        def parts(cpus: float, replicas: float) -> Parts:
            share = rows / replicas
            tail = fixed * pool.max_concurrency * tail_steps(lengths, float(share[0]), pool.max_concurrency)
            return {"start-up": startup, "engine": share * work / rate, "long replies": tail / rate}

        part: Literal["synthesis", "judges"] = "synthesis" if pool == self.engine else "judges"
        step = Step(name, group, parts, pool.replicas, "replica", pool.gpus_per_replica, part, pool.is_local)
        self.steps.append(step)

    def _given(self, kind: Kind) -> StageFigures:
        figures: StageFigures = getattr(self.planning, kind)
        return figures

    def _given_rate(self, tables: Sequence[GeneratedTable]) -> Draws | None:
        """Return the throughput that the config gives, over all tables of a step; None if one has none."""
        for_all = self.planning.tokens_per_second if tables[0].pool == self.engine else None
        rates = [self._given(table.kind).tokens_per_second or for_all for table in tables]
        if not all(rates):
            return None
        tokens = np.array([table.rows * table.output for table in tables])
        mean: Draws = tokens.sum(axis=0) / (tokens / np.array(rates, np.float64)[:, None]).sum(axis=0)
        return mean

    def _measured_rate(self, name: str, tables: Sequence[GeneratedTable]) -> Draws:
        """Return the throughput at full batch of the pilot's engine, its tail taken out."""
        pool, seen, work, seconds = tables[0].pool, [one for table in tables for one in table.seen], constant(0), 0.0
        for first in {one.engine_run: one for one in seen}.values():
            group = self.pilot.filled_with(first)
            work = work + _pilot_work(group, pool)
            seconds += max((one.engine_seconds for one in group), default=0.0)
        if seconds > 0 and work[0] > 0:
            self._compare(name, pool, seen)
            return work / seconds
        keys = ["planning.tokens_per_second"] * (pool == self.engine)
        keys.append(f"planning.{tables[0].kind}.tokens_per_second")
        self.missing.append(f"{name}: the speed of {pool.model} is not known; give {' or '.join(keys)}")
        return UNKNOWN

    def _compare(self, name: str, pool: ReplicaPool, seen: Sequence[PilotTable]) -> None:
        """Note how the pilot differs from the run."""
        # A trained model is in its own run's folder.
        others = {table.model for table in seen if table.model.rpartition("/")[2] != pool.model.rpartition("/")[2]}
        if others:
            self.notes.append(f"{name}: the pilot's model was {', '.join(sorted(others))}, not {pool.model}.")
        at_once = [sum(one.rows for one in self.pilot.filled_with(t)) / t.engines for t in seen]
        if pool.is_local and max(at_once) < pool.max_concurrency:
            self.notes.append(
                f"{name}: the pilot's engine had {max(at_once):,.0f} rows, and runs up to {pool.max_concurrency:,} "
                "at a time; a pilot with more rows measures its full speed better."
            )

    def _startup(self, name: str, group: str, tables: Sequence[GeneratedTable]) -> Draws:
        if not tables[0].pool.is_local or group in (
            "dialogues",
            "judgments",
        ):  # its engine has been up since the step before
            return constant(0)
        if self.planning.startup_seconds is not None:
            return constant(self.planning.startup_seconds)
        # A fleet's start-up is in no manifest: that of any engine is as good a guess.
        for seen in ([other for table in tables for other in table.seen], self.pilot.tables.values()):
            if seconds := max((other.startup_seconds for other in seen), default=0.0):
                return lognormal(seconds, c.STARTUP_SPREAD, f"start-up {name}")
        self.missing.append(
            f"{name}: the start-up time of its engine is not known and not counted; give planning.startup_seconds"
        )
        return constant(0)


def _batch_cost(pool: ReplicaPool) -> tuple[Draws, Draws]:
    """Return how the time per step of an engine grows with its batch: `fixed` and `prefill` of `batching`."""
    if not pool.is_local:  # an endpoint serves many more rows than ours; scripted replies take no time
        return constant(pool.kind == "openai"), constant(0)
    on_gpu = pool.gpus_per_replica > 0
    fixed = uniform(*(c.FIXED_ON_GPU if on_gpu else c.FIXED_ON_CPU), f"fixed {on_gpu}")
    return fixed, uniform(*c.PREFILL, "prefill")


def _pilot_work(group: Sequence[PilotTable], pool: ReplicaPool) -> Draws:
    """Return the work of all engines of the pilot for tables that they filled at once."""
    if not group:
        return constant(0)
    fixed, prefill = _batch_cost(pool)
    lengths = ReplyLengths.mixture([(table.written, table.sample[1]) for table in group])
    rows, engines = sum(table.written for table in group), max(table.engines for table in group)
    computed = sum(table.written * float(np.mean(table.sample[0] - table.sample[2])) for table in group)
    tail = tail_steps(lengths, rows / engines, pool.max_concurrency)
    if rows <= pool.max_concurrency and engines == 1:
        # If all rows ran at once, the longest reply is known and need not be expected.
        tail = lengths.values[-1] - rows * lengths.mean / pool.max_concurrency
    return rows * lengths.mean + prefill * computed + engines * fixed * pool.max_concurrency * tail
