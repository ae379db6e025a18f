"""Training as it told of itself: curves, learning rate, tokens, and the validation loss before and after."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from factory.run_output.folder import Folder, whole

MOST_POINTS = 1000
"""Of a curve; more steps are averaged, two by two, until they fit."""
METRICS = "checkpoints/metrics.jsonl"
PARTS = "checkpoints/history/"


@dataclass
class Curve:
    """Steps in order, thinned while they come in, so that memory does not grow with them."""

    points: list[list[float]] = field(default_factory=list)
    """[step, loss, learning rate, tokens a second]: of the last step, and the means of the others."""
    tokens: int = 0
    seconds: float = 0
    steps: int = 0
    a_point: int = 1
    """How many steps a point stands for."""
    _group: list[list[float]] = field(default_factory=list)
    _last: float = -1

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in a step; one that was told before is passed over."""
        if row["step"] <= self._last:
            return
        self._last = row["step"]
        self.steps += 1
        self.tokens += whole(row.get("tokens"))
        self.seconds += row["seconds"] if isinstance(row.get("seconds"), (int, float)) else 0
        others = [row.get(name) for name in ("learning_rate", "tokens_per_second")]
        self._group.append([row["step"], row["loss"], *(one if isinstance(one, (int, float)) else 0 for one in others)])
        if len(self._group) == self.a_point:
            self.points.append(_mean(self._group))
            self._group = []
        if len(self.points) >= 2 * MOST_POINTS:
            self.points = [_mean(self.points[n : n + 2]) for n in range(0, len(self.points), 2)]
            self.a_point *= 2

    def close(self) -> None:
        """Take the last steps as they are."""
        if self._group:
            self.points.append(_mean(self._group))
            self._group = []


def _mean(group: list[list[float]]) -> list[float]:
    return [group[-1][0], *(sum(values) / len(group) for values in list(zip(*group, strict=True))[1:])]


def read_curves(rows: Iterable[Mapping[str, Any]]) -> tuple[Curve, list[list[float]], int]:
    """What training told, to a curve of steps and the validations as [step, loss, dialogues]; and rows that are neither."""  # noqa: E501
    curve, validations, other = Curve(), dict[float, list[float]](), 0
    for row in rows:
        numbers = all(isinstance(row.get(name), (int, float)) for name in ("step", "loss"))
        if numbers and row.get("kind") == "step":
            curve.add(row)
        elif numbers and row.get("kind") == "validation":
            validations[row["step"]] = [row["step"], row["loss"], whole(row.get("dialogues"))]
        else:
            other += 1
    curve.close()
    return curve, [validations[step] for step in sorted(validations)], other


def metric_rows(folder: Folder) -> Iterable[Mapping[str, Any]]:
    """The rows of the metrics, or, of a run that wrote none yet, those that stand beside its checkpoints."""
    names = [METRICS] if METRICS in folder.files else sorted(name for name in folder.files if name.startswith(PARTS))
    for name in names:
        yield from folder.lines(name)


def shown_training(folder: Folder) -> dict[str, Any]:
    """Curves and figures of training; empty where none was begun."""
    found = folder.tables.get("checkpoints")
    curve, validations, other = read_curves(metric_rows(folder))
    if other:
        folder.note(f"{METRICS}: {other:,} lines tell of no step and no validation and are left out")
    if found is None and not curve.points:
        return {}
    told = found.manifest if found else {}
    packed = {name: folder.tables[name].manifest for name in ("packed/train", "packed/validation")
              if name in folder.tables}  # fmt: skip
    names = ("tokens", "learned_tokens", "sequences", "fill", "truncated_dialogues", "ok")
    return {
        "curve": curve.points,
        "a_point": curve.a_point,
        "validations": validations,
        "steps": [curve.steps, whole(told.get("steps")) or None],
        "epochs": told.get("epochs"),
        "tokens": curve.tokens,
        "seconds": curve.seconds,
        "train_loss": told.get("train_loss"),
        "gain": told.get("validation"),
        "trained_by": told.get("trained_by"),
        "packed": {name: {key: one.get(key) for key in names} for name, one in packed.items()},
    }
