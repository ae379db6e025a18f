"""Alarms of a population's figures: which are over their limits beyond chance, a line each."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from factory.config import Alarms
from factory.population.strata_counts import others_of

LEVEL = 0.01
"""The probability of a false alarm per figure where the share is exactly the limit."""
MIN_RATIO_ROWS = 200
"""Effective numbers of fewer texts depend on their number."""
LABELS = {"full_name": "full name", "birth_place": "birth place", "opening": "first words of a reply"}


def raised_alarms(figures: Mapping[str, Any], limits: Alarms) -> list[str]:
    """Return the alarms that figures of a manifest raise.

    Args:
        figures: of `CastFigures.to_manifest` or `ReplyFigures.to_manifest`; parts may be missing.
        limits: the limits.
    """
    return [
        *_common_values(figures, limits),
        *_shares(figures, limits),
        *_ratio(figures, limits),
        *_strata(figures, limits),
    ]


def lower_bound(number: int, of: int, level: float = LEVEL) -> float:
    """Return the lower confidence bound (Clopper-Pearson) of a share."""
    from scipy.stats import beta

    return float(beta.ppf(level, number, of - number + 1)) if number else 0.0


def _common_values(figures: Mapping[str, Any], limits: Alarms) -> Iterator[str]:
    for name, counted in figures.get("top", {}).items():
        limit = getattr(limits, name)
        if limit is None or not counted["values"]:
            continue
        value, number = counted["values"][0]
        # The most frequent of many values: as many as 1 / limit of them may each have this share by chance.
        if lower_bound(number, counted["of"], LEVEL * limit) > limit:
            yield f"{_share(number, counted['of'])} have the {LABELS[name]} {value!r}{_limit(name, f'{limit:.1%}')}"


def _shares(figures: Mapping[str, Any], limits: Alarms) -> Iterator[str]:
    texts = {"near_duplicates": "profiles have a near-duplicate", "no_first_person": "replies have no first person"}
    for name, text in texts.items():
        counted, limit = figures.get(name), getattr(limits, name)
        if counted and limit is not None and lower_bound(counted["number"], counted["of"]) > limit:
            yield f"{_share(counted['number'], counted['of'])} {text}{_limit(name, f'{limit:.1%}')}"


def _ratio(figures: Mapping[str, Any], limits: Alarms) -> Iterator[str]:
    effective, limit = figures.get("effective"), limits.effective_ratio
    if not effective or limit is None or effective["rows"] < MIN_RATIO_ROWS:
        return
    profiles, personas = effective["profiles"], effective["personas"]
    if profiles < limit * personas:
        yield (
            f"the profiles are worth {profiles:,.1f} different ones, and their personas {personas:,.1f}: "
            f"{profiles / personas:.2f} of them{_limit('effective_ratio', f'{limit:g}')}"
        )


def _strata(figures: Mapping[str, Any], limits: Alarms) -> Iterator[str]:
    strata, limit = figures.get("strata", {}), limits.stratum_rejects
    if limit is None:
        return
    tests = [(name, value) for name, values in strata.items() if len(values) > 1 for value in values]
    for name, value in tests:
        ok, rejected = strata[name][value]
        ratio, low = reject_ratio((ok, rejected), others_of(strata[name], value), LEVEL / len(tests))
        if low > limit:
            yield (
                f"{rejected / (ok + rejected):.1%} of {name} {value!r} are rejected, "
                f"{ratio:.1f} times the share of the others{_limit('stratum_rejects', f'{limit:g}')}"
            )


def reject_ratio(inside: tuple[int, int], outside: tuple[int, int], level: float) -> tuple[float, float]:
    """Return the ratio of two shares of rejected rows, and its lower confidence bound (Katz, with half a row added).

    Args:
        inside: accepted and rejected rows of a stratum.
        outside: those of the others.
        level: the probability that the bound is above the true ratio.
    """
    from scipy.stats import norm

    (a, m), (b, n) = ((rejected + 0.5, ok + rejected + 0.5) for ok, rejected in (inside, outside))
    deviation = math.sqrt(max(0.0, 1 / a - 1 / m + 1 / b - 1 / n))
    ratio = (a / m) / (b / n)
    return ratio, ratio * math.exp(-float(norm.isf(level)) * deviation)


def _share(number: int, of: int) -> str:
    return f"{number:,} of {of:,} ({number / of:.1%})"


def _limit(name: str, limit: str) -> str:
    return f" (alarms.{name}: {limit})"
