"""Characters: how they are distributed, which words and topics they have, and which are nearly the same."""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factory.report.excerpts import Mask, clipped
from factory.report.profile_counts import OTHERS, TOKEN_BIN, ProfileCounts, most

SHOWN = 14
"""Values of an attribute that have a bar of their own."""
WORDS = 30
PAIRS = 12
TOPICS = 8
AGE_BAND = 10
_LONG_WORD = 12
"""Where words are longer than this on average, they are not parted by spaces: pieces are looked at in their place."""
GENDERS = {other: gender for gender in ("male", "female") for other in (gender[0], f"{gender}s")}
TITLES = {"age": "Age", "gender": "Gender", "race": "Race", "birth_place": "Birth place", "language": "Language"}


def distributions(counts: ProfileCounts, mask: Mask) -> list[dict[str, Any]]:
    """What all accepted profiles say, each with its commonest values and the sum of the others.

    Args:
        counts: of the profiles.
        mask: hides the personal data of a value.
    """
    drawn = []
    for name, title in TITLES.items():
        banded = joined_values(name, counts.values[name])
        if name == "age":
            bars = sorted(most(banded, SHOWN).items(), key=lambda item: _first_number(item[0]))
        else:
            bars = most(banded, SHOWN).most_common()
            bars.sort(key=lambda item: item[0] == OTHERS)  # last, however many they are
        drawn.append({"title": title, "bars": [[clipped(value, mask), number] for value, number in bars if number]})
    return [*drawn, {"title": "Length of the reply, in tokens", "bars": token_bars(counts.tokens)}]


def joined_values(name: str, values: Mapping[str, int]) -> Counter[str]:
    """The values of an attribute without case, spaces and marks at their ends; ages in bands, `m` as male."""
    joined = Counter[str]()
    for value, number in values.items():
        joined[joined_value(name, value)] += number
    return joined


def joined_value(name: str, value: str) -> str:
    """One of them."""
    if name == "age" and value != OTHERS:
        return _band(value)
    plain = " ".join(value.split()).casefold()
    plain = plain.strip(string.punctuation + " ") or plain
    return GENDERS.get(plain, plain) if name == "gender" else plain


