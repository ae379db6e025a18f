"""The characters that the page offers: given profiles first, then those that the run generated."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from factory.config import RunConfig
from factory.playground.profile_form import form_values
from factory.records import Persona, Profile
from factory.run_output import layout
from factory.runtime.build_table import COPIED
from factory.storage.rows import Row
from factory.synthesis.given.card_file import profile_rows
from factory.synthesis.given.given_rows import COLUMNS, GIVEN, read_given
from factory.synthesis.given.given_steps import given_files
from factory.synthesis.profiles import LABELS

MAX_CHARACTERS = 24
MAX_GIVEN = 16
"""The most characters on the page, and of them the most given ones where the run has others."""
MAX_SHARDS = 8
"""The most files that are read for them."""
LABEL_CHARACTERS = 80


@dataclass(frozen=True)
class KnownCharacter:
    """A character with a finished profile."""

    persona: Persona
    profile: str
    items: tuple[str, ...]
    """The eight fields of the profile, in the order of `LABELS`; those that a card lacks are empty."""
    is_given: bool

    @property
    def label(self) -> str:
        """The text of its button: the name, and how the persona begins."""
        return f"{_begin(self.items[0])}\n{_begin(self.persona.persona)}"


def _begin(text: str) -> str:
    if len(text) <= LABEL_CHARACTERS:
        return text
    cut = text[:LABEL_CHARACTERS]
    return f"{cut.rpartition(' ')[0] or cut} ..."


def known_characters(config: RunConfig) -> list[KnownCharacter]:
    """Return the first characters of the run's table of profiles; before it is built, those of `profiles.source`.

    Raises:
        UserError: a file cannot be read.
    """
    table = layout.PROFILES.table(config.output)
    shards = table.shards()
    given = [name for name in shards if name.startswith(COPIED)][:MAX_SHARDS]
    generated = [name for name in shards if not name.startswith(COPIED)][:MAX_SHARDS]
    rows = (row for name in given for row in table.read(name).to_pylist())
    own = (row for name in generated for row in table.read(name).to_pylist())
    found = [_of_row(row) for row in itertools.islice(_accepted(rows), MAX_CHARACTERS)]
    others = [_of_row(row) for row in itertools.islice(_accepted(own), MAX_CHARACTERS)]
    if not shards and config.profiles.source:
        return list(itertools.islice(_of_source(config), MAX_CHARACTERS))
    return [*found[: max(MAX_GIVEN, MAX_CHARACTERS - len(others))], *others][:MAX_CHARACTERS]


def _accepted(rows: Iterator[Row]) -> Iterator[Row]:
    return (row for row in rows if row["status"] == "ok")


def _of_row(row: Row) -> KnownCharacter:
    persona = Persona(row["character_id"], row["persona"])
    items = tuple(row[name] or "" for name in LABELS)
    return KnownCharacter(persona, row["profile"], items, row.get("origin") == GIVEN)


def _of_source(config: RunConfig) -> Iterator[KnownCharacter]:
    for file in given_files(config):
        for raw in profile_rows(file, COLUMNS):
            profile = read_given(raw.value, config.profiles.language)
            if isinstance(profile, Profile):
                persona = Persona(profile.character_id, profile.persona)
                yield KnownCharacter(persona, profile.profile, tuple(form_values(profile)), True)
