"""Training metrics: curves, learning rate, tokens, and the validation loss before and after."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from factory.report.sections.checkpoint_scores import checkpoint_scores
from factory.run_output import layout
from factory.run_output.folder import RunFolder, whole

MAX_POINTS = 1000
"""Maximum points of a curve; more steps are averaged in pairs until they fit."""
MAX_SAMPLE_STEPS = 4
"""Maximum number of validations whose sample replies are shown."""
HISTORY = "checkpoints/history/"
"""The metrics of a run that was interrupted before it wrote `METRICS`."""


@dataclass
class TrainingCurve:
    """Training steps in order, averaged while they are read, so that memory does not grow with them."""

    points: list[list[float]] = field(default_factory=list)
    """[step, loss, learning rate, tokens per second]: the last step of the point, and means over its steps."""
    tokens: int = 0
    seconds: float = 0
    steps: int = 0
    steps_per_point: int = 1
    _group: list[list[float]] = field(default_factory=list)
    _last: float = -1

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a step; a step that was added before is skipped."""
        if row["step"] <= self._last:
            return
        self._last = row["step"]
        self.steps += 1
        self.tokens += whole(row.get("tokens"))
        self.seconds += row["seconds"] if isinstance(row.get("seconds"), (int, float)) else 0
        rates = [row.get(name) for name in ("learning_rate", "tokens_per_second")]
        self._group.append(
            [row["step"], row["loss"], *(rate if isinstance(rate, (int, float)) else 0 for rate in rates)]
        )
        if len(self._group) == self.steps_per_point:
            self.points.append(_mean(self._group))
            self._group = []
        if len(self.points) >= 2 * MAX_POINTS:
            self.points = [_mean(self.points[n : n + 2]) for n in range(0, len(self.points), 2)]
            self.steps_per_point *= 2

    def close(self) -> None:
        """Add the last point, which may have fewer steps."""
        if self._group:
            self.points.append(_mean(self._group))
            self._group = []


def _mean(group: list[list[float]]) -> list[float]:
    return [group[-1][0], *(sum(values) / len(group) for values in list(zip(*group, strict=True))[1:])]


def read_curves(rows: Iterable[Mapping[str, Any]]) -> tuple[TrainingCurve, list[list[float]], int]:
    """Read metrics: the curve of the steps, the validations [step, loss, dialogues], and the number of other rows."""
    curve, validations, other = TrainingCurve(), dict[float, list[float]](), 0
    for row in rows:
        numbers = all(isinstance(row.get(name), (int, float)) for name in ("step", "loss"))
        if numbers and row.get("kind") == "step":
            curve.add(row)
        elif numbers and row.get("kind") == "validation":
            validations[row["step"]] = [row["step"], row["loss"], whole(row.get("dialogues"))]
        elif row.get("kind") not in ("settings", "skipped", "samples"):
            other += 1
    curve.close()
    return curve, [validations[step] for step in sorted(validations)], other


def sample_replies(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what held-out characters said, at up to `MAX_SAMPLE_STEPS` validations, the first and the last included.

    Returns:
        `steps`, and `rows`: the dialogue, its message and a reply per step, None where there is none; empty without.
    """
    found = [row for row in rows if row.get("kind") == "samples" and isinstance(row.get("step"), int)]
    by_step = {row["step"]: row.get("samples") for row in found}
    steps = sorted(by_step)
    last = len(steps) - 1
    places = sorted({round(n * last / (MAX_SAMPLE_STEPS - 1)) for n in range(MAX_SAMPLE_STEPS)}) if steps else []
    shown = [steps[place] for place in places]
    replies: dict[tuple[str, str], dict[int, str]] = {}
    for step in shown:
        for dialogue, message, reply in _samples(by_step[step]):
            replies.setdefault((dialogue, message), {})[step] = reply
    if not replies:
        return {}
    return {"steps": shown, "rows": [[*name, [said.get(step) for step in shown]] for name, said in replies.items()]}


def _samples(found: Any) -> list[tuple[str, str, str]]:
    """Return dialogue, message and reply of each sample that has them; the metrics may be damaged."""
    samples = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    texts = [tuple(each.get(name) for name in ("dialogue_id", "message", "reply")) for each in samples]
    return [(a, b, c) for a, b, c in texts if isinstance(a, str) and isinstance(b, str) and isinstance(c, str)]


def _kept_samples(rows: Iterable[Mapping[str, Any]], samples: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield all rows, and add the few with sample replies to a list: the metrics are read once."""
    for row in rows:
        if row.get("kind") == "samples":
            samples.append(row)
        yield row


def metric_rows(folder: RunFolder) -> Iterable[Mapping[str, Any]]:
    """Yield the rows of the metrics, or of the history beside the checkpoints if there are no metrics yet."""
    history = sorted(name for name in folder.files if name.startswith(HISTORY))
    for name in [layout.METRICS] if layout.METRICS in folder.files else history:
        yield from folder.lines(name)


def training_data(folder: RunFolder) -> dict[str, Any]:
    """Return the curves and figures of training; empty if no training was started."""
    table = folder.tables.get(layout.CHECKPOINTS.name())
    samples: list[Mapping[str, Any]] = []
    curve, validations, other = read_curves(_kept_samples(metric_rows(folder), samples))
    if other:
        folder.note(f"{layout.METRICS}: {other:,} lines are neither a step nor a validation and are left out")
    if table is None and not curve.points:
        return {}
    manifest = table.manifest if table else {}
    names = ("tokens", "learned_tokens", "segments", "sequences", "fill", "truncated_dialogues", "ok")
    return {
        "curve": curve.points,
        "steps_per_point": curve.steps_per_point,
        "validations": validations,
        "steps": [curve.steps, whole(manifest.get("steps")) or None],
        "epochs": manifest.get("epochs"),
        "tokens": curve.tokens,
        "seconds": curve.seconds,
        "train_loss": manifest.get("train_loss"),
        "checkpoint_scores": checkpoint_scores(folder, validations),
        "gain": manifest.get("validation"),
        "samples": sample_replies(samples),
        "trained_by": manifest.get("trained_by"),
        "skipped_steps": whole(manifest.get("skipped_steps")),
        "packed": {
            packed.name: {key: packed.manifest.get(key) for key in names} for packed in folder.select(layout.PACKED)
        },
    }
