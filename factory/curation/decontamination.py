"""No text of the benchmark in the training set: its personas and questions, by n words in a row.

A benchmark is a folder as PersonaGym's checkout has it: `personas.json`, a list of sentences, and
`questions/<set>/<persona>.json`, each `{task: [question, ...]}`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory import storage
from factory.curation.words import contained, ngrams, word_hashes, words
from factory.errors import InputError
from factory.records import Message

BUILT_IN = storage.join(str(storage.PROJECT), "data", "benchmark")
SHORTEST = 5
"""Shorter texts, such as `Who are you?`, are found as whole lines alone: anyone may say them."""
_LAYOUT = "give curation.benchmark a PersonaGym checkout (personas.json, questions/<set>/<persona>.json) or null"


@dataclass(frozen=True)
class Benchmark:
    """The texts of an evaluation as numbers of their words, sorted, so that a task can look them up."""

    place: str
    texts: int
    grams: Mapping[int, np.ndarray]
    """By length: all n-grams of the texts that have n words or more, and shorter texts whole."""
    lines: np.ndarray
    """The texts with fewer than SHORTEST words."""

    @property
    def digest(self) -> str:
        """A hash of all of it."""
        held = hashlib.sha256(self.lines.tobytes())
        for length in sorted(self.grams):
            held.update(length.to_bytes(4, "little") + self.grams[length].tobytes())
        return held.hexdigest()[:16]


def read_benchmark(place: str | None, n: int) -> Benchmark:
    """Read a benchmark's personas and all sets of its questions.

    Raises:
        InputError: a file is missing, is no JSON or holds something else.
    """
    place = place or BUILT_IN
    texts = {" ".join(words(text)) for text in [*_personas(place), *_questions(place)]} - {""}
    grams: dict[int, list[np.ndarray]] = {}
    lines = [np.zeros(0, np.uint64)]
    for text in texts:
        hashes = word_hashes(text)
        length = min(n, len(hashes))
        if length < SHORTEST:
            lines.append(ngrams(hashes, length))
        else:
            grams.setdefault(length, []).append(ngrams(hashes, length))
    by_length = {length: np.unique(np.concatenate(parts)) for length, parts in sorted(grams.items())}
    return Benchmark(place, len(texts), by_length, np.unique(np.concatenate(lines)))


def _personas(place: str) -> list[str]:
    path = storage.join(place, "personas.json")
    return _texts(path, _json(path))


def _questions(place: str) -> Iterator[str]:
    folder = storage.join(place, "questions")
    paths = [
        storage.join(folder, name, file)
        for name in storage.list_names(folder, "")
        for file in _files(storage.join(folder, name))
    ]
    if not paths:
        raise InputError(f"benchmark {folder}: holds no <set>/<persona>.json; {_LAYOUT}")
    for path in paths:
        tasks = _json(path)
        if not isinstance(tasks, dict):
            raise InputError(f"benchmark {path}: holds no tasks with their questions; {_LAYOUT}")
        for questions in tasks.values():
            yield from _texts(path, questions)


def _files(folder: str) -> list[str]:
    fs, name = storage.filesystem(folder)
    return storage.list_names(folder, ".json") if fs.isdir(name) else []


def _json(path: str) -> Any:
    if not storage.exists(path):
        raise InputError(f"benchmark {path}: no such file; {_LAYOUT}")
    try:
        return json.loads(storage.read_bytes(path))
    except ValueError as problem:
        raise InputError(f"benchmark {path}: not JSON ({problem}); {_LAYOUT}") from None


def _texts(path: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise InputError(f"benchmark {path}: holds no list of texts; {_LAYOUT}")
    return value


def benchmark_text(messages: tuple[Message, ...], benchmark: Benchmark) -> str | None:
    """The first text of the benchmark that stands in a dialogue, its system message included, or None."""
    for message in messages:
        hashes = word_hashes(message.content)
        for length, known in benchmark.grams.items():
            found = np.flatnonzero(contained(ngrams(hashes, length), known))
            if len(found):
                return f"{message.role}: {' '.join(words(message.content)[found[0] : found[0] + length])}"
        if len(benchmark.lines):
            for line in message.content.splitlines():
                said = word_hashes(line)
                if 0 < len(said) < SHORTEST and contained(ngrams(said, len(said)), benchmark.lines).any():
                    return f"{message.role}: {line.strip()}"
    return None
