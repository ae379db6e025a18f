"""The lineage of one id, in both directions: what it was built from, and what was built from it.

    persona ──► profile ──► dialogues ──► curated ──► packed ──► training
    instruction ──────────────┘
    persona of the evaluation ──► questions ──► answers ──► judgments

Each table on the path is a step, including tables that were not built yet.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow.dataset as ds

from factory.config import RunConfig
from factory.lineage.lineage_steps import Lineage, LineageReader, LineageStep
from factory.lineage.search import ResolvedId
from factory.lineage.trained_on import training_steps
from factory.run_output import layout
from factory.run_output.scan import Matches, RunTables, TableFiles


def follow(config: RunConfig, tables: RunTables, resolved: ResolvedId) -> Lineage:
    """Follow an id through all tables of a run.

    Raises:
        UserError: a table cannot be read.
    """
    reader = LineageReader(config, tables)
    followers = {
        "character_id": _follow_character,
        "instruction_id": _follow_instruction,
        "dialogue_id": _follow_dialogue,
        "persona_id": _follow_persona,
        "question_id": _follow_question,
    }
    steps = [
        step for kind, steps_of in followers.items() if kind in resolved.kinds for step in steps_of(reader, resolved.id)
    ]
    return Lineage(resolved.id, resolved.kinds, config.output, steps)


def _follow_character(reader: LineageReader, id_: str) -> Iterator[LineageStep]:
    where = _equals("character_id", id_)
    yield from _character_steps(reader, where)
    dialogues = reader.steps("dialogues", layout.DIALOGUES, where)
    yield from dialogues
    yield from _later_steps(reader, where, dialogues)


def _follow_instruction(reader: LineageReader, id_: str) -> Iterator[LineageStep]:
    where = _equals("instruction_id", id_)
    yield from _with_rows(reader.steps("instruction", layout.INSTRUCTIONS, where))
    dialogues = reader.steps("dialogues", layout.DIALOGUES, where)
    speakers = sorted({row["character_id"] for step in dialogues for row in step.rows})
    of_speakers = ds.field("character_id").isin(speakers) if speakers else None
    yield from reader.steps("characters", layout.PROFILES, of_speakers)
    yield from dialogues
    yield from _later_steps(reader, where, dialogues)


def _follow_dialogue(reader: LineageReader, id_: str) -> Iterator[LineageStep]:
    where = _equals("dialogue_id", id_)
    dialogues = _with_rows(reader.steps("dialogues", layout.DIALOGUES, where))
    later = list(_later_steps(reader, where, dialogues))
    # If the table of dialogues was built again since, only the curated row is left.
    rows = [row for step in (*dialogues, *later) for row in step.rows]
    character, instruction = (
        next((_equals(name, row[name]) for row in rows if name in row), None)
        for name in ("character_id", "instruction_id")
    )
    yield from _character_steps(reader, character)
    yield from _with_rows(reader.steps("instruction", layout.INSTRUCTIONS, instruction))
    yield from dialogues
    yield from _with_rows([step for step in later if step.step == "curated"])
    yield from (step for step in later if step.step != "curated")


def _follow_persona(reader: LineageReader, id_: str) -> Iterator[LineageStep]:
    where = _equals("persona_id", id_)
    yield from _evaluation_persona_steps(reader, id_)
    yield from reader.steps("questions", layout.BENCHMARK_QUESTIONS, where)
    yield from _answer_steps(reader, where)


def _follow_question(reader: LineageReader, id_: str) -> Iterator[LineageStep]:
    where = _equals("question_id", id_)
    questions = reader.steps("question", layout.BENCHMARK_QUESTIONS, where)
    answers = list(_answer_steps(reader, where))
    persona = next((row["persona_id"] for step in (*questions, *answers) for row in step.rows), None)
    yield from _evaluation_persona_steps(reader, persona)
    yield from questions
    yield from reader.steps("example replies", layout.SCORE_EXAMPLES, where)
    yield from answers


def _equals(column: str, value: str) -> ds.Expression:
    return ds.field(column) == value


def _with_rows(steps: list[LineageStep]) -> list[LineageStep]:
    """Return the steps that have a row, or all if none has: an id that is in one table only needs no other step."""
    return [step for step in steps if step.total] or steps


def _character_steps(reader: LineageReader, where: ds.Expression | None) -> Iterator[LineageStep]:
    yield from _with_rows(
        [
            *reader.steps("persona", layout.PERSONAS, where),
            *reader.steps("given profile", layout.GIVEN_PROFILES, where),
        ]
    )
    yield from reader.steps("profile", layout.PROFILES, where)


def _later_steps(reader: LineageReader, where: ds.Expression, dialogues: list[LineageStep]) -> Iterator[LineageStep]:
    """Yield the steps after the dialogues: counts of all their rows, and the rows of the dialogues that are shown."""
    shown = [row["dialogue_id"] for step in dialogues for row in step.rows]

    def find(files: TableFiles) -> Matches:
        matches = files.find(where, reader.limit)
        rows = matches.rows
        if matches.total > len(rows) and shown:
            rows = files.find(ds.field("dialogue_id").isin(shown), len(shown)).rows
        # The safety settings by name are in the manifest only: the table's settings have a list of values.
        safety = files.manifest.get("safety") or {}
        return Matches(matches.total, matches.reasons, [_add_thresholds(row, files.settings, safety) for row in rows])

    curated = reader.steps("curated", layout.CURATED, where, find)
    yield from curated
    yield from training_steps(reader, curated)


_THRESHOLDS = {
    "benchmark_text": ("benchmark_words",),
    "custom_rule": ("custom_rules",),
    "near_duplicate": ("near_duplicates",),
    "over_character_limit": ("max_per_character",),
    "personal_data": ("personal_data", "phone_regions"),
    "real_person": ("people",),
    "toxic": ("toxicity",),
}
"""The settings of curation and safety that decide on a reject reason; those of a quality rule have its name."""


def _add_thresholds(row: dict[str, Any], settings: dict[str, Any], safety: dict[str, Any]) -> dict[str, Any]:
    """Return a curated row; a rejected one has in `rule` the settings that decided, with their values at that time."""
    reason = str(row.get("reason"))
    rule = {
        f"curation.quality.{reason}.{name}": value
        for name, value in ((settings.get("quality") or {}).get(reason) or {}).items()
    }
    for section, values in (("curation", settings), ("safety", safety)):
        rule |= {f"{section}.{name}": values[name] for name in _THRESHOLDS.get(reason, ()) if name in values}
    if reason == "over_mixture_quota":
        rule["curation.mixture"] = {name: weight for name, weight, *_ in settings.get("sources", ())}
    return row | {"rule": rule} if row.get("reason") else row


def _evaluation_persona_steps(reader: LineageReader, persona: str | None) -> Iterator[LineageStep]:
    where = _equals("character_id", persona) if persona else None
    yield from reader.steps("persona of the evaluation", layout.BENCHMARK_PERSONAS, where)
    yield from reader.steps("profile of the evaluation", layout.BENCHMARK_PROFILES, where)


def _answer_steps(reader: LineageReader, where: ds.Expression) -> Iterator[LineageStep]:
    yield from reader.steps("answers", layout.ANSWERS, where)
    yield from reader.steps("judgments", layout.JUDGMENTS, where)