def token_bars(tokens: Mapping[int, int]) -> list[list[Any]]:
    """A histogram of at most as many bars as an attribute has; bins are joined until it fits."""
    if not any(tokens):
        return []
    width = TOKEN_BIN
    while (max(tokens) // width) - (min(tokens) // width) >= SHOWN:
        width *= 2
    joined = Counter[int]()
    for start, number in tokens.items():
        joined[start // width * width] += number
    first, last = min(joined), max(joined)
    return [[f"{start}-{start + width - 1}", joined[start]] for start in range(first, last + 1, width)]


def _band(age: str) -> str:
    digits = re.search(r"\d+", age)
    if not digits or len(digits[0]) > 4:
        return "no number"
    start = int(digits[0]) // AGE_BAND * AGE_BAND
    return f"{start}-{start + AGE_BAND - 1}"


def _first_number(value: str) -> float:
    digits = re.match(r"\d+", value)
    return float(digits[0]) if digits else float("inf")


def common_words(characters: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """The words of personas and experience that most of the characters have, each with their number."""
    from sklearn.feature_extraction.text import CountVectorizer

    texts = [f"{one['persona'] or ''} {one['experience'] or ''}" for one in characters]
    try:
        counter = CountVectorizer(**word_analysis(texts), binary=True, max_df=0.6 if len(texts) > 9 else 1.0)
        found = counter.fit_transform(texts)
    except ValueError:  # nothing but words that everybody or nobody has
        return []
    numbers = np.asarray(found.sum(axis=0)).ravel()
    words = counter.get_feature_names_out()
    order = sorted(range(len(words)), key=lambda place: (-numbers[place], words[place]))
    return [[str(words[place]), int(numbers[place])] for place in order[:WORDS]]


def word_analysis(texts: Sequence[str]) -> dict[str, Any]:
    """How a vectoriser takes texts apart."""
    words = [word for text in texts[:100] for word in text.split()]
    if words and sum(map(len, words)) / len(words) > _LONG_WORD:
        return {"analyzer": "char", "ngram_range": (2, 3)}
    return {"stop_words": "english", "token_pattern": r"(?u)\b[^\W\d_]{3,}\b"}


def topics(characters: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """A map of the characters by what their personas and profiles are about.

    Texts are vectors of TF-IDF weights, reduced by a truncated SVD; t-SNE lays them out, k-means parts them.

    Args:
        characters: rows with `persona`, `experience` and `personality`.
        seed: of the map.

    Returns:
        `points`: [x, y, topic] of each, coordinates from 0 to 1; `topics`: the words that stand out in each;
        `pairs`: [first, second, cosine] of the most similar. Empty where there are too few.
    """
    texts = [f"{one['persona'] or ''} {one['experience'] or ''} {one['personality'] or ''}" for one in characters]
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(texts) < 3:
        return {}
    try:
        vectoriser = TfidfVectorizer(**word_analysis(texts), sublinear_tf=True, max_features=20_000)
        weights = vectoriser.fit_transform(texts)
    except ValueError:  # no text has a word
        return {}
    reduced = _reduced(weights, seed)
    labels = _clusters(reduced, seed)
    spread = _laid_out(reduced, seed)
    names = vectoriser.get_feature_names_out()
    told = [_topic(weights, labels == topic, names) for topic in range(int(labels.max()) + 1)]
    points = [[round(float(x), 4), round(float(y), 4), int(topic)]
              for (x, y), topic in zip(spread, labels, strict=True)]  # fmt: skip
    return {"points": points, "topics": told, "pairs": _pairs(weights)}


def _reduced(weights: Any, seed: int) -> np.ndarray:
    from sklearn.decomposition import TruncatedSVD

    components = min(50, min(weights.shape) - 1)
    if components < 2:
        return np.asarray(np.pad(weights.toarray(), ((0, 0), (0, 2)))[:, :2], float)
    with np.errstate(divide="ignore", invalid="ignore"):  # texts that are all alike have no variance to explain
        return np.asarray(TruncatedSVD(components, random_state=seed).fit_transform(weights))


def _clusters(reduced: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    distinct = len(np.unique(reduced.round(9), axis=0))
    many = max(1, min(TOPICS, len(reduced) // 8, distinct))
    return np.asarray(KMeans(many, n_init=3, random_state=seed).fit_predict(reduced))


def _laid_out(reduced: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    flat = reduced[:, :2]
    if len(reduced) >= 10 and len(np.unique(reduced.round(9), axis=0)) >= 10:
        start = flat / (flat.std() or 1) * 1e-4
        flat = TSNE(
            perplexity=min(30, (len(reduced) - 1) / 3), init=start, learning_rate="auto", random_state=seed
        ).fit_transform(reduced)
    low, high = flat.min(axis=0), flat.max(axis=0)
    return np.asarray((flat - low) / np.where(high > low, high - low, 1))


def _topic(weights: Any, mine: np.ndarray, names: np.ndarray) -> dict[str, Any]:
    inside = np.asarray(weights[mine].mean(axis=0)).ravel()
    outside = np.asarray(weights[~mine].mean(axis=0)).ravel() if (~mine).any() else np.zeros_like(inside)
    best = np.argsort(-(inside - outside), kind="stable")[:4]
    return {"words": [str(names[place]) for place in best if inside[place] > 0], "characters": int(mine.sum())}


def _pairs(weights: Any) -> list[list[Any]]:
    """The pairs with the highest cosine; the sample is small enough to look at all of them."""
    similar = np.triu((weights @ weights.T).toarray(), 1)
    order = np.argsort(-similar, axis=None, kind="stable")[:PAIRS]
    places = [divmod(int(place), len(similar)) for place in order]
    return [[one, two, round(float(similar[one, two]), 3)] for one, two in places if similar[one, two] > 0]
