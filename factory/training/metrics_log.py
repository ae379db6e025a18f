"""Metrics of a training by step: as JSONL, for experiment trackers, and as a plot."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from factory.run_output import layout
from factory.storage import file_io
from factory.training.trackers import Sink
from factory.training.training_facts import training_facts

METRICS = layout.METRICS.rpartition("/")[2]
CURVE = "loss.svg"
PARTS = "history"


def write_part(folder: str, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the metrics between the previous checkpoint and this one."""
    file_io.write_bytes(file_io.join(folder, PARTS, _part_name(step)), _lines(rows))


def drop_parts_after(folder: str, step: int) -> None:
    """Delete the metrics of checkpoints after a step: those that a kill left unfinished."""
    parts = file_io.join(folder, PARTS)
    for name in file_io.list_names(parts, ".jsonl"):
        if name > _part_name(step):
            file_io.delete_file(file_io.join(parts, name))


def read_parts(folder: str) -> list[dict[str, Any]]:
    """Return the metrics up to the newest checkpoint, in the order in which they were written."""
    parts = file_io.join(folder, PARTS)
    return _read(file_io.join(parts, name) for name in file_io.list_names(parts, ".jsonl"))


def _part_name(step: int) -> str:
    return f"step-{step:08}.jsonl"


def _read(paths: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rows of files of metrics; a damaged line is left out."""
    rows = []
    for path in paths:
        for line in (file_io.read_if_there(path) or b"").splitlines():
            with suppress(ValueError, TypeError, KeyError):
                row = json.loads(line)
                rows.append(row | {"kind": str(row["kind"]), "step": int(row["step"])})
    return rows


def _lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class MetricsLog:
    """The metrics of all steps, those of earlier runs of the same table included.

    A few hundred bytes per step are in memory. A step that is repeated after a kill replaces its
    earlier metrics.
    """

    def __init__(self, folder: str, trackers: Sink | None = None) -> None:
        self._folder, self._trackers = folder, trackers or Sink({}, print)
        self._rows: dict[tuple[str, int], dict[str, Any]] = {}
        for row in [*read_parts(folder), *_read([file_io.join(folder, METRICS)])]:
            self._store(row)

    def _store(self, row: dict[str, Any]) -> None:
        self._rows[row["kind"], row["step"]] = row

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row of metrics, such as those of a step or of a validation."""
        self._store(dict(row))
        names = ("loss", "perplexity", "learning_rate", "grad_norm", "tokens_per_second", "mfu")
        numbers = {f"{row['kind']}/{name}": row[name] for name in names if row.get(name) is not None}
        if numbers and row["kind"] != "settings":
            self._trackers.log(numbers, row["step"])

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps that are repeated."""
        self._rows = {key: row for key, row in self._rows.items() if key[1] <= step}

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Return the metrics of a kind, such as `step`, `validation` or `samples`, in order of the steps."""
        return [self._rows[key] for key in sorted(self._rows) if key[0] == kind]

    def facts(self) -> dict[str, Any]:
        """Return what the manifest tells about how training went."""
        return training_facts({kind: self.rows(kind) for kind in ("settings", "skipped")})

    def write(self) -> None:
        """Write the JSONL, and what trackers hold back."""
        rows = sorted(self._rows.values(), key=lambda row: (row["step"], row["kind"]))
        file_io.write_bytes(file_io.join(self._folder, METRICS), _lines(rows))
        self._trackers.flush()

    def close(self) -> None:
        """Write everything, the plot too."""
        self.write()
        self._trackers.close()
        if self.rows("step"):
            file_io.write_bytes(file_io.join(self._folder, CURVE), self._plot())

    def _plot(self) -> bytes:
        from matplotlib.figure import Figure

        steps, validations = self.rows("step"), self.rows("validation")
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for rows, line, style in ((steps, "-", {"color": "#7a8699", "lw": 1.2, "label": "training"}),
                                  (validations, "o-", {"color": "#c2410c", "label": "validation"})):  # fmt: skip
            axes.plot([r["step"] for r in rows], [_number(r["loss"]) for r in rows], line, **style)
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats per token)")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        picture = io.BytesIO()
        figure.savefig(picture, format="svg")
        return picture.getvalue()


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
