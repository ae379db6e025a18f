"""The role-play scores of a training's checkpoints beside their validation loss: whether later epochs help."""

import re
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
        if named := re.fullmatch(r"step-(\d{1,9})", candidate["name"]):
            mean, _, low, high = next(iter(candidate["by"].values()))["cells"][-1]
            rows.append([int(named[1]), losses.get(int(named[1])), mean, low, high])
    return sorted(rows, key=lambda row: row[0] or 0)
