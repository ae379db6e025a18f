"""Labels and judgments to `labels/calibration.json`: how judges agree with people, and means corrected by labels."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from pydantic import TypeAdapter
from rich.table import Table as Grid
from rich.text import Text

from factory.config import RunConfig
from factory.errors import InputError
from factory.evaluation.dry_run import check_listed
from factory.evaluation.labels.estimates import (
    Estimate,
    PersonaMeans,
    calibrated_means,
    estimate,
    estimate_difference,
    raw_means,
)
from factory.evaluation.labels.label_agreement import (
    LabelAgreement,
    PlaygroundVotes,
    RaterSummary,
    label_agreement,
    playground_votes,
    summarize_raters,
)
from factory.evaluation.labels.label_items import label_groups
from factory.evaluation.labels.labeled_answers import CountedLabels, Evaluated, count_labels, read_evaluated
from factory.evaluation.scoring.score_arrays import TASK_NAMES
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, reraise_own_errors
from factory.storage import file_io
from factory.storage.tables import Table

REPORT = "labels/calibration.json"
MEAN = "all"
"""In place of a judge's name: the mean over the judges."""


@dataclass(frozen=True)
class CalibratedCandidate:
    """A candidate's mean of the task means by a judge: its own, and corrected by labels."""

    candidate: str
    raw: Estimate
    corrected: Estimate


@dataclass(frozen=True)
class CalibratedDifference:
    """The difference of two such means, a minus b."""

    a: str
    b: str
    raw: Estimate
    corrected: Estimate


@dataclass(frozen=True)
class CalibratedJudge:
    """A judge, or the mean of all, against people."""

    judge: str
    agreement: Mapping[str, LabelAgreement]
    """By task."""
    candidates: Sequence[CalibratedCandidate]
    differences: Sequence[CalibratedDifference]
    """Of each candidate to the first one, or of `labels.pair`."""


@dataclass(frozen=True)
class Calibration:
    """The document. `unused` counts labels by the reason why they are not counted."""

    labels: int
    unused: Mapping[str, int]
    judges: Sequence[CalibratedJudge]
    raters: Sequence[RaterSummary]
    playground: Sequence[PlaygroundVotes]


def check(config: RunConfig) -> None:
    """Check candidates, judges and that there are labels.

    Raises:
        UserError: something is missing.
    """
    check_listed(config, "candidates", "judges")
    label_groups(config)
    if not layout.LABELS.table(config.output).shards():
        raise InputError(f"{layout.LABELS.name()}: has no labels; run label first")


def plan(config: RunConfig, progress: Progress) -> None:
    """Check, and print what is read.

    Raises:
        UserError: as `check` does.
    """
    check(config)
    progress.print(f"Labels: {len(layout.LABELS.table(config.output).shards())} shards; report: {REPORT}")


def write_calibration(config: RunConfig, progress: Progress) -> None:
    """Write the document, and show it."""
    with reraise_own_errors():
        found: Calibration = ray.get(_calibrate.remote(config))
    path = file_io.join(config.output, REPORT)
    file_io.write_bytes(path, TypeAdapter(Calibration).dump_json(found, indent=2) + b"\n")  # NaN is null there
    progress.show(means_grid(found))
    progress.show(agreement_grid(found))
    unused = "".join(f"; {count:,} {reason}" for reason, count in found.unused.items() if count)
    progress.print(f"Labels: {found.labels:,} counted{unused}")
    for votes in found.playground:
        progress.print(f"Playground: people preferred {votes.a} to {votes.b} in {votes.wins:,} of {votes.of:,} turns")
    progress.print(f"Report: {path}")


@ray.remote(num_cpus=IO_TASK_CPUS)
def _calibrate(config: RunConfig) -> Calibration:
    items, labels = (_rows(kind.table(config.output)) for kind in (layout.LABEL_ITEMS, layout.LABELS))
    withdrawn = set(config.labels.withdrawn)
    labels = [label for label in labels if label["rater"] not in withdrawn]
    evaluated = read_evaluated(config, items)
    used = count_labels(items, labels, evaluated)
    judges = [*(judge.name for judge in config.evaluation.judges), MEAN]
    return Calibration(
        labels=used.counted,
        unused=used.unused,
        judges=[_judge(config, name, number, evaluated, used) for number, name in enumerate(judges)],
        raters=summarize_raters(items, labels),
        playground=playground_votes(_rows(Table(config.output, "feedback"))),
    )


def _rows(table: Table) -> list[dict[str, Any]]:
    return [row for shard in table.shards() for row in table.read(shard).to_pylist()]


