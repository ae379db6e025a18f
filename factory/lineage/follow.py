"""One id followed both ways: to what it was made of, and to what was made of it.

    persona ──► profile ──► dialogues ──► curated ──► packed ──► training
    instruction ──────────────┘
    persona of the evaluation ──► questions ──► answers ──► judgments

Each table on the way gives a step, those that were not made yet too.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow.dataset as ds

from factory.config import RunConfig
from factory.lineage.records_of import Lineage, Reader, Step
from factory.lineage.search import Subject
from factory.lineage.trained_on import trained
from factory.run_output.scan import Found, Place, Tables

CAST = "evaluation/benchmark"


def follow(config: RunConfig, tables: Tables, subject: Subject) -> Lineage:
    """Follow an id through all tables of a run.

    Raises:
        UserError: a table cannot be read.
    """
    reader = Reader(config, tables)
    ways = {
        "character_id": _of_character,
        "instruction_id": _of_instruction,
        "dialogue_id": _of_dialogue,
        "persona_id": _of_persona,
        "question_id": _of_question,
    }
    steps = [step for kind, way in ways.items() if kind in subject.kinds for step in way(reader, subject.id)]
    return Lineage(subject.id, subject.kinds, config.output, steps)


def _of_character(reader: Reader, id_: str) -> Iterator[Step]:
    where = _is("character_id", id_)
    yield from _character(reader, where)
    dialogues = reader.steps("dialogues", "dialogues/*", where)
    yield from dialogues
    yield from _made_of(reader, where, dialogues)


def _of_instruction(reader: Reader, id_: str) -> Iterator[Step]:
    where = _is("instruction_id", id_)
    yield from _held(reader.steps("instruction", "instructions/*", where))
    dialogues = reader.steps("dialogues", "dialogues/*", where)
    speakers = sorted({row["character_id"] for step in dialogues for row in step.rows})
    yield from reader.steps("characters", "profiles", ds.field("character_id").isin(speakers) if speakers else None)
    yield from dialogues
    yield from _made_of(reader, where, dialogues)


def _of_dialogue(reader: Reader, id_: str) -> Iterator[Step]:
    where = _is("dialogue_id", id_)
    dialogues = _held(reader.steps("dialogues", "dialogues/*", where))
    later = list(_made_of(reader, where, dialogues))
    # Of a dialogue that was made anew since, the curated row alone is left.
    rows = [row for step in (*dialogues, *later) for row in step.rows]
    character, instruction = (
        next((_is(name, row[name]) for row in rows if name in row), None) for name in ("character_id", "instruction_id")
    )
    yield from _character(reader, character)
    yield from _held(reader.steps("instruction", "instructions/*", instruction))
    yield from dialogues
    yield from _held([step for step in later if step.step == "curated"])
    yield from (step for step in later if step.step != "curated")


def _of_persona(reader: Reader, id_: str) -> Iterator[Step]:
    where = _is("persona_id", id_)
    yield from _role(reader, id_)
    yield from reader.steps("questions", f"{CAST}/questions", where)
    yield from _judged(reader, where)


def _of_question(reader: Reader, id_: str) -> Iterator[Step]:
    where = _is("question_id", id_)
    questions = reader.steps("question", f"{CAST}/questions", where)
    judged = list(_judged(reader, where))
    persona = next((row["persona_id"] for step in (*questions, *judged) for row in step.rows), None)
    yield from _role(reader, persona)
    yield from questions
    yield from reader.steps("example replies", f"{CAST}/examples", where)
    yield from judged


def _is(column: str, value: str) -> ds.Expression:
    return ds.field(column) == value


def _held(steps: list[Step]) -> list[Step]:
    """The steps that have a row: of what can be in one table alone, the others have nothing to say."""
    return [step for step in steps if step.total] or steps


def _character(reader: Reader, where: ds.Expression | None) -> Iterator[Step]:
    yield from reader.steps("persona", "personas", where)
    yield from reader.steps("profile", "profiles", where)


def _made_of(reader: Reader, where: ds.Expression, dialogues: list[Step]) -> Iterator[Step]:
    """What became of dialogues: of all in numbers, row by row of those that are shown."""
    shown = [row["dialogue_id"] for step in dialogues for row in step.rows]

    def find(place: Place) -> Found:
        found = place.find(where, reader.limit)
        rows = found.rows
        if found.total > len(rows) and shown:
            rows = place.find(ds.field("dialogue_id").isin(shown), len(shown)).rows
        # What was asked for the sake of people stands in the finished table alone: its settings have a list of it.
        safety = place.manifest.get("safety") or {}
        return Found(found.total, found.reasons, [_with_rule(row, place.settings, safety) for row in rows])

    curated = reader.steps("curated", "curated/*", where, find)
    yield from curated
    yield from trained(reader, curated)


_LIMITS = {
    "benchmark_text": ("benchmark_words",),
    "near_duplicate": ("near_duplicates",),
    "over_character_limit": ("max_per_character",),
    "personal_data": ("personal_data", "phone_regions"),
    "real_person": ("people",),
    "toxic": ("toxicity",),
}
"""The settings of curation and safety that a reason goes by."""


def _with_rule(row: dict[str, Any], settings: dict[str, Any], safety: dict[str, Any]) -> dict[str, Any]:
    """A curated row, a rejected one with the settings that its reason goes by, as they were."""
    reason = row.get("reason")
    thresholds = (settings.get("quality") or {}).get(reason) or {}
    rule = {f"curation.quality.{reason}.{name}": value for name, value in thresholds.items()}
    rule |= {f"curation.{name}": settings[name] for name in _LIMITS.get(str(reason), ()) if name in settings}
    rule |= {f"safety.{name}": safety[name] for name in _LIMITS.get(str(reason), ()) if name in safety}
    if reason == "over_mixture_quota":
        rule["curation.mixture"] = {name: weight for name, weight, *_ in settings.get("sources", ())}
    return row | {"rule": rule} if reason else row


def _role(reader: Reader, persona: str | None) -> Iterator[Step]:
    where = _is("character_id", persona) if persona else None
    yield from reader.steps("persona of the evaluation", f"{CAST}/personas", where)
    yield from reader.steps("profile of the evaluation", f"{CAST}/profiles", where)


def _judged(reader: Reader, where: ds.Expression) -> Iterator[Step]:
    yield from reader.steps("answers", "evaluation/*/answers", where)
    yield from reader.steps("judgments", "evaluation/*/judgments/*", where)
