"""Effective number of texts: how many distinct ones a collection is worth, from the words that they share.

Each text is a unit vector of hashed words and word pairs; the exponential of the entropy of the eigenvalues of their
second moment is the Vendi score with a linear kernel. Vectors are rounded to multiples of 2^-12, and sums of their
products are exact in float64 up to 2^29 rows, so that no order of additions changes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from factory.text.ngrams import ngrams, word_hashes

DIMENSIONS = 256
"""The largest effective number; the state is 512 KiB."""
_SCALE = 1 << 12


@dataclass
class WordMoments:
    """Sum of the outer products of texts' vectors."""

    rows: int = 0
    matrix: np.ndarray = field(default_factory=lambda: np.zeros((DIMENSIONS, DIMENSIONS)))

    def add(self, texts: Sequence[str]) -> None:
        """Add texts; those without words do not count."""
        vectors = [vector for text in texts if (vector := word_vector(text)) is not None]
        if vectors:
            stacked = np.stack(vectors)
            self.matrix += stacked.T @ stacked
            self.rows += len(vectors)

    def __add__(self, other: "WordMoments") -> "WordMoments":
        return WordMoments(self.rows + other.rows, self.matrix + other.matrix)

    def effective(self) -> float:
        """Return the effective number of texts, from 1 to DIMENSIONS; 0 without texts."""
        if not self.rows:
            return 0.0
        values = np.linalg.eigvalsh(self.matrix / np.trace(self.matrix))
        values = values[values > 1e-12]
        return float(np.exp(-(values * np.log(values)).sum()))


def word_vector(text: str) -> np.ndarray | None:
    """Return a text's vector of shape (DIMENSIONS,) in whole numbers; None for a text without words.

    Each distinct word and pair of words counts once. In scripts without spaces the words are characters, and the
    pairs are what tells texts apart.
    """
    words = word_hashes(text)
    features = np.unique(np.concatenate([words, ngrams(words, 2)]))
    signs = np.where(features >> np.uint64(63), 1.0, -1.0)
    vector = np.bincount((features % np.uint64(DIMENSIONS)).astype(np.intp), signs, DIMENSIONS)
    length = np.linalg.norm(vector)
    return np.rint(vector * (_SCALE / length)) if length else None
