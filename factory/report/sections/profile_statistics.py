"""Characters: distributions of their attributes, their words and topics, and near-identical pairs."""

import json
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factory.report.excerpts import Mask, excerpt
from factory.report.profile_counts import OTHERS, TOKEN_BIN, ProfileCounts, most_common

MAX_BARS = 14
"""Maximum number of values with a bar of their own."""
MAX_WORDS = 30
MAX_PAIRS = 12
MIN_SIMILARITY = 0.5
"""Less similar pairs are not shown."""
MIN_MAP_CHARACTERS = 200
"""With fewer characters, topics and their layout are chance."""
MAX_TOPICS = 8
AGE_BAND = 10
_LONG_WORD = 12
"""If words are longer than this on average, the script has no spaces, and character n-grams are used."""
GENDERS = {other: gender for gender in ("male", "female") for other in (gender[0], f"{gender}s")}
TITLES = {"age": "Age", "gender": "Gender", "race": "Race", "birth_place": "Birth place", "language": "Language"}


def distributions(counts: ProfileCounts, mask: Mask) -> list[dict[str, Any]]:
    """Return the distributions over all accepted profiles: the most common values, and the sum of the others.

    Args:
        counts: counts of the profiles.
        mask: masks personal data in a value.
    """
    shown = []
    for name, title in TITLES.items():
        joined = join_values(name, counts.values[name])
        if name == "age":
            bars = sorted(most_common(joined, MAX_BARS).items(), key=lambda item: _first_number(item[0]))
        else:
            bars = most_common(joined, MAX_BARS).most_common()
            bars.sort(key=lambda item: item[0] == OTHERS)  # last, whatever their number
        shown.append({"title": title, "bars": [[excerpt(value, mask), number] for value, number in bars if number]})
    return [*shown, {"title": "Length of the reply, in tokens", "bars": token_bars(counts.tokens)}]


def strata_rows(counts: ProfileCounts, mask: Mask) -> list[dict[str, Any]]:
    """Return the accepted and rejected profiles by each stratum of the cast; empty where a run has none.

    Args:
        counts: counts of the profiles.
        mask: masks personal data in a value.

    Returns:
        `name`: what the strata are of, such as `sex`; `rows`: value, accepted, rejected.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for position, status in enumerate(("ok", "rejected")):
        for text, number in counts.strata[status].items():
            for name, value in (json.loads(text) if text != OTHERS else {}).items():
                found.setdefault(name, {}).setdefault(value, [0, 0])[position] += number
    return [
        {
            "name": excerpt(name, mask),
            "rows": [[excerpt(value, mask), *found[name][value]] for value in sorted(found[name])],
        }
        for name in sorted(found)
    ]


def join_values(name: str, values: Mapping[str, int]) -> Counter[str]:
    """Merge values of an attribute that differ in case, spaces and punctuation; ages in bands, `m` as male."""
    joined = Counter[str]()
    for value, number in values.items():
        joined[join_value(name, value)] += number
    return joined


def join_value(name: str, value: str) -> str:
    """Return the merged form of one value."""
    if name == "age" and value != OTHERS:
        return _band(value)
    normalized = " ".join(value.split()).casefold()
    normalized = normalized.strip(string.punctuation + " ") or normalized
    return GENDERS.get(normalized, normalized) if name == "gender" else normalized


def token_bars(tokens: Mapping[int, int]) -> list[list[Any]]:
    """Return a histogram with as many bars as an attribute at most; bins are merged until it fits."""
    if not any(tokens):
        return []
    width = TOKEN_BIN
    while (max(tokens) // width) - (min(tokens) // width) >= MAX_BARS:
        width *= 2
    merged = Counter[int]()
    for start, number in tokens.items():
        merged[start // width * width] += number
    first, last = min(merged), max(merged)
    return [[f"{start}-{start + width - 1}", merged[start]] for start in range(first, last + 1, width)]


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
    """Return the words of personas and experience that most characters have, each with their number."""
    from sklearn.feature_extraction.text import CountVectorizer

    texts = [f"{one['persona'] or ''} {one['experience'] or ''}" for one in characters]
    try:
        vectorizer = CountVectorizer(**vectorizer_options(texts), binary=True, max_df=0.6 if len(texts) > 9 else 1.0)
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # all words are in too many texts or in none
        return []
    numbers = np.asarray(counts.sum(axis=0)).ravel()
    words = vectorizer.get_feature_names_out()
    order = sorted(range(len(words)), key=lambda n: (-numbers[n], words[n]))
    return [[str(words[n]), int(numbers[n])] for n in order[:MAX_WORDS]]


def vectorizer_options(texts: Sequence[str]) -> dict[str, Any]:
    """Return the options of a vectorizer that fit the script of the texts."""
    words = [word for text in texts[:100] for word in text.split()]
    if words and sum(map(len, words)) / len(words) > _LONG_WORD:
        return {"analyzer": "char", "ngram_range": (2, 3)}
    return {"stop_words": "english", "token_pattern": r"(?u)\b[^\W\d_]{3,}\b"}


def topic_map(characters: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Return a map of the characters by the topics of their personas and profiles.

    Texts become TF-IDF vectors, reduced by a truncated SVD; t-SNE computes the layout, k-means the topics.

    Args:
        characters: rows with `persona`, `experience` and `personality`.
        seed: the random seed of the map.

    Returns:
        `points`: [x, y, topic] of each, coordinates from 0 to 1; `topics`: the distinctive words of each; both are
        empty with fewer than `MIN_MAP_CHARACTERS`. `pairs`: [first, second, cosine] of the most similar characters.
        Empty with fewer than 3 characters.
    """
    texts = [f"{one['persona'] or ''} {one['experience'] or ''} {one['personality'] or ''}" for one in characters]
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(texts) < 3:
        return {}
    try:
        vectorizer = TfidfVectorizer(**vectorizer_options(texts), sublinear_tf=True, max_features=20_000)
        weights = vectorizer.fit_transform(texts)
    except ValueError:  # no text has a word
        return {}
    pairs = _most_similar(weights)
    if len(texts) < MIN_MAP_CHARACTERS:
        return {"points": [], "topics": [], "pairs": pairs}
    reduced = _reduce(weights, seed)
    labels = _cluster(reduced, seed)
    names = vectorizer.get_feature_names_out()
    topics = [_topic(weights, labels == topic, names) for topic in range(int(labels.max()) + 1)]
    points = [[round(float(x), 4), round(float(y), 4), int(topic)]
              for (x, y), topic in zip(_arrange(reduced, seed), labels, strict=True)]  # fmt: skip
    return {"points": points, "topics": topics, "pairs": pairs}


