"""What the judge of curation scored: counts by score, and dialogues that it kept beside ones that it rejected."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.config import AXES, JUDGED_REASONS
from factory.report.excerpts import Mask, excerpt_row
from factory.report.row_sample import LowestRanks, RowLocation, find_rows
from factory.run_output import layout
from factory.run_output.folder import RunFolder

_SCORES = {axis: f"{axis}_score" for axis in AXES}
SHOWN = 6
"""Dialogues of each side."""
CONSIDERED = 4 * SHOWN
"""Kept ones among which the judged ones are looked for: with `sample`, the others have no verdict."""


def judged_data(folder: RunFolder, mask: Mask) -> dict[str, Any]:
    """Return what the judge scored; empty without one.

    Returns:
        `settings`: judge, thresholds and accuracy; `judged`, `failed`, `without_room` and `scores`, by what is scored
        and score: dialogues; `reasons`: dialogues rejected for each; `kept` and `rejected`: those with the lowest
        hashes, with their scores, reasoning and turns.
    """
    tables = [table for table in folder.select(layout.CURATED) if isinstance(table.manifest.get("judge"), dict)]
    if not tables:
        return {}
    manifests = [table.manifest["judge"] for table in tables]
    scores = {axis: sum((Counter(one["scores"][axis]) for one in manifests), Counter()) for axis in AXES}
    sides = {"kept": LowestRanks(CONSIDERED), "rejected": LowestRanks(SHOWN)}
    for table in tables:
        for shard, rows in folder.read(table, ["dialogue_id", "reason"]):
            ids = rows["dialogue_id"].to_pylist()
            masks = {"kept": pc.is_null(rows["reason"]), "rejected": pc.is_in(rows["reason"], _reasons())}
            for side, mask_of in masks.items():
                for row in np.flatnonzero(mask_of.to_numpy(zero_copy_only=False)).tolist():
                    sides[side].add(ids[row], RowLocation(table.name, shard, row))
    counts = {name: sum(one[name] for one in manifests) for name in ("judged", "failed", "without_room")}
    rejected = {axis: sum(table.rejected.get(reason, 0) for table in tables) for axis, reason in JUDGED_REASONS.items()}
    shown = {side: _cases(folder, list(ranks.locations()), mask)[:SHOWN] for side, ranks in sides.items()}
    settings = {name: manifests[0].get(name) for name in ("name", "model", "thresholds", "accuracy")}
    return {"settings": settings, **counts, "scores": scores, "reasons": rejected, **shown}


def _reasons() -> pa.Array:
    return pa.array(list(JUDGED_REASONS.values()), pa.string())


def _cases(folder: RunFolder, ids: list[str], mask: Mask) -> list[dict[str, Any]]:
    """Return the judged ones of some dialogues, in their order."""
    verdicts: dict[str, dict[str, Any]] = {}
    texts: dict[str, dict[str, Any]] = {}
    for table in folder.select(layout.JUDGED):
        verdicts |= find_rows(folder, table, "dialogue_id", ids, ["status", "has_room", "reasoning", *_SCORES.values()])
    judged = [id_ for id_ in ids if id_ in verdicts and verdicts[id_]["status"] == "ok"]
    for table in folder.select(layout.DIALOGUES):
        texts |= find_rows(folder, table, "dialogue_id", judged, ["messages"])
    return [_case(excerpt_row(verdicts[id_] | texts[id_], mask)) for id_ in judged if id_ in texts]


def _case(row: dict[str, Any]) -> dict[str, Any]:
    turns = [turn for turn in row["messages"] or [] if turn.get("role") != "system" and turn.get("content")]
    scores = {axis: row[column] for axis, column in _SCORES.items()}
    about = {name: row[name] for name in ("has_room", "reasoning")}
    return {"id": row["dialogue_id"], **about, **scores, "turns": turns}
