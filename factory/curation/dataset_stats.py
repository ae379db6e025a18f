"""Statistics of the curated set: each shard counts, and the driver sums.

Distinct n-grams are counted by HyperLogLog++, which needs 16 kB for any number of them, with an error of about 1 %.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasketch import HyperLogLogPlusPlus

from factory.storage.rows import Row
from factory.text.ngrams import ngrams

NGRAMS = (1, 2, 3)
PRECISION = 14
MANIFEST_VALUES, COUNTED_VALUES = 12, 1000
"""The number of values of an attribute that the manifest lists, and that are counted separately before."""
OTHERS = "others"
AGE_BAND = 10


@dataclass
class DatasetStats:
    """Statistics of accepted dialogues."""

    turns: int = 0
    reply_words: int = 0
    reply_tokens: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    ngrams: list[int] = field(default_factory=lambda: [0] * len(NGRAMS))
    registers: np.ndarray = field(default_factory=lambda: np.zeros((len(NGRAMS), 1 << PRECISION), np.int8))

    def add(self, replies: list[np.ndarray], tokens: int, language: str) -> None:
        """Count a dialogue, given by the word hashes of its replies."""
        self.turns += len(replies)
        self.reply_words += sum(map(len, replies))
        self.reply_tokens += tokens
        self.languages[language] += 1
        for index, n in enumerate(NGRAMS):
            for hashes in replies:
                grams = ngrams(hashes, n)
                self.ngrams[index] += len(grams)
                update_registers(self.registers[index], grams)

    def __add__(self, other: "DatasetStats") -> "DatasetStats":
        return DatasetStats(
            turns=self.turns + other.turns,
            reply_words=self.reply_words + other.reply_words,
            reply_tokens=self.reply_tokens + other.reply_tokens,
            languages=self.languages + other.languages,
            ngrams=[left + right for left, right in zip(self.ngrams, other.ngrams, strict=True)],
            registers=np.maximum(self.registers, other.registers),
        )

    def to_manifest(self) -> dict[str, Any]:
        """Return the statistics for the manifest; the engine that generated the replies counted `reply_tokens`."""
        distinct = {}
        for n, total, registers in zip(NGRAMS, self.ngrams, self.registers, strict=True):
            count = min(total, round(HyperLogLogPlusPlus(reg=registers).count()))
            distinct[str(n)] = {"distinct": count, "of": total, "share": round(count / max(1, total), 4)}
        return {
            "turns": self.turns,
            "reply_words": self.reply_words,
            "reply_tokens": self.reply_tokens,
            "languages": dict(self.languages.most_common()),
            "distinct_ngrams": distinct,
        }


def update_registers(registers: np.ndarray, numbers: np.ndarray) -> None:
    """Add an array of uint64 to HyperLogLog++ registers; datasketch only adds one at a time."""
    rest = numbers >> np.uint64(PRECISION)
    # A float's exponent is the number of bits; the low ones are cleared, so that it is not rounded up.
    high = rest & ~np.uint64((1 << 10) - 1)
    _, bits = np.frexp(np.where(high, high, rest).astype(np.float64))
    positions = (numbers & np.uint64((1 << PRECISION) - 1)).astype(np.int64)
    np.maximum.at(registers, positions, (64 - PRECISION - bits + 1).astype(np.int8))


ATTRIBUTES = ("gender", "age", "race", "birth_place", "language")


@dataclass
class CharacterStats:
    """Statistics of the characters of accepted dialogues, from their profiles."""

    characters: int = 0
    attributes: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in ATTRIBUTES})

    def add(self, profile: Row) -> None:
        """Count a character, given by its profile."""
        self.characters += 1
        for name, counter in self.attributes.items():
            counter[_age_band(profile[name]) if name == "age" else " ".join(profile[name].split()).casefold()] += 1

    def __add__(self, other: "CharacterStats") -> "CharacterStats":
        summed = {name: self.attributes[name] + other.attributes[name] for name in ATTRIBUTES}
        return CharacterStats(
            self.characters + other.characters, {name: most_common(summed[name], COUNTED_VALUES) for name in ATTRIBUTES}
        )

    def to_manifest(self) -> dict[str, Any]:
        """Return the statistics for the manifest."""
        common = {name: most_common(counter, MANIFEST_VALUES) for name, counter in self.attributes.items()}
        demographics = {name: dict(counter.most_common()) for name, counter in common.items()}
        return {"characters": self.characters, "demographics": demographics}


def most_common(counter: Counter[str], limit: int) -> Counter[str]:
    """Return the most common values, and the sum of all others as OTHERS."""
    named = Counter({value: count for value, count in counter.items() if value != OTHERS})
    top = Counter(dict(sorted(named.items(), key=lambda item: (-item[1], item[0]))[:limit]))
    rest = counter.total() - top.total()
    return top + Counter({OTHERS: rest})


def _age_band(age: str) -> str:
    """Return the ten years of an age, such as `30-39` for `34 years`."""
    digits = "".join(c if c.isdecimal() else " " for c in age).split()
    if not digits:
        return "no number"
    start = int(digits[0][:4]) // AGE_BAND * AGE_BAND
    return f"{start}-{start + AGE_BAND - 1}"
