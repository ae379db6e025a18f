"""Words that characters of one group have oftener than the others: occupations and traits by gender and race.

The measure is the log-odds ratio with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008,
"Fightin' Words"), which does not take rare words for telling ones. A word counts once a character, and
a pair of word and group is listed where its z-score is beyond chance for all pairs together (Bonferroni).
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factory.report.sections.balance import ASKING
from factory.report.sections.profiles import joined_value, word_analysis

GROUPED = ("gender", "race")
TEXTS = ("persona", "personality")
OWN = ("name", "gender", "race", "birth_place", "language")
"""Words of these items are not counted for their own character: that Koreans are Korean is no stereotype."""
MOST_GROUPS = 6
PRIOR = 1000.0
"""Words that the prior is worth; it has the proportions of all texts."""
LISTED = 40
_GRAMMAR = re.compile(rf"(?:{ASKING['gender']}|they|them|their|theirs|themselves)(?:['\u2019]\w+)?")
"""Words that are a gender's by themselves."""
_MARKS = ".,;:!?\"'()[]\u201c\u201d\u2018\u2019"


def stereotype_pairs(
    cast: Sequence[Mapping[str, Any]], open_to: Mapping[str, Sequence[bool]], least: int, significance: float
) -> dict[str, Any]:
    """The pairs of a word and a group that occur together oftener than chance has it.

    Args:
        cast: profiles, with the items of `TEXTS` and `OWN`.
        open_to: for each of `GROUPED` which of them have a persona that leaves it open; others are not looked at.
        least: characters that must have a word, and that a group must have.
        significance: how likely one pair or more is listed by chance alone.

    Returns:
        `looked`: pairs that were looked at; `beyond`: the z-score from which on they are listed; `characters` by
        attribute; `pairs`: attribute, group, word, characters with the word in and out of the group, and how many
        there are of each, log_odds and z, the strongest first.
    """
    tested: list[dict[str, Any]] = []
    characters = {}
    for name in GROUPED:
        mine = [one for one, is_open in zip(cast, open_to[name], strict=True) if is_open and one[name]]
        characters[name] = len(mine)
        tested += _tested(mine, name, least)
    beyond = _beyond(significance, len(tested))
    found = sorted((one for one in tested if one["z"] >= beyond), key=lambda one: (-one["z"], one["word"]))
    return {
        "looked": len(tested),
        "beyond": round(beyond, 2),
        "characters": characters,
        "found": len(found),
        "pairs": found[:LISTED],
    }


def _beyond(significance: float, pairs: int) -> float:
    from scipy.stats import norm

    return float(norm.isf(significance / max(1, pairs)))


def _tested(cast: Sequence[Mapping[str, Any]], name: str, least: int) -> list[dict[str, Any]]:
    from sklearn.feature_extraction.text import CountVectorizer

    texts = [_text(one) for one in cast]
    try:
        counter = CountVectorizer(**word_analysis(texts), binary=True, min_df=least)
        counts = counter.fit_transform(texts)
    except ValueError:  # no word has enough characters
        return []
    words = counter.get_feature_names_out()
    labels = np.array([joined_value(name, str(one[name])) for one in cast])
    groups = [group for group, number in Counter(labels.tolist()).most_common(MOST_GROUPS) if least <= number]
    tested = []
    for group in groups if len(groups) > 1 else []:
        inside = labels == group
        with_word = np.asarray(counts[inside].sum(axis=0)).ravel()
        without = np.asarray(counts[~inside].sum(axis=0)).ravel()
        log_odds, z = fightin_words(with_word, without)
        sizes = {"inside": int(inside.sum()), "outside": int((~inside).sum())}
        tested += [
            {"attribute": name, "group": group, "word": str(words[place]), "with": int(with_word[place]),
             "without": int(without[place]), "log_odds": round(float(log_odds[place]), 2),
             "z": round(float(z[place]), 2), **sizes}
            for place in range(len(words))
        ]  # fmt: skip
    return tested


def _text(one: Mapping[str, Any]) -> str:
    """The texts of a character without words of its own items and of its grammar."""
    own = {word.strip(_MARKS) for item in OWN for word in str(one[item] or "").casefold().split()}
    words = (word.strip(_MARKS) for item in TEXTS for word in str(one[item] or "").casefold().split())
    return " ".join(word for word in words if word not in own and not _GRAMMAR.fullmatch(word))


def fightin_words(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much oftener each word stands in one group than in the others.

    Args:
        inside: how often each word stands in the group, of shape (words,).
        outside: the same of the others.

    Returns:
        The log-odds ratio and its z-score, each of shape (words,); above 0 where the group has the word oftener.
    """
    total = inside + outside
    prior = PRIOR * total / max(1, total.sum())
    one, other = inside + prior, outside + prior
    log_odds = np.log(one / (inside.sum() + PRIOR - one)) - np.log(other / (outside.sum() + PRIOR - other))
    return log_odds, log_odds / np.sqrt(1 / one + 1 / other)
