"""What an id, or the beginning of one, is the id of."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow.compute as pc
import pyarrow.dataset as ds

from factory.errors import ConfigError, InputError
from factory.run_output.scan import Tables

SHORTEST, WHOLE = 6, 16
SHOWN = 8
"""Candidates that are named where the beginning of an id is that of several."""

_BORN = (
    (
        ("persona_id", "evaluation/benchmark/personas", "character_id"),
        ("question_id", "evaluation/benchmark/questions", "question_id"),
        ("character_id", "personas", "character_id"),
        ("instruction_id", "instructions/*", "instruction_id"),
    ),
    (("dialogue_id", "dialogues/*", "dialogue_id"),),
)
"""Where ids come from (kind, tables, column), the small tables first."""
_KEPT = (
    ("character_id", "profiles", "character_id"),
    ("dialogue_id", "curated/*", "dialogue_id"),
    ("instruction_id", "curated/*", "instruction_id"),
    ("instruction_id", "dialogues/*", "instruction_id"),
    ("character_id", "curated/*", "character_id"),
    ("character_id", "dialogues/*", "character_id"),
    ("persona_id", "evaluation/*/answers", "persona_id"),
    ("question_id", "evaluation/*/answers", "question_id"),
)
"""Where they are still to be found when the table that they come from is not there, or was made anew."""


@dataclass(frozen=True)
class Subject:
    """A whole id, and the kinds of things that have it: a persona may be a character of the run too."""

    id: str
    kinds: tuple[str, ...]


def subject_of(tables: Tables, asked: str) -> Subject:
    """Find the one id that begins so.

    Raises:
        ConfigError: it cannot be the beginning of an id.
        InputError: none of the run begins so, or several do.
    """
    start = asked.strip().lower()
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},{WHOLE}}}", start):
        raise ConfigError(f"--id {asked!r}: give {SHORTEST} to {WHOLE} of the digits 0-9 and a-f, as the tables have")
    found: dict[str, dict[str, None]] = {}
    for places in (*_BORN, _KEPT):
        if found and (len(start) == WHOLE or places is _KEPT):
            break
        for kind, pattern, column in places:
            for id_ in _beginning(tables, pattern, column, start):
                found.setdefault(id_, {})[kind] = None
    if not found:
        raise InputError(f"--id {asked}: no id of this run begins so; see the *_id columns of its tables")
    if len(found) > 1:
        named = ", ".join(f"{id_} ({' and '.join(kinds)})" for id_, kinds in sorted(found.items())[:SHOWN])
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        raise InputError(f"--id {asked}: {len(found):,} ids begin so: {named}{more}; give more of it")
    ((id_, kinds),) = found.items()
    return Subject(id_, tuple(kinds))


def _beginning(tables: Tables, pattern: str, column: str, start: str) -> Iterator[str]:
    where = ds.field(column) == start
    if len(start) < WHOLE:  # as a range, which statistics of a file can rule out
        where = (ds.field(column) >= start) & (ds.field(column) < start + "g")
    for name in tables.named(pattern):
        for batch in tables[name].scan([column], where):
            yield from pc.unique(batch[column]).to_pylist()
