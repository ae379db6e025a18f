"""Real people: full names, found as whole words in personas and profiles."""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from factory.curation.rules.context import DialogueContext
from factory.errors import InputError
from factory.resources import RESOURCES
from factory.storage import file_io
from factory.text.ngrams import contained, hash_ngrams, ngrams, word_hashes, words

BUILT_IN = file_io.join(str(RESOURCES), "data", "real-people.txt")
COMMENT = "#"
MOST_WORDS = 8
"""Of one name."""


@dataclass(frozen=True)
class RealPeople:
    """Names as numbers of their words, sorted, so that a task can look them up."""

    place: str
    names: int
    grams: Mapping[int, np.ndarray]
    """By the number of words."""

    @property
    def digest(self) -> str:
        """A hash of all of it."""
        return hash_ngrams(self.grams)


def read_real_people(place: str | None) -> RealPeople:
    """Read a list of full names, one a line; lines that begin with # are comments.

    Raises:
        InputError: it is missing, empty, not UTF-8, or holds what is no full name.
    """
    place = place or BUILT_IN
    data = file_io.read_if_there(place)
    if data is None:
        raise InputError(
            f"people {place}: no such file; safety.real_people_file names a text file of full names, one a line"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"people {place}: is not UTF-8; safety.real_people_file names a text file") from None
    grams: dict[int, list[np.ndarray]] = {}
    names = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(COMMENT):
            continue
        _check_name(line.strip(), f"people {place}: line {number}")
        names += 1
        for written in {line, _plain(line)}:
            hashes = word_hashes(written)
            grams.setdefault(len(hashes), []).append(ngrams(hashes, len(hashes)))
    if not names:
        raise InputError(f"people {place}: holds no name; give one a line, or set safety.real_people to false")
    return RealPeople(
        place, names, {length: np.unique(np.concatenate(parts)) for length, parts in sorted(grams.items())}
    )


def _check_name(name: str, place: str) -> None:
    count = len(words(name))
    if not count or count > MOST_WORDS:
        raise InputError(f"{place}: {name[:60]!r} has {count} words, which is no name")
    # A single word of an alphabet that knows capitals may mean anything; Korean full names are one word.
    if count == 1 and name.lower() != name.upper():
        raise InputError(f"{place}: {name!r} is a single word; give full names, for others share it")


def _plain(name: str) -> str:
    """A name as it is written without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))


def real_person(case: DialogueContext, people: RealPeople) -> str | None:
    """The first real person whom the persona or the profile names, and where."""
    for where, text in (("persona", case.persona), ("profile", case.profile)):
        found = next(find_names(text, people), None)
        if found:
            return f"{where}: {found}"
    return None


def find_names(text: str, people: RealPeople) -> Iterator[str]:
    """The names of real people that stand in a text, without case and punctuation."""
    hashes = word_hashes(text)
    for length, known in people.grams.items():
        for start in np.flatnonzero(contained(ngrams(hashes, length), known)).tolist():
            yield " ".join(words(text)[start : start + length])
