"""What the metrics of a training tell about how it went: changed settings, skipped steps, stalled validations."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

Rows = Sequence[Mapping[str, Any]]
RESUMABLE = ("learning_rate", "final_learning_rate", "lr_scheduler_type", "warmup_ratio", "max_grad_norm")
"""Settings that shape a run and may change before it goes on; each change is recorded with its step."""


def setting_changes(rows: Rows) -> list[dict[str, Any]]:
    """Return each change of a setting, and the first step with the new value.

    Args:
        rows: metrics of the kind `settings`, one for each start of the workers, in order of the steps.
    """
    return [
        {"step": now["step"], "setting": name, "before": before.get(name), "after": now[name]}
        for before, now in pairwise(rows)
        for name in RESUMABLE
        if name in now and before.get(name) != now[name]
    ]


def is_stalled(validations: Rows, patience: int | None) -> bool:
    """Return whether the last `patience` validations brought no new lowest loss.

    Only those of the same dialogues as the last one are compared: `training.validation_sequences` may change before a
    run goes on.

    Args:
        validations: metrics of the kind `validation`, in order of the steps; a loss that is not finite is None.
        patience: None for never.
    """
    if patience is None or not validations:
        return False
    same = [row for row in validations if row["dialogues"] == validations[-1]["dialogues"]]
    losses = [float("inf") if row["loss"] is None else row["loss"] for row in same]
    return len(losses) - 1 - losses.index(min(losses)) >= patience


def training_facts(rows_by_kind: Mapping[str, Rows]) -> dict[str, Any]:
    """Return what the manifest and the model card tell about how training went.

    Args:
        rows_by_kind: the metrics of each kind, in order of the steps.

    Returns:
        `skipped_steps`, a number; `settings_changes`, of `setting_changes`.
    """
    return {
        "skipped_steps": len(rows_by_kind.get("skipped", ())),
        "settings_changes": setting_changes(rows_by_kind.get("settings", ())),
    }
