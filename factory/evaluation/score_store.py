"""The store of scores that several runs share: every `scores.json` that was written, and one leaderboard of them.

    <store>/scores/<time>-<hash>.json   never changed or deleted by us
    <store>/leaderboard.md              made anew of all of them

Scores are compared in one table only where everything but the candidate is the same: benchmark, questions, example
replies, protocol and judge.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from factory.evaluation.scoring.markdown import escape, markdown_table
from factory.personagym import TASKS
from factory.storage import file_io
from factory.storage.bucket_keys import MAX_CONCURRENCY

FOLDER = "scores"
PAGE = "leaderboard.md"
_TIME = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True)
class StoredScore:
    """A candidate's scores by one judge, of one run."""

    asked: tuple[str, ...]
    """What scores must have in common to be compared: benchmark, digest, example replies, protocol, judge."""
    written: str
    """When, as in the file's name."""
    candidate: str
    model: str
    cells: tuple[tuple[float | None, float | None, float | None], ...]
    """Mean, low and high of each task and of the PScore."""
    personas: int
    marked: bool

    @property
    def pscore(self) -> float:
        """The mean PScore, -1 without one."""
        mean = self.cells[-1][0]
        return -1.0 if mean is None else mean


def append_scores(store: str, output: str, document: bytes) -> str:
    """Add a run's scores to the store, unless it has them, and return the file's path.

    Args:
        store: its folder.
        output: the run's, which is written beside the scores.
        document: the content of `scores.json`.
    """
    digest = sha256(document).hexdigest()[:16]
    folder = file_io.join(store, FOLDER)
    for name in file_io.list_names(folder, f"-{digest}.json"):
        return file_io.join(folder, name)
    path = file_io.join(folder, f"{datetime.now(UTC).strftime(_TIME)}-{digest}.json")
    content = {"output": output, "scores": json.loads(document)}
    file_io.write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return path


def write_leaderboard(store: str) -> str:
    """Write the leaderboard of all scores in the store, and return its path."""
    path = file_io.join(store, PAGE)
    file_io.write_bytes(path, store_leaderboard(read_store(store)).encode())
    return path


def read_store(store: str) -> list[StoredScore]:
    """Read the scores of all runs; of equal candidates that were asked the same, those written last."""
    folder = file_io.join(store, FOLDER)
    names = file_io.list_names(folder, ".json")
    with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
        files = pool.map(lambda name: list(_stored(folder, name)), names)
        latest = {(one.asked, one.candidate, one.model): one for scores in files for one in scores}
    return list(latest.values())


def _stored(folder: str, name: str) -> Iterator[StoredScore]:
    document = (file_io.read_document(file_io.join(folder, name)) or {}).get("scores") or {}
    try:
        yield from _scores_of(document, name.partition("-")[0])
    except (KeyError, TypeError, AttributeError, ValueError):
        return  # of another version; what it holds stays as it is


def _scores_of(document: Mapping[str, Any], written: str) -> Iterator[StoredScore]:
    benchmark = document["benchmark"]
    for judge in document["judges"]:
        asked = (
            benchmark["name"],
            benchmark["digest"],
            benchmark.get("frozen") or "",
            f"{document['protocol']}, {document['judge_protocol']}",
            judge["model"],
        )
        for candidate in document["candidates"]:
            scores = candidate["by_judge"][judge["name"]]
            parts = [*(scores["tasks"][task] for task in TASKS), scores["pscore"]]
            if scores.get("blank"):
                parts = [dict.fromkeys(("mean", "low", "high"))] * len(parts)
            yield StoredScore(
                asked,
                written,
                candidate["name"],
                f"{candidate['model']}@{candidate['revision']} ({candidate['condition']})",
                tuple((part["mean"], part["low"], part["high"]) for part in parts),
                scores["pscore"]["personas"],
                bool(scores["marked"]),
            )


def store_leaderboard(scores: Sequence[StoredScore]) -> str:
    """Return a Markdown page with a table for all scores that were asked the same, the highest PScore first."""
    groups: dict[tuple[str, ...], list[StoredScore]] = {}
    for score in scores:
        groups.setdefault(score.asked, []).append(score)
    parts = ["# Scores of all runs", _INTRODUCTION]
    for (name, digest, frozen, protocol, judge), members in sorted(groups.items()):
        examples = f"frozen benchmark {frozen}" if frozen else "not frozen: each run has example replies of its own"
        parts.append(f"## {escape(name)} by {escape(judge)}")
        parts.append(f"Digest {digest}, protocol {protocol}, {examples}.")
        ranked = sorted(members, key=lambda one: (-one.pscore, one.candidate, one.model))
        rows = [
            [escape(one.candidate), escape(one.model), *map(_cell, one.cells), f"{one.personas:,}", one.written[:8]]
            for one in ranked
        ]
        for row, one in zip(rows, ranked, strict=True):
            row[-3] += "*" if one.marked else ""
        parts.append(markdown_table(["candidate", "model", *TASKS.values(), "PScore", "personas", "date"], rows, 2))
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = (
    "Each table has the scores that can be compared: same questions, rubrics, protocol, example replies and judge. "
    "Intervals are of 95 %. Scores marked * lack more of their questions than the run allowed. Whether a difference "
    "within one run is more than chance is in that run's own leaderboard; between runs nothing is tested."
)


def _cell(cell: tuple[float | None, float | None, float | None]) -> str:
    mean, low, high = cell
    if mean is None:
        return "-"
    return f"{mean:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else "")
