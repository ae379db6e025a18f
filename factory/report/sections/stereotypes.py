"""Words that characters of one group have more often than the others: occupations and traits by gender and race.

The measure is the log-odds ratio with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008, "Fightin'
Words"), which does not overrate rare words. A word counts once per character, and a pair of word and group is listed
if its z-score is above the threshold for all pairs together (Bonferroni).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factory.report.sections.balance import SPECIFYING
from factory.report.sections.profile_statistics import join_value, vectorizer_options

GROUPED = ("gender", "race")
TEXT_ITEMS = ("persona", "personality")
OWN_ITEMS = ("name", "gender", "race", "birth_place", "language")
"""Words of these items do not count for their own character: that Koreans are Korean is not a stereotype."""
MAX_GROUPS = 6
PRIOR = 1000.0
"""The weight of the prior in words; it has the proportions of all texts."""
MAX_PAIRS = 40
_GRAMMAR = re.compile(rf"(?:{SPECIFYING['gender']}|they|them|their|theirs|themselves)(?:['\u2019]\w+)?")
"""Words that express a gender by themselves."""
_MARKS = ".,;:!?\"'()[]\u201c\u201d\u2018\u2019"


def stereotype_pairs(
    profiles: Sequence[Mapping[str, Any]],
    unspecified: Mapping[str, Sequence[bool]],
    least: int,
    significance: float,
) -> dict[str, Any]:
    """Return the pairs of a word and a group that occur together more often than by chance.

    Args:
        profiles: profiles with `TEXT_ITEMS` and `OWN_ITEMS`.
        unspecified: for each of `GROUPED`, whether the persona does not specify it; other profiles are ignored.
        least: minimum number of characters that have a word, and of a group.
        significance: the probability that one pair or more is listed by chance.

    Returns:
        `tested`: number of pairs tested; `threshold`: the minimum z-score of a listed pair; `characters` by
        attribute; `found`: number of pairs above the threshold; `pairs`: attribute, group, word, characters with the
        word in and out of the group, and how many there are of each, log_odds and z, the strongest first.
    """
    tested: list[dict[str, Any]] = []
    characters = {}
    for name in GROUPED:
        open_ones = [one for one, is_open in zip(profiles, unspecified[name], strict=True) if is_open and one[name]]
        characters[name] = len(open_ones)
        tested += _test_words(open_ones, name, least)
    threshold = _threshold(significance, len(tested))
    found = sorted((pair for pair in tested if pair["z"] >= threshold), key=lambda pair: (-pair["z"], pair["word"]))
    return {
        "tested": len(tested),
        "threshold": round(threshold, 2),
        "characters": characters,
        "found": len(found),
        "pairs": found[:MAX_PAIRS],
    }


def _threshold(significance: float, pairs: int) -> float:
    from scipy.stats import norm

    return float(norm.isf(significance / max(1, pairs)))


def _test_words(profiles: Sequence[Mapping[str, Any]], name: str, least: int) -> list[dict[str, Any]]:
    from sklearn.feature_extraction.text import CountVectorizer

    texts = [_text(profile) for profile in profiles]
    try:
        vectorizer = CountVectorizer(**vectorizer_options(texts), binary=True, min_df=least)
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # no word has enough characters
        return []
    words = vectorizer.get_feature_names_out()
    labels = np.array([join_value(name, str(profile[name])) for profile in profiles])
    groups = [group for group, number in Counter(labels.tolist()).most_common(MAX_GROUPS) if least <= number]
    tested = []
    for group in groups if len(groups) > 1 else []:
        inside = labels == group
        with_word = np.asarray(counts[inside].sum(axis=0)).ravel()
        without = np.asarray(counts[~inside].sum(axis=0)).ravel()
        log_odds, z = fightin_words(with_word, without)
        sizes = {"inside": int(inside.sum()), "outside": int((~inside).sum())}
        tested += [
            {"attribute": name, "group": group, "word": str(words[n]), "with": int(with_word[n]),
             "without": int(without[n]), "log_odds": round(float(log_odds[n]), 2), "z": round(float(z[n]), 2), **sizes}
            for n in range(len(words))
        ]  # fmt: skip
    return tested


def _text(profile: Mapping[str, Any]) -> str:
    """Return the texts of a character without the words of its own items and its grammar."""
    own = {word.strip(_MARKS) for item in OWN_ITEMS for word in str(profile[item] or "").casefold().split()}
    words = (word.strip(_MARKS) for item in TEXT_ITEMS for word in str(profile[item] or "").casefold().split())
    return " ".join(word for word in words if word not in own and not _GRAMMAR.fullmatch(word))


def fightin_words(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare how often each word occurs in one group and in the others.

    Args:
        inside: how often each word occurs in the group, of shape (words,).
        outside: the same of the others.

    Returns:
        The log-odds ratio and its z-score, each of shape (words,); above 0 if the word is more frequent in the group.
    """
    total = inside + outside
    prior = PRIOR * total / max(1, total.sum())
    a, b = inside + prior, outside + prior
    log_odds = np.log(a / (inside.sum() + PRIOR - a)) - np.log(b / (outside.sum() + PRIOR - b))
    return log_odds, log_odds / np.sqrt(1 / a + 1 / b)
