"""What the curated set holds, in numbers that add up: each shard counts, the driver sums.

Distinct n-grams are counted by HyperLogLog++: 16 kB whatever there is to count, off by about 1 %.
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
TOLD, KEPT = 12, 1000
"""How many values of an attribute the manifest names, and how many are counted apart on the way there."""
OTHERS = "others"
AGE_BAND = 10


@dataclass
class DatasetStats:
    """Of some accepted dialogues."""

    turns: int = 0
    reply_words: int = 0
    reply_tokens: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    ngrams: list[int] = field(default_factory=lambda: [0] * len(NGRAMS))
    registers: np.ndarray = field(default_factory=lambda: np.zeros((len(NGRAMS), 1 << PRECISION), np.int8))

    def add(self, replies: list[np.ndarray], tokens: int, language: str) -> None:
        """Count a dialogue, its replies given by their words as numbers."""
        self.turns += len(replies)
        self.reply_words += sum(map(len, replies))
        self.reply_tokens += tokens
        self.languages[language] += 1
        for place, n in enumerate(NGRAMS):
            for hashes in replies:
                grams = ngrams(hashes, n)
                self.ngrams[place] += len(grams)
                register(self.registers[place], grams)

    def __add__(self, other: "DatasetStats") -> "DatasetStats":
        return DatasetStats(
            turns=self.turns + other.turns,
            reply_words=self.reply_words + other.reply_words,
            reply_tokens=self.reply_tokens + other.reply_tokens,
            languages=self.languages + other.languages,
            ngrams=[one + two for one, two in zip(self.ngrams, other.ngrams, strict=True)],
            registers=np.maximum(self.registers, other.registers),
        )

    def told(self) -> dict[str, Any]:
        """For the manifest; `reply_tokens` are counted as the engine did that wrote them."""
        distinct = {}
        for n, total, registers in zip(NGRAMS, self.ngrams, self.registers, strict=True):
            there = min(total, round(HyperLogLogPlusPlus(reg=registers).count()))
            distinct[str(n)] = {"distinct": there, "of": total, "share": round(there / max(1, total), 4)}
        return {
            "turns": self.turns,
            "reply_words": self.reply_words,
            "reply_tokens": self.reply_tokens,
            "languages": dict(self.languages.most_common()),
            "distinct_ngrams": distinct,
        }


def register(registers: np.ndarray, numbers: np.ndarray) -> None:
    """HyperLogLog++'s update for many 64-bit numbers at once; datasketch takes them one by one."""
    rest = numbers >> np.uint64(PRECISION)
    # A float's exponent is the number of bits; the low ones are cut off, so that it is not rounded up.
    high = rest & ~np.uint64((1 << 10) - 1)
    _, bits = np.frexp(np.where(high, high, rest).astype(np.float64))
    places = (numbers & np.uint64((1 << PRECISION) - 1)).astype(np.int64)
    np.maximum.at(registers, places, (64 - PRECISION - bits + 1).astype(np.int8))


ATTRIBUTES = ("gender", "age", "race", "birth_place", "language")


@dataclass
class CharacterStats:
    """The characters of some accepted dialogues, by what their profiles say."""

    characters: int = 0
    attributes: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in ATTRIBUTES})

    def add(self, profile: Row) -> None:
        """Count a character."""
        self.characters += 1
        for name, counter in self.attributes.items():
            counter[_band(profile[name]) if name == "age" else " ".join(profile[name].split()).casefold()] += 1

    def __add__(self, other: "CharacterStats") -> "CharacterStats":
        summed = {name: self.attributes[name] + other.attributes[name] for name in ATTRIBUTES}
        return CharacterStats(
            self.characters + other.characters, {name: most(summed[name], KEPT) for name in ATTRIBUTES}
        )

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        told = {name: dict(most(counter, TOLD).most_common()) for name, counter in self.attributes.items()}
        return {"characters": self.characters, "demographics": told}


def most(counter: Counter[str], many: int) -> Counter[str]:
    """The commonest values, and the sum of all the others under a name of its own."""
    named = Counter({value: count for value, count in counter.items() if value != OTHERS})
    top = Counter(dict(sorted(named.items(), key=lambda item: (-item[1], item[0]))[:many]))
    rest = counter.total() - top.total()
    return top + Counter({OTHERS: rest})


def _band(age: str) -> str:
    """`34 years` is `30-39`."""
    digits = "".join(c if c.isdecimal() else " " for c in age).split()
    if not digits:
        return "no number"
    start = int(digits[0][:4]) // AGE_BAND * AGE_BAND
    return f"{start}-{start + AGE_BAND - 1}"
