"""Names of real people, found as whole words in personas and profiles."""

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
MAX_NAME_WORDS = 8


@dataclass(frozen=True)
class RealPeople:
    """Full names as sorted hashes, for fast look-up."""

    path: str
    names: int
    """The number of names."""
    grams: Mapping[int, np.ndarray]
    """The names by their number of words."""

    @property
    def digest(self) -> str:
        """A hash of all names."""
        return hash_ngrams(self.grams)


def read_real_people(path: str | None) -> RealPeople:
    """Read a list of full names, one per line; lines that begin with # are comments.

    Raises:
        InputError: it is missing, empty, not UTF-8, or has a line that is no full name.
    """
    path = path or BUILT_IN
    data = file_io.read_if_there(path)
    if data is None:
        raise InputError(
            f"people {path}: no such file; safety.real_people_file names a text file with one full name per line"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"people {path}: is not UTF-8; safety.real_people_file names a text file") from None
    grams: dict[int, list[np.ndarray]] = {}
    names = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(COMMENT):
            continue
        _check_name(line.strip(), f"people {path}: line {number}")
        names += 1
        for spelling in {line, _without_accents(line)}:
            hashes = word_hashes(spelling)
            grams.setdefault(len(hashes), []).append(ngrams(hashes, len(hashes)))
    if not names:
        raise InputError(f"people {path}: has no name; write one per line, or set safety.real_people to false")
    return RealPeople(
        path, names, {length: np.unique(np.concatenate(parts)) for length, parts in sorted(grams.items())}
    )


def _check_name(name: str, line: str) -> None:
    count = len(words(name))
    if not count or count > MAX_NAME_WORDS:
        raise InputError(f"{line}: {name[:60]!r} has {count} words; give a full name")
    # A single word of an alphabet with capitals may mean anything; Korean full names are one word.
    if count == 1 and name.lower() != name.upper():
        raise InputError(f"{line}: {name!r} is a single word; give a full name, because many share one word")


def _without_accents(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))


def real_person(dialogue: DialogueContext, people: RealPeople) -> str | None:
    """Return the first real person that the persona or the profile names, and where, or None."""
    for where, text in (("persona", dialogue.persona), ("profile", dialogue.profile)):
        found = next(find_names(text, people), None)
        if found:
            return f"{where}: {found}"
    return None


def find_names(text: str, people: RealPeople) -> Iterator[str]:
    """Yield the names of real people in a text, whatever their case and punctuation."""
    hashes = word_hashes(text)
    for length, names in people.grams.items():
        for start in np.flatnonzero(contained(ngrams(hashes, length), names)).tolist():
            yield " ".join(words(text)[start : start + length])