def _judge(config: RunConfig, name: str, number: int, evaluated: Evaluated, used: CountedLabels) -> CalibratedJudge:
    """Return the results of one judge; the last number is that of the mean over the judges."""
    names = list(evaluated.scores)
    raw, corrected = dict[str, PersonaMeans](), dict[str, PersonaMeans | None]()
    for candidate in names:
        population = evaluated.population(candidate, number)
        raw[candidate] = raw_means(population)
        numbers, labels, _ = used.of(candidate)
        drawn = np.searchsorted(np.flatnonzero(evaluated.answered[candidate]), numbers)
        corrected[candidate] = calibrated_means(population, drawn, labels)
    pairs = [config.labels.pair] if config.labels.pair else [(one, names[0]) for one in names[1:]]
    differences = []
    for a, b in pairs:
        found = estimate_difference(corrected[a], corrected[b])
        found = _paired_difference(evaluated, used, number, a, b) if config.labels.pair else found
        differences.append(CalibratedDifference(a, b, estimate_difference(raw[a], raw[b]), found))
    return CalibratedJudge(
        judge=name,
        agreement=_agreement(config, number, evaluated, used),
        candidates=[CalibratedCandidate(one, estimate(raw[one]), estimate(corrected[one])) for one in names],
        differences=differences,
    )


def _paired_difference(evaluated: Evaluated, used: CountedLabels, number: int, a: str, b: str) -> Estimate:
    """Return the corrected difference from questions whose two answers the same people labeled."""
    (numbers_a, labels_a, _), (numbers_b, labels_b, _) = used.of(a), used.of(b)
    numbers, at_a, at_b = np.intersect1d(numbers_a, numbers_b, return_indices=True)
    population = evaluated.pair_population(a, b, number, len(numbers))
    drawn = np.searchsorted(np.flatnonzero(evaluated.answered[a] & evaluated.answered[b]), numbers)
    return estimate(calibrated_means(population, drawn, labels_a[at_a] - labels_b[at_b]))


def _agreement(config: RunConfig, number: int, evaluated: Evaluated, used: CountedLabels) -> dict[str, LabelAgreement]:
    """Compare the labels of all candidates with a judge's scores, by task."""
    rows: defaultdict[str, list[tuple[float, float, float, Any]]] = defaultdict(list)
    for candidate in evaluated.scores:
        numbers, labels, weights = used.of(candidate)
        for question, label, weight in zip(numbers.tolist(), labels.tolist(), weights.tolist(), strict=True):
            score = float(evaluated.scores[candidate][number, question])
            if not math.isnan(score):  # equal weights are of one stratum
                rows[TASK_NAMES[evaluated.tasks[question]]].append((label, score, weight, (candidate, weight)))
    found = {}
    for task in filter(rows.__contains__, TASK_NAMES):
        given, scored, standing, strata = zip(*rows[task], strict=True)
        found[task] = label_agreement(given, scored, standing, strata, config.seed)
    return found


def means_grid(found: Calibration) -> Grid:
    """Return the candidates' means and differences for the terminal."""
    grid = Grid(title="Means by judge, and corrected by people's labels", title_justify="left", box=None)
    grid.padding = (0, 2, 0, 0)
    for column in ("judge", "candidate", "raw", "corrected", "labels"):
        grid.add_column(column, justify="left" if column in ("judge", "candidate") else "right")
    for judge in found.judges:
        for one in judge.candidates:
            cells = (_text(one.raw), _text(one.corrected), f"{one.corrected.labels:,}")
            grid.add_row(*map(Text, (judge.judge, one.candidate, *cells)))
        for two in judge.differences:
            cells = (_text(two.raw, "+z.2f"), _text(two.corrected, "+z.2f"), f"{two.corrected.labels:,}")
            grid.add_row(*map(Text, (judge.judge, f"{two.a} - {two.b}", *cells)))
    return grid


def agreement_grid(found: Calibration) -> Grid:
    """Return the judges' agreement with people for the terminal."""
    caption = "Kappa is weighted by squares; its interval is approximate. Bias: how much higher the judge scores."
    grid = Grid(title="Agreement with people", title_justify="left", caption=caption, caption_justify="left", box=None)
    grid.padding = (0, 2, 0, 0)
    for column in ("judge", "task", "labels", "same", "within 1", "kappa", "bias"):
        grid.add_column(column, justify="left" if column in ("judge", "task") else "right")
    for judge in found.judges:
        for task, one in judge.agreement.items():
            shares = (f"{100 * share:.0f} %" for share in (one.same, one.within_one))
            bounds = f"{one.kappa:.2f} [{one.kappa_low:.2f}, {one.kappa_high:.2f}]"
            cells = (judge.judge, task, f"{one.labels:,}", *shares, bounds, f"{one.bias:+z.2f}")
            grid.add_row(*map(Text, cells))
    return grid


def _text(one: Estimate, form: str = ".2f") -> str:
    if np.isnan(one.mean):
        return "too few"
    return f"{one.mean:{form}} [{one.low:{form}}, {one.high:{form}}]"
