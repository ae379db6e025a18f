"""Texts to words, and words to the numbers that shingles and n-grams are known by.

A word is a run of letters, digits and the marks on them, whatever its case and Unicode form. In
scripts that leave no space between words every character counts as one.
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
# Python's \w leaves out the marks that Indic scripts write vowels with.
_MARKS = "".join(c for c in map(chr, range(0x300, 0x1E000)) if unicodedata.category(c)[0] == "M")
_WORD = re.compile(rf"[{_UNSPACED}]|(?:[^\W_{_UNSPACED}]|[{_IS_UNSPACED.sub('', _MARKS)}])+")

_ASCII_WORD = re.compile(r"[a-z0-9]+")

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


def words(text: str) -> list[str]:
    """The words of a text in order, without case and punctuation."""
    if text.isascii():  # four times as fast
        return _ASCII_WORD.findall(text.lower())
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@lru_cache(128)  # a reply is asked for by most rules, a character's profile by each of its dialogues
def word_hashes(text: str) -> np.ndarray:
    """A 64-bit number for each word of a text."""
    hashes = np.array([_word_hash(word) for word in words(text)], np.uint64)
    hashes.flags.writeable = False
    return hashes


@lru_cache(1 << 17)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def ngrams(hashes: np.ndarray, n: int) -> np.ndarray:
    """A 64-bit number for each n words in a row; none where there are fewer."""
    count = max(0, len(hashes) - n + 1)
    return folded([hashes[offset : offset + count] for offset in range(n)])


def folded(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Many numbers to one, place by place; their order counts."""
    total = np.zeros(parts[0].shape, np.uint64)
    for part in parts:
        total = total * _FACTOR + part
    return mixed(total)


def shingles(hashes: np.ndarray, n: int) -> np.ndarray:
    """The distinct n-grams of a text, sorted; of a shorter one all its words together."""
    return np.unique(ngrams(hashes, max(1, min(n, len(hashes)))))


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Spread 64-bit numbers evenly, each to another one (the end of splitmix64)."""
    for shift, factor in _MIXERS:
        numbers = (numbers ^ (numbers >> shift)) * factor
    return np.asarray(numbers ^ (numbers >> np.uint64(31)))


def contained(numbers: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which numbers are among others, which are sorted."""
    if not len(among):
        return np.zeros(len(numbers), bool)
    places = np.minimum(np.searchsorted(among, numbers), len(among) - 1)
    return np.asarray(among[places] == numbers)


def digest_of(grams: Mapping[int, np.ndarray], before: bytes = b"") -> str:
    """A hash of n-grams by their length, and of what stands before them."""
    held = hashlib.sha256(before)
    for length in sorted(grams):
        held.update(length.to_bytes(4, "little") + grams[length].tobytes())
    return held.hexdigest()[:16]
