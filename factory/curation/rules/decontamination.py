"""Decontamination: no text of the benchmark in the training set, by n words in a row of its personas and questions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from factory.personagym import BUILT_IN, question_sets, read_personas, read_tasks
from factory.records import Message
from factory.storage import file_io
from factory.text.ngrams import contained, hash_ngrams, ngrams, word_hashes, words

MIN_WORDS = 5
"""Shorter texts, such as `Who are you?`, are only found as whole lines, because anyone may say them."""


@dataclass(frozen=True)
class BenchmarkTexts:
    """The texts of a benchmark as sorted hashes, for fast look-up."""

    path: str
    texts: int
    """The number of texts."""
    grams: Mapping[int, np.ndarray]
    """By length: all n-grams of the texts that have n words or more, and whole shorter texts."""
    lines: np.ndarray
    """The texts with fewer than MIN_WORDS words."""

    @property
    def digest(self) -> str:
        """A hash of all texts."""
        return hash_ngrams(self.grams, self.lines.tobytes())


def read_benchmark_texts(path: str | None, n: int) -> BenchmarkTexts:
    """Read a benchmark's personas and all sets of its questions.

    Raises:
        InputError: a file is missing, is not JSON or has another structure.
    """
    path = path or BUILT_IN
    texts = {" ".join(words(text)) for text in _texts(path)} - {""}
    grams: dict[int, list[np.ndarray]] = {}
    lines = [np.zeros(0, np.uint64)]
    for text in texts:
        hashes = word_hashes(text)
        length = min(n, len(hashes))
        if length < MIN_WORDS:
            lines.append(ngrams(hashes, length))
        else:
            grams.setdefault(length, []).append(ngrams(hashes, length))
    by_length = {length: np.unique(np.concatenate(parts)) for length, parts in sorted(grams.items())}
    return BenchmarkTexts(path, len(texts), by_length, np.unique(np.concatenate(lines)))


def _texts(path: str) -> Iterator[str]:
    """Yield the personas and the questions of all sets, whatever the names of their tasks."""
    _, personas = read_personas(path)
    yield from personas
    for name, files in question_sets(path).items():
        for file in files:
            for questions in read_tasks(file_io.join(path, "questions", name, file)).values():
                yield from questions


def find_benchmark_text(messages: tuple[Message, ...], benchmark: BenchmarkTexts) -> str | None:
    """Return the first benchmark text in a dialogue, its system message included, or None."""
    for message in messages:
        hashes = word_hashes(message.content)
        for length, grams in benchmark.grams.items():
            found = np.flatnonzero(contained(ngrams(hashes, length), grams))
            if len(found):
                return f"{message.role}: {' '.join(words(message.content)[found[0] : found[0] + length])}"
        if len(benchmark.lines):
            for line in message.content.splitlines():
                hashes = word_hashes(line)
                if 0 < len(hashes) < MIN_WORDS and contained(ngrams(hashes, len(hashes)), benchmark.lines).any():
                    return f"{message.role}: {line.strip()}"
    return None
