"""Resolve an id, or the first digits of one, to the rows that have it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow.compute as pc
import pyarrow.dataset as ds

from factory.errors import ConfigError, InputError
from factory.run_output import layout
from factory.run_output.layout import TableKind
from factory.run_output.scan import RunTables

SHORTEST, COMPLETE = 6, 16
NAMED_IDS = 8
"""How many ids a message lists when several have the same first digits."""

PRIMARY_TABLES = (
    (
        ("persona_id", layout.BENCHMARK_PERSONAS, "character_id"),
        ("question_id", layout.BENCHMARK_QUESTIONS, "question_id"),
        ("character_id", layout.PERSONAS, "character_id"),
        ("character_id", layout.GIVEN_PROFILES, "character_id"),
        ("instruction_id", layout.INSTRUCTIONS, "instruction_id"),
    ),
    (("dialogue_id", layout.DIALOGUES, "dialogue_id"),),
)
"""The tables that define ids (kind of id, tables, column), the small tables first."""
FALLBACK_TABLES = (
    ("character_id", layout.PROFILES, "character_id"),
    ("dialogue_id", layout.CURATED, "dialogue_id"),
    ("instruction_id", layout.CURATED, "instruction_id"),
    ("instruction_id", layout.DIALOGUES, "instruction_id"),
    ("character_id", layout.CURATED, "character_id"),
    ("character_id", layout.DIALOGUES, "character_id"),
    ("persona_id", layout.ANSWERS, "persona_id"),
    ("question_id", layout.ANSWERS, "question_id"),
)
"""The tables that still refer to ids whose primary table is missing or was built again."""


@dataclass(frozen=True)
class ResolvedId:
    """A complete id, and the kinds of things that have it: a persona may be a character of the run too."""

    id: str
    kinds: tuple[str, ...]


def resolve_id(tables: RunTables, text: str) -> ResolvedId:
    """Find the one id that begins with the given digits.

    Raises:
        ConfigError: the text cannot be the beginning of an id.
        InputError: no id of the run begins with it, or several do.
    """
    start = text.strip().lower()
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},{COMPLETE}}}", start):
        raise ConfigError(
            f"--id {text!r}: give {SHORTEST} to {COMPLETE} of the digits 0-9 and a-f, as in the *_id columns"
        )
    found: dict[str, dict[str, None]] = {}
    for group in (*PRIMARY_TABLES, FALLBACK_TABLES):
        if found and (len(start) == COMPLETE or group is FALLBACK_TABLES):
            break
        for id_kind, table_kind, column in group:
            for id_ in _ids_beginning_with(tables, table_kind, column, start):
                found.setdefault(id_, {})[id_kind] = None
    if not found:
        raise InputError(f"--id {text}: no id of this run begins so; see the *_id columns of its tables")
    if len(found) > 1:
        listed = ", ".join(f"{id_} ({' and '.join(kinds)})" for id_, kinds in sorted(found.items())[:NAMED_IDS])
        more = f" and {len(found) - NAMED_IDS:,} more" if len(found) > NAMED_IDS else ""
        raise InputError(f"--id {text}: {len(found):,} ids begin so: {listed}{more}; give more digits")
    ((id_, kinds),) = found.items()
    return ResolvedId(id_, tuple(kinds))


def _ids_beginning_with(tables: RunTables, kind: TableKind, column: str, start: str) -> Iterator[str]:
    where = ds.field(column) == start
    if len(start) < COMPLETE:  # a range, so that the statistics of a file can exclude it
        where = (ds.field(column) >= start) & (ds.field(column) < start + "g")
    for name in tables.names(kind):
        for batch in tables[name].scan([column], where):
            yield from pc.unique(batch[column]).to_pylist()
