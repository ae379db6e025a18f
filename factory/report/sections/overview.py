"""What a run did, from its manifests: the way of the data, rejects, tokens, time, models, versions."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from factory.report.row_sample import Tally
from factory.run_output.folder import Found, whole

STAGES = (
    ("Input", "personas|instructions/.*", "synthesize"),
    ("Profiles and pairs", "profiles|assignments/.*", "synthesize"),
    ("Dialogues", "dialogues/.*", "synthesize"),
    ("Curated", "curated/.*", "curate"),
    ("Trained", "checkpoints", "train"),
    ("Answers", "evaluation/[^/]+/answers", "eval"),
    ("Judgments", "evaluation/[^/]+/judgments/.*", "eval"),
)
"""The way of the data: each stage with its tables and the target of `make` that fills them."""
MOST_NODES = 6
"""More tables of one stage are drawn as one."""
Command = Callable[[str], str]
"""What a person types to make a target of `make` with this run's settings."""


def steps(tables: Mapping[str, Found], tallies: Mapping[str, Tally]) -> list[dict[str, Any]]:
    """A row a table, in the order of the data: its accounts, speed, and what made it."""
    return [_step(found, tallies.get(name)) for name, found in tables.items()]


def _step(found: Found, read: Tally | None) -> dict[str, Any]:
    told, model, prompts = found.manifest, found.manifest.get("model"), found.manifest.get("prompts")
    rejected = found.rejected if found.finished else dict(sorted((read or Tally()).rejected.items()))
    return {
        "table": found.name,
        "finished": found.finished,
        "rows": whole(told["rows_in"]) if found.finished else (read.rows if read else None),
        "ok": whole(told["ok"]) if found.finished else (read.ok if read else None),
        "rejected": rejected,
        "malformed": read.malformed if read else 0,
        **{name: whole(told.get(name)) for name in ("prompt_tokens", "output_tokens", "cached_tokens")},
        **{name: _number(told.get(name)) for name in ("seconds", "rows_per_second", "output_tokens_per_second")},
        "engine": _text(told.get("engine")),
        "engine_seconds": _number(told.get("engine_seconds")),
        "model": _text(model.get("ref") if isinstance(model, dict) else model),
        "revision": _text(model.get("revision") if isinstance(model, dict) else None),
        "prompts": [str(one) for one in prompts] if isinstance(prompts, list) else [],
        "fingerprint": _text(told.get("fingerprint")),
        "started": _text(told.get("started")),
        "ended": _text(told.get("finished")),
        "commit": _text(told.get("git_commit")),
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def flow(rows: Sequence[Mapping[str, Any]], own: Sequence[str]) -> list[dict[str, Any]]:
    """The stages of the way, each with its nodes; a stage that is not there has none.

    Args:
        rows: the steps.
        own: the candidates that are the model that the run trains.
    """
    drawn = []
    for title, pattern, _ in STAGES:
        mine = [row for row in rows if re.fullmatch(pattern, row["table"])]
        if len(mine) > MOST_NODES:
            nodes = [_joined(f"{len(mine)} tables", mine, own)]
        else:
            nodes = [_joined(_title(row["table"]), [row], own) for row in mine]
        drawn.append({"title": title, "nodes": nodes})
    return drawn


def _title(table: str) -> str:
    """A table's name without what its stage says already."""
    kind, _, rest = table.partition("/")
    if kind == "evaluation":
        return rest.replace("/answers", "").replace("/judgments/", " by ")
    return f"pairs: {rest}" if kind == "assignments" else rest or kind


def _joined(title: str, rows: Sequence[Mapping[str, Any]], own: Sequence[str]) -> dict[str, Any]:
    return {
        "title": title,
        "rows": sum(row["rows"] or 0 for row in rows),
        "ok": sum(row["ok"] or 0 for row in rows),
        "rejected": sum(sum(row["rejected"].values()) for row in rows),
        "finished": all(row["finished"] for row in rows),
        "tables": [row["table"] for row in rows],
        "trained": any(row["table"] == f"evaluation/{name}/answers" for row in rows for name in own),
    }


def missing(
    rows: Sequence[Mapping[str, Any]], command: Command, wanted: Mapping[str, bool], data: str | None
) -> list[dict[str, str]]:
    """The stages that are not there or not finished, with the command that makes them.

    Args:
        rows: the steps.
        command: what makes a target of `make` here.
        wanted: by stage, whether the config asks for it.
        data: the output of the run that this one trains on, if that is another one: its tables are made by its config.
    """
    notes = []
    for title, pattern, target in STAGES:
        mine = [row for row in rows if re.fullmatch(pattern, row["table"])]
        open_ones = [row["table"] for row in mine if not row["finished"]]
        others = data is not None and target in ("synthesize", "curate")
        told = ""
        if not mine and wanted.get(title, True):
            told = f"{title}: not made yet."
        elif open_ones:
            told = f"{title}: not finished: {', '.join(open_ones)}."
            told += "" if others else " The same command goes on where it stopped."
        if told and others:
            notes.append({"text": f"{told} It is the run of {data} (training.data) that makes it.", "command": ""})
        elif told:
            notes.append({"text": told, "command": command(target)})
    return notes


def totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums over all steps; `seconds` in which any of them was at work."""
    names = ("prompt_tokens", "cached_tokens", "output_tokens", "engine_seconds")
    return {name: sum(row[name] or 0 for row in rows) for name in names} | {"seconds": _at_work(rows)}


def _at_work(rows: Sequence[Mapping[str, Any]]) -> float:
    """Seconds covered by the steps' last runs: tables that are made side by side count once."""
    covered, until = 0.0, 0.0
    for start, end in sorted(filter(None, map(_span, rows))):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered


def _span(row: Mapping[str, Any]) -> tuple[float, float] | None:
    try:
        end = datetime.fromisoformat(row["ended"] or "").timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return end - (row["seconds"] or 0), end


def reasons(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rejected rows by table and reason, the most first."""
    found = [
        {"table": row["table"], "reason": reason, "rows": number}
        for row in rows
        for reason, number in row["rejected"].items()
        if number
    ]
    return sorted(found, key=lambda one: (-one["rows"], one["table"], one["reason"]))


def versions(tables: Mapping[str, Found]) -> dict[str, list[str]]:
    """The versions of the libraries that made the tables; more than one where they differ."""
    found: dict[str, set[str]] = {}
    for one in tables.values():
        told = one.manifest.get("versions")
        for name, version in (told if isinstance(told, dict) else {}).items():
            found.setdefault(str(name), set()).add(str(version))
    return {name: sorted(numbers) for name, numbers in sorted(found.items())}
