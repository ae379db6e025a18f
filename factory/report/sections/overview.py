"""The run by its manifests: the data flow, rejects, tokens, time, models and versions."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from factory.report.row_sample import StatusCounts
from factory.run_output import layout
from factory.run_output.folder import RunTable, whole
from factory.run_output.layout import TableKind, kind_of
from factory.storage.rows import TOKEN_COLUMNS

STAGES: tuple[tuple[str, tuple[TableKind, ...]], ...] = (
    ("Input", (layout.PERSONAS, layout.GIVEN_PROFILES, layout.INSTRUCTIONS)),
    ("Profiles and pairs", (layout.PROFILES, layout.ASSIGNMENTS)),
    ("Dialogues", (layout.DIALOGUES,)),
    ("Curated", (layout.CURATED,)),
    ("Trained", (layout.CHECKPOINTS,)),
    ("Answers", (layout.ANSWERS,)),
    ("Judgments", (layout.BLOCK_VERDICTS, layout.JUDGMENTS)),
)
"""The stages of the data flow with their tables."""
MAX_NODES = 6
"""More tables of one stage are drawn as one."""


def table_rows(tables: Mapping[str, RunTable], counts: Mapping[str, StatusCounts]) -> list[dict[str, Any]]:
    """Return a row per table, in the order of the data flow: its counts, speed, and what built it."""
    return [_table_row(table, counts.get(name)) for name, table in tables.items()]


def _table_row(table: RunTable, read: StatusCounts | None) -> dict[str, Any]:
    manifest, model, prompts = table.manifest, table.manifest.get("model"), table.manifest.get("prompts")
    rejected = table.rejected if table.finished else dict(sorted((read or StatusCounts()).rejected.items()))
    return {
        "table": table.name,
        "finished": table.finished,
        "rows": whole(manifest["rows_in"]) if table.finished else (read.rows if read else None),
        "ok": whole(manifest["ok"]) if table.finished else (read.ok if read else None),
        "rejected": rejected,
        "malformed": read.malformed if read else 0,
        **{name: whole(manifest.get(name)) for name in TOKEN_COLUMNS},
        **{name: _number(manifest.get(name)) for name in ("seconds", "rows_per_second", "output_tokens_per_second")},
        "engine": _text(manifest.get("engine")),
        "engine_seconds": _number(manifest.get("engine_seconds")),
        "model": _text(model.get("ref") if isinstance(model, dict) else model),
        "revision": _text(model.get("revision") if isinstance(model, dict) else None),
        "prompts": [str(prompt) for prompt in prompts] if isinstance(prompts, list) else [],
        "fingerprint": _text(manifest.get("fingerprint")),
        "started": _text(manifest.get("started")),
        "ended": _text(manifest.get("finished")),
        "commit": _text(manifest.get("git_commit")),
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def flow(rows: Sequence[Mapping[str, Any]], own: Sequence[str]) -> list[dict[str, Any]]:
    """Return the stages of the data flow, each with its nodes; a missing stage has none.

    Args:
        rows: the rows of the tables.
        own: the names of the candidates that are the model that the run trains.
    """
    stages = []
    for title, kinds in STAGES:
        of_stage = [row for row in rows if kind_of(row["table"]) in kinds]
        if len(of_stage) > MAX_NODES:
            nodes = [_node(f"{len(of_stage)} tables", of_stage, own)]
        else:
            nodes = [_node(_title(row["table"]), [row], own) for row in of_stage]
        stages.append({"title": title, "nodes": nodes})
    return stages


def _title(table: str) -> str:
    """Return a table's name without the words that the title of its stage has."""
    if parts := layout.ANSWERS.parts(table):
        return parts["candidate"]
    if parts := layout.JUDGMENTS.parts(table) or layout.BLOCK_VERDICTS.parts(table):
        return f"{parts['candidate']} by {parts['judge']}"
    if parts := layout.ASSIGNMENTS.parts(table):
        return f"pairs: {parts['corpus']}"
    return table.partition("/")[2] or table


def _node(title: str, rows: Sequence[Mapping[str, Any]], own: Sequence[str]) -> dict[str, Any]:
    own_answers = {layout.ANSWERS.name(candidate=name) for name in own}
    return {
        "title": title,
        "rows": sum(row["rows"] or 0 for row in rows),
        "ok": sum(row["ok"] or 0 for row in rows),
        "rejected": sum(sum(row["rejected"].values()) for row in rows),
        "finished": all(row["finished"] for row in rows),
        "tables": [row["table"] for row in rows],
        "trained": any(row["table"] in own_answers for row in rows),
    }


def missing_stages(
    rows: Sequence[Mapping[str, Any]], command: Callable[[str], str], needed: Mapping[str, bool], data: str | None
) -> list[dict[str, str]]:
    """Return the stages that are missing or not finished, with the command that builds them.

    Args:
        rows: the rows of the tables.
        command: returns the command line of a step.
        needed: whether the config requires each stage, by title.
        data: the output of the run whose data this one trains on, if that is another one.
    """
    notes = []
    for title, kinds in STAGES:
        of_stage = [row for row in rows if kind_of(row["table"]) in kinds]
        unfinished = [row["table"] for row in of_stage if not row["finished"]]
        elsewhere = data is not None and kinds[0].from_training_data
        text = ""
        if not of_stage and needed.get(title, True):
            text = f"{title}: not built yet."
        elif unfinished:
            text = f"{title}: not finished: {', '.join(unfinished)}."
            text += "" if elsewhere else " The same command continues where it stopped."
        if text and elsewhere:
            notes.append({"text": f"{text} The run of {data} (training.data) builds it.", "command": ""})
        elif text:
            notes.append({"text": text, "command": command(kinds[0].command)})
    return notes


def totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return sums over all tables; `seconds` is the time in which at least one step was running."""
    return {name: sum(row[name] or 0 for row in rows) for name in (*TOKEN_COLUMNS, "engine_seconds")} | {
        "seconds": _busy_seconds(rows)
    }


def _busy_seconds(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds covered by the last run of each step: tables built at the same time count once."""
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


def reject_reasons(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the number of rejected rows by table and reason, the largest first."""
    found = [
        {"table": row["table"], "reason": reason, "rows": number}
        for row in rows
        for reason, number in row["rejected"].items()
        if number
    ]
    return sorted(found, key=lambda one: (-one["rows"], one["table"], one["reason"]))


def versions(tables: Mapping[str, RunTable]) -> dict[str, list[str]]:
    """Return the versions of the libraries that built the tables; more than one if they differ."""
    found: dict[str, set[str]] = {}
    for table in tables.values():
        recorded = table.manifest.get("versions")
        for name, version in (recorded if isinstance(recorded, dict) else {}).items():
            found.setdefault(str(name), set()).add(str(version))
    return {name: sorted(numbers) for name, numbers in sorted(found.items())}
