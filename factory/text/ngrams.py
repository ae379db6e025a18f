"""Words of texts, and 64-bit hashes of words, n-grams and shingles.

A word is a run of letters, digits and their combining marks, whatever its case and Unicode form. In
scripts without spaces between words, every character counts as a word.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3040-\u30ff"  # Japanese syllables
    "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
# Python's \w excludes the marks that are vowels in Indic scripts.
_MARKS = "".join(c for c in map(chr, range(0x300, 0x1E000)) if unicodedata.category(c)[0] == "M")
_WORD = re.compile(
    r"[a-z0-9]++(?![^\x00-\x7f])"  # the usual word by itself halves the time
    rf"|[{_UNSPACED}]|(?:[^\W_{_UNSPACED}]|[{_IS_UNSPACED.sub('', _MARKS)}])+"
)

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_SPACED_WORD = re.compile(r"[^\W_]+")
_HAS_NO_MARKS = re.compile(  # Latin, Greek, Cyrillic, punctuation, Hangul, emoji
    "[\0-\u02ff\u0370-\u0482\u048a-\u052f\u1e00-\u206f\u20a0-\u20cf\u2100-\u2bff\uac00-\ud7a3\U0001f000-\U0001faff]*+"
)

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


def words(text: str) -> list[str]:
    """Return the words of a text in order, without case and punctuation."""
    if text.isascii():  # four times as fast
        return _ASCII_WORD.findall(text.lower())
    text = unicodedata.normalize("NFKC", text).casefold()
    return (_SPACED_WORD if _HAS_NO_MARKS.fullmatch(text) else _WORD).findall(text)  # four times as fast


@lru_cache(128)  # most rules use a reply, and each dialogue of a character uses its profile
def word_hashes(text: str) -> np.ndarray:
    """Return a 64-bit hash for each word of a text."""
    hashes = np.array([_word_hash(word) for word in words(text)], np.uint64)
    hashes.flags.writeable = False
    return hashes


@lru_cache(1 << 17)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def is_unspaced(word: str) -> bool:
    """Return whether a word is a character of a script without spaces between words."""
    return _IS_UNSPACED.match(word) is not None


def ngrams(hashes: np.ndarray, n: int) -> np.ndarray:
    """Return a 64-bit hash for each n consecutive words; none if there are fewer words."""
    count = max(0, len(hashes) - n + 1)
    return combine([hashes[offset : offset + count] for offset in range(n)])


def combine(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Combine arrays of hashes element by element; their order matters."""
    total = np.zeros(parts[0].shape, np.uint64)
    for part in parts:
        total = total * _FACTOR + part
    return mix(total)


def shingles(hashes: np.ndarray, n: int) -> np.ndarray:
    """Return the distinct n-grams of a text, sorted; for a shorter text, all its words as one n-gram."""
    return np.unique(ngrams(hashes, max(1, min(n, len(hashes)))))


def mix(numbers: np.ndarray) -> np.ndarray:
    """Map 64-bit numbers one to one to evenly distributed ones (the last steps of splitmix64)."""
    for shift, factor in _MIXERS:
        numbers = (numbers ^ (numbers >> shift)) * factor
    return np.asarray(numbers ^ (numbers >> np.uint64(31)))


def contained(numbers: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return a mask of the numbers that are in `others`, which are sorted."""
    if not len(others):
        return np.zeros(len(numbers), bool)
    indices = np.minimum(np.searchsorted(others, numbers), len(others) - 1)
    return np.asarray(others[indices] == numbers)


def hash_ngrams(grams: Mapping[int, np.ndarray], prefix: bytes = b"") -> str:
    """Hash n-grams by length, after a prefix."""
    digest = hashlib.sha256(prefix)
    for length in sorted(grams):
        digest.update(length.to_bytes(4, "little") + grams[length].tobytes())
    return digest.hexdigest()[:16]
