"""What a judge check found about the judges of an evaluation, and whether that is enough for a leaderboard."""

import json
from collections.abc import Mapping
from typing import Any

from factory.config import RunConfig
from factory.errors import InputError
from factory.run_output import layout
from factory.storage import file_io
from factory.storage.tables import Table, compute_fingerprint

FOLDER = "judge-check"
REPORT = f"{FOLDER}/report.json"


def settings_of(table: Table) -> str:
    """Return a hash of how a judge scored a table: of model, prompt, sampling and rubrics, not of the answers."""
    inputs = table.inputs() or {}
    return compute_fingerprint({name: value for name, value in inputs.items() if name != "work"})


def read_checks(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Return the entries of the check's `report.json` by judge; none of one that scores with other settings now."""
    content = file_io.read_if_there(file_io.join(config.output, REPORT))
    try:
        entries = {entry["judge"]: entry for entry in json.loads(content or b"[]")}
        return {
            judge.name: entries[judge.name]
            for judge in config.evaluation.judges
            if judge.name in entries and _is_current(config, judge, entries[judge.name])
        }
    except (ValueError, TypeError, KeyError):  # of another version
        return {}


def _is_current(config: RunConfig, judge: Any, entry: Mapping[str, Any]) -> bool:
    """Return whether a judge scored this evaluation, if it has, as it was checked."""
    for candidate in config.evaluation.candidates:
        judgments = layout.JUDGMENTS.table(config.output, candidate=candidate.name, judge=judge.name)
        if judgments.inputs() is not None:
            return bool(settings_of(judgments) == entry["settings"])
    return bool(entry["model"] == judge.model)


def refuse_weak_judges(config: RunConfig) -> None:
    """Check that each judge was checked, and is as accurate as `evaluation.min_judge_accuracy` demands.

    Raises:
        InputError: one is not.
    """
    bar = config.evaluation.min_judge_accuracy
    if bar is None:
        return
    checks = read_checks(config)
    for judge in config.evaluation.judges:
        if judge.name not in checks:
            raise InputError(
                f"evaluation.min_judge_accuracy is {bar}, but {judge.name!r} was not checked with its present "
                "settings; run judge-check with this config first, or set it to null"
            )
        check = checks[judge.name]
        right = check["reports"][check["ranked_by"]]["ordered"]["pointwise"]
        refuse_inaccurate("evaluation.min_judge_accuracy", bar, judge.name, right, "pairs of the judge check")


def refuse_inaccurate(key: str, bar: float, judge: str, right: Mapping[str, Any], pairs: str) -> None:
    """Check the share of pairs that a judge ranks right.

    Args:
        key: the setting that demands it.
        bar: its value.
        judge: the judge's name.
        right: the fields of the share, a `Proportion`; its value is None or not a number where no pair could be read.
        pairs: what the pairs are, in words.

    Raises:
        InputError: it is lower.
    """
    value = right["value"]
    if value is not None and value >= bar:
        return
    found = "could be read on none"
    if right["of"]:
        found = f"is right on {value:.0%} [{right['low']:.0%}, {right['high']:.0%}]"
    raise InputError(f"{key} is {bar}, but {judge!r} {found} of the {pairs}; take another judge, or lower it")
