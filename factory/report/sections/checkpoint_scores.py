"""The role-play scores of a training's checkpoints beside their validation loss: whether later epochs help."""

from collections.abc import Sequence

from factory.report.sections.scores import score_data
from factory.run_output import layout
from factory.run_output.folder import RunFolder


def checkpoint_scores(folder: RunFolder, validations: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """Return a row per scored checkpoint, by step: step, validation loss, and the PScore's mean, low and high.

    Args:
        folder: of the run.
        validations: step and loss first in each.
    """
    name = f"{layout.CHECKPOINT_SCORES}/{layout.SCORES}"
    losses = {row[0]: row[1] for row in validations}
    rows: list[list[float | None]] = []
    for candidate in score_data(folder.document(name), folder.note, name).get("candidates", []):
        step = int(candidate["name"].rpartition("-")[2])
        scores = next(iter(candidate["by"].values()))
        mean, _, low, high = scores["cells"][-1]
        rows.append([step, losses.get(step), *([None] * 3 if scores["blank"] else [mean, low, high])])
    return sorted(rows, key=lambda row: row[0] or 0)
