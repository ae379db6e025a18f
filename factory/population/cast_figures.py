"""Figures of a cast: how varied the profiles and their personas are, and which rows were rejected.

Every part is added up the same in any order and by any partition of the rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.population.hash_sample import VALUE_CHARACTERS, HashSample, sample_keys, top_values
from factory.population.strata_counts import StrataCounts
from factory.population.word_moments import WordMoments
from factory.records import NOT_NEEDED
from factory.storage.rows import character_numbers
from factory.text.minhash import band_keys, banding_for, signature
from factory.text.ngrams import word_hashes, words

COLUMNS = ["character_id", "status", "reason", "persona", "name", "birth_place", "strata"]
LONG_ITEMS = ["appearance", "experience", "personality"]
"""The items whose words are compared: names and places differ between copies."""
THRESHOLD = 0.8
"""Similarity of near-duplicates: that of replies by default."""
TOP_VALUES = 5
BATCH = 1024


@dataclass(frozen=True)
class SampledProfile:
    """What the figures need of a profile in the sample."""

    name: str
    birth_place: str
    bands: np.ndarray
    """Its MinHash bands, uint64 of shape (1, bands), or (0, bands) without words."""


@dataclass
class CastFigures:
    """Figures of the rows of profiles."""

    profiles: WordMoments = field(default_factory=WordMoments)
    personas: WordMoments = field(default_factory=WordMoments)
    sample: HashSample = field(default_factory=HashSample)
    strata: StrataCounts = field(default_factory=StrataCounts)
    rows: int = 0

    def add(self, rows: pa.Table) -> None:
        """Add rows of the table of profiles, with COLUMNS and LONG_ITEMS."""
        # No rule rejected what was not needed, but it is no part of the cast.
        judged = rows.filter(pc.fill_null(pc.not_equal(rows["reason"], NOT_NEEDED), True))
        self.strata.add(judged["strata"].to_pylist(), pc.equal(judged["status"], "ok").to_pylist())
        rows = rows.filter(pc.equal(rows["status"], "ok"))
        self.rows += rows.num_rows
        for start in range(0, rows.num_rows, BATCH):
            self._add_accepted(rows.slice(start, BATCH))

    def _add_accepted(self, rows: pa.Table) -> None:
        texts = long_texts(rows)
        self.profiles.add(texts)
        self.personas.add([text or "" for text in rows["persona"].to_pylist()])
        names, places = rows["name"].to_pylist(), rows["birth_place"].to_pylist()
        for key, text, name, place in zip(row_keys(rows), texts, names, places, strict=True):
            if self.sample.wants(key):
                self.sample.add(key, SampledProfile(_value(name), _value(place), text_bands([text])))

    def __add__(self, other: "CastFigures") -> "CastFigures":
        return CastFigures(
            self.profiles + other.profiles,
            self.personas + other.personas,
            self.sample + other.sample,
            self.strata + other.strata,
            self.rows + other.rows,
        )

    def sampled_bands(self) -> np.ndarray:
        """Return the bands of the sampled profiles, of shape (profiles, bands)."""
        return np.concatenate([text_bands([]), *(one.bands for one in self.sample.values())])

    def to_manifest(self, band_counts: "BandCounts") -> dict[str, Any]:
        """Return the figures for the manifest.

        Args:
            band_counts: how many of all profiles have each band of the sampled ones.
        """
        sampled: Sequence[SampledProfile] = self.sample.values()
        bands = self.sampled_bands()
        return {
            "rows": self.rows,
            "sampled": len(sampled),
            "effective": {
                "profiles": round(self.profiles.effective(), 1),
                "personas": round(self.personas.effective(), 1),
                "rows": min(self.profiles.rows, self.personas.rows),
            },
            "top": {
                "full_name": top_values((one.name for one in sampled), TOP_VALUES),
                "birth_place": top_values((one.birth_place for one in sampled), TOP_VALUES),
            },
            "near_duplicates": {"number": band_counts.repeated(bands), "of": len(bands)},
            "strata": self.strata.to_manifest(),
        }


@dataclass
class BandCounts:
    """How many profiles have each of some bands."""

    bands: np.ndarray
    """Sorted and distinct, uint64."""
    counts: np.ndarray

    @classmethod
    def of(cls, sampled: np.ndarray) -> "BandCounts":
        """Return counts of zero for the bands of the sampled profiles."""
        bands = np.unique(sampled)
        return cls(bands, np.zeros(len(bands), np.int64))

    def add(self, bands: np.ndarray) -> None:
        """Add the bands of profiles, of shape (profiles, bands)."""
        found, numbers = np.unique(bands, return_counts=True)
        positions = np.searchsorted(self.bands, found)
        known = positions < len(self.bands)
        known[known] = self.bands[positions[known]] == found[known]
        self.counts[positions[known]] += numbers[known]

    def __add__(self, other: "BandCounts") -> "BandCounts":
        return BandCounts(self.bands, self.counts + other.counts)

    def repeated(self, sampled: np.ndarray) -> int:
        """Return how many of the sampled profiles have a band that another profile has too."""
        if not len(sampled):
            return 0
        return int((self.counts[np.searchsorted(self.bands, sampled)] > 1).any(axis=1).sum())


def row_keys(rows: pa.Table) -> list[int]:
    """Return the hash by which each profile is sampled."""
    return sample_keys(character_numbers(rows))


def long_texts(rows: pa.Table) -> list[str]:
    """Return the long items of each profile as one text."""
    return [
        " ".join(filter(None, items)) for items in zip(*(rows[name].to_pylist() for name in LONG_ITEMS), strict=True)
    ]


def text_bands(texts: Iterable[str]) -> np.ndarray:
    """Return the MinHash bands of the texts that have words, of shape (texts, bands)."""
    signatures = [signature(hashes) for text in texts if len(hashes := word_hashes(text))]
    banding = banding_for(THRESHOLD)
    return band_keys(np.stack(signatures), banding) if signatures else np.zeros((0, banding.bands), np.uint64)


def _value(text: str | None) -> str:
    return " ".join(words(text or ""))[:VALUE_CHARACTERS]
