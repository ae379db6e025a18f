"""No text of the benchmark in the training set: its personas and questions, by n words in a row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from factory.personagym import BUILT_IN, question_sets, read_tasks, read_texts
from factory.records import Message
from factory.storage import file_io
from factory.text.ngrams import contained, hash_ngrams, ngrams, word_hashes, words

SHORTEST = 5
"""Shorter texts, such as `Who are you?`, are found as whole lines alone: anyone may say them."""


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
        return hash_ngrams(self.grams, self.lines.tobytes())


def read_benchmark(place: str | None, n: int) -> Benchmark:
    """Read a benchmark's personas and all sets of its questions.

    Raises:
        InputError: a file is missing, is no JSON or holds something else.
    """
    place = place or BUILT_IN
    texts = {" ".join(words(text)) for text in _texts(place)} - {""}
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


def _texts(place: str) -> Iterator[str]:
    """The personas, and the questions of all sets, whatever their tasks are called."""
    yield from read_texts(file_io.join(place, "personas.json"))
    for name, files in question_sets(place).items():
        for file in files:
            for questions in read_tasks(file_io.join(place, "questions", name, file)).values():
                yield from questions


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