def _reduce(weights: Any, seed: int) -> np.ndarray:
    from sklearn.decomposition import TruncatedSVD

    components = min(50, min(weights.shape) - 1)
    if components < 2:
        return np.asarray(np.pad(weights.toarray(), ((0, 0), (0, 2)))[:, :2], float)
    with np.errstate(divide="ignore", invalid="ignore"):  # identical texts have no variance to explain
        return np.asarray(TruncatedSVD(components, random_state=seed).fit_transform(weights))


def _cluster(reduced: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    distinct = len(np.unique(reduced.round(9), axis=0))
    number = max(1, min(MAX_TOPICS, len(reduced) // 8, distinct))
    return np.asarray(KMeans(number, n_init=3, random_state=seed).fit_predict(reduced))


def _arrange(reduced: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    flat = reduced[:, :2]
    if len(reduced) >= 10 and len(np.unique(reduced.round(9), axis=0)) >= 10:
        start = flat / (flat.std() or 1) * 1e-4
        flat = TSNE(
            perplexity=min(30, (len(reduced) - 1) / 3), init=start, learning_rate="auto", random_state=seed
        ).fit_transform(reduced)
    low, high = flat.min(axis=0), flat.max(axis=0)
    return np.asarray((flat - low) / np.where(high > low, high - low, 1))


def _topic(weights: Any, members: np.ndarray, names: np.ndarray) -> dict[str, Any]:
    inside = np.asarray(weights[members].mean(axis=0)).ravel()
    outside = np.asarray(weights[~members].mean(axis=0)).ravel() if (~members).any() else np.zeros_like(inside)
    best = np.argsort(-(inside - outside), kind="stable")[:4]
    return {"words": [str(names[n]) for n in best if inside[n] > 0], "characters": int(members.sum())}


def _most_similar(weights: Any) -> list[list[Any]]:
    """Return the pairs with the highest cosine; the sample is small enough to compare all pairs."""
    similarities = np.triu((weights @ weights.T).toarray(), 1)
    order = np.argsort(-similarities, axis=None, kind="stable")[:MAX_PAIRS]
    pairs = [divmod(int(index), len(similarities)) for index in order]
    return [[a, b, round(float(similarities[a, b]), 3)] for a, b in pairs if similarities[a, b] >= MIN_SIMILARITY]
