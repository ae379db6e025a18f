"""What is known of a phase: its replies, its prompts, and how fast its engine is. Given numbers go before measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.config import Planning, StageFigures
from factory.planning.batching import Lengths, Pace, steps_for, work_for
from factory.planning.pilot import Observed, Pilot
from factory.planning.uncertainty import Draws, between, exactly, give_or_take, resampled
from factory.planning.workload import Crew, Phase, Stage

RATE_SPREAD = 0.08
"""How far the speed of two runs of one engine lies apart: `tests/benchmarks/throughput.py` saw 2 to 8 per cent."""
STARTUP_SPREAD = 0.15
PREFILL = (0.1, 0.2, 0.35)
"""What a prompt token that is computed takes, of a generated one. Measured on a CPU: 0.16 (384 dialogues of 64
characters at 5.5 rows a second with the prefix cache and 2.9 without); by FLOPs on eight H100s with 70B: 0.3."""
FIXED_ON_CPU = (0.1, 0.2, 0.4)
"""The part of a full step that one row alone takes too; 0.19 fits the phases of the demo's run."""
FIXED_ON_GPU = (0.25, 0.45, 0.75)
"""Published steps of an 8B model on an H100, 10.8, 11.6 and 13.0 ms with 1, 8 and 32 rows, come to 0.36 at 256 rows
and 0.7 at 64."""


@dataclass(frozen=True)
class Tokens:
    """What is known of a row of a stage."""

    lengths: Lengths | None
    """Of the replies of a row, all turns together; None where it is not known."""
    prompt: Draws | None
    cached: Draws | None
    """The part of the prompt that the prefix cache serves."""
    basis: str
    """Where the numbers come from, in words."""


@dataclass(frozen=True)
class Known:
    """All that a phase's time follows from."""

    rows: Draws
    lengths: Lengths
    computed: Draws
    """Prompt tokens a row that the prefix cache does not serve."""
    rate: Draws
    """Generated tokens a second of one replica, all places taken."""
    startup: Draws
    pace: Pace


def given_for(planning: Planning, stage: Stage) -> StageFigures:
    """What the config says of a stage's kind."""
    figures: StageFigures = getattr(planning, stage.kind)
    return figures


def tokens_of(stage: Stage, planning: Planning, pilot: Pilot | None) -> Tokens:
    """Tokens a row, as given or as in the pilot."""
    given, seen = given_for(planning, stage), pilot.of(stage.table, stage.kind) if pilot else []
    basis = "not known"
    lengths = prompt = cached = None
    if seen:
        values, prompts, hits, weights = _pooled(seen, stage.table)
        lengths, prompt, cached = Lengths.of(values, weights), weights @ prompts, weights @ hits
        same = seen[0].table.name == stage.table
        basis = f"{len(values):,} rows of the pilot" + ("" if same else "'s " + ", ".join(_names(seen)))
    if given.output_tokens:
        lengths = Lengths(np.array([given.output_tokens]), np.ones((len(exactly(1)), 1)))
        basis = "given, as one number, which has no tail of long replies"
    if given.prompt_tokens:
        prompt, cached = exactly(given.prompt_tokens), cached
        cached = exactly(0) if cached is None else np.minimum(cached, prompt)
    return Tokens(lengths, prompt, cached, basis)


def _names(seen: Sequence[Observed]) -> list[str]:
    return [one.table.name.rpartition("/")[2] for one in seen[:3]] + ["..."] * (len(seen) > 3)


def _pooled(seen: Sequence[Observed], name: str) -> tuple[Draws, Draws, Draws, Draws]:
    """Replies, prompts and hits of the rows of several tables, and their weights in each draw."""
    samples = [one.sample for one in seen]
    outputs, prompts, hits = (
        np.concatenate([getattr(sample, column) for sample in samples]) for column in ("output", "prompt", "cached")
    )
    return outputs, prompts, hits, resampled(len(outputs), name)


def mixed(parts: Sequence[tuple[Draws, Lengths]]) -> Lengths:
    """The lengths of the rows of several stages together, each with how many rows it has."""
    total = sum((rows for rows, _ in parts), exactly(0))
    values = np.concatenate([lengths.values for _, lengths in parts])
    weights = np.hstack([lengths.weights * (rows / total)[:, None] for rows, lengths in parts])
    return Lengths.of(values, weights)


def pace_of(crew: Crew) -> Pace:
    """How the steps of an engine grow with the rows that it works on."""
    if crew.kind in ("openai", "scripted"):  # others serve many more than we ask; nobody waits for a script
        return Pace(crew.places, exactly(crew.kind == "openai"), exactly(0))
    on_gpu = crew.gpus_a_replica > 0
    fixed = FIXED_ON_GPU if on_gpu else FIXED_ON_CPU
    return Pace(crew.places, between(*fixed, f"fixed {on_gpu}"), between(*PREFILL, "prefill"))


def given_rate(phase: Phase, planning: Planning, own: bool, outputs: Sequence[Draws]) -> Draws | None:
    """The speed that the config gives; where stages have their own, that of all together.

    Args:
        phase: its stages.
        planning: the config's section.
        own: whether the phase's engine is the config's `engine`.
        outputs: generated tokens of each stage.
    """
    rates = [
        given_for(planning, stage).tokens_per_second or (own and planning.tokens_per_second) for stage in phase.stages
    ]
    if not all(rates):
        return None
    seconds = sum((out / float(rate or 1) for out, rate in zip(outputs, rates, strict=True)), exactly(0))
    together = sum(outputs, exactly(0)) / seconds
    return together * give_or_take(1, RATE_SPREAD, f"rate {phase.name}")


def seen_rate(phase: Phase, pilot: Pilot, pace: Pace) -> Draws | None:
    """The speed of the pilot's engine with all places taken, its own tail taken out; None where it did none of this."""
    work, seconds, done = exactly(0), 0.0, set()
    for stage in phase.stages:
        for one in pilot.of(stage.table, stage.kind):
            if one.moment in done:
                continue
            done.add(one.moment)
            group = pilot.beside(one)
            engines = max(table.engines for table in group)
            work = work + engines * _work_seen(group, engines, pace)
            seconds += max(table.engine_seconds for table in group)
    if not done or seconds <= 0 or work[0] <= 0:
        return None
    return work / seconds * give_or_take(1, RATE_SPREAD, f"rate {phase.name}")


def _work_seen(group: Sequence[Observed], engines: int, pace: Pace) -> Draws:
    """What each of the pilot's engines did."""
    parts, computed, rows = [], exactly(0), 0.0
    for table in group:
        sample, made = table.sample, table.rows * table.made
        if not made or not len(sample.output):
            continue
        even = np.full((len(computed), len(sample.output)), 1 / len(sample.output))
        parts.append((exactly(made), Lengths.of(sample.output, even)))
        computed = computed + made * float(np.mean(sample.prompt - sample.cached))
        rows += made
    if not parts:
        return exactly(0)
    lengths, alone = mixed(parts), exactly(rows / engines)
    all_at_once = rows <= pace.places and engines == 1
    # Where all rows had a place at once, the longest reply is known and need not be expected.
    steps = exactly(lengths.values[-1]) if all_at_once else steps_for(lengths, alone, pace.places)
    return work_for(lengths, computed / rows, alone, pace, steps)
