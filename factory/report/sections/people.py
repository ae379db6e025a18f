"""Effects on people: what curation left out to protect them, and biases of the characters."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pyarrow as pa

from factory.config import Safety, SafetyReason
from factory.report.excerpts import Mask, excerpt
from factory.report.gather import ReportSample
from factory.report.profile_counts import ProfileCounts
from factory.report.sections.balance import balance_rows, is_unspecified
from factory.report.sections.profile_statistics import TITLES, join_values
from factory.report.sections.stereotypes import GROUPED, stereotype_pairs
from factory.run_output import layout
from factory.run_output.folder import RunFolder
from factory.run_output.layout import kind_of

MAX_EXAMPLES = 12
"""Maximum number of different examples per reason."""
EXAMPLE_CHARACTERS = 300


def safety_checks(folder: RunFolder, sample: ReportSample) -> dict[str, Any]:
    """Return what the dialogues were checked for, and what was left out.

    Returns:
        `rows`: curated dialogues; `settings`: the checks by the finished tables, empty if none records them;
        `reasons`: reason, rows, and examples with masked personal data. Empty if nothing is curated.
    """
    tables = folder.select(layout.CURATED)
    if not tables:
        return {}
    settings: dict[str, Any] = next(
        (table.manifest["safety"] for table in tables if isinstance(table.manifest.get("safety"), dict)), {}
    )
    reasons = [
        {
            "reason": reason,
            "rows": sum(sample.counts[table.name].rejected[reason] for table in tables),
            "examples": _examples(sample, reason),
        }
        for reason in get_args(SafetyReason)
    ]
    return {
        "rows": sum(sample.counts[table.name].rows for table in tables),
        "finished": all(table.finished for table in tables),
        "settings": settings,
        "reasons": reasons,
    }


def _examples(sample: ReportSample, reason: str) -> list[dict[str, Any]]:
    found: dict[str, Any] = {}
    for table, row in sample.rejected:
        if kind_of(table) is layout.CURATED and row["reason"] == reason:
            # The finding is before the replies, which are not needed here.
            finding = (row["detail"] or "").partition("\n\n")[0][:EXAMPLE_CHARACTERS]
            found.setdefault(finding, row.get("dialogue_id"))
    return [{"id": dialogue, "found": text} for text, dialogue in list(found.items())[:MAX_EXAMPLES]]


def attribute_balance(counts: ProfileCounts, mask: Mask) -> list[dict[str, Any]]:
    """Return the balance of characters whose personas do not specify an attribute, and of all; empty without any.

    Args:
        counts: counts of the characters.
        mask: masks personal data in a value.
    """
    unspecified, everyone = (
        {name: join_values(name, values) for name, values in by_name.items()}
        for by_name in (counts.unspecified, counts.values)
    )
    balance = balance_rows(unspecified, everyone, TITLES) if counts.statuses.ok else []
    for row in (row for attribute in balance for row in attribute["rows"]):
        row["value"] = excerpt(row["value"], mask)
    return balance


def stereotype_data(profiles: Sequence[Mapping[str, Any]], safety: Safety, mask: Mask) -> dict[str, Any]:
    """Return the stereotype pairs of a sample of the characters; empty without characters.

    Args:
        profiles: the profiles of the characters.
        safety: the thresholds for pairs.
        mask: masks personal data in the name of a group; words consist of letters only.
    """
    if not profiles:
        return {}
    personas = pa.chunked_array([pa.array([profile["persona"] for profile in profiles], pa.string())])
    unspecified = {name: is_unspecified(personas, name).to_pylist() for name in GROUPED}
    least, significance = safety.min_pair_count, safety.pair_significance
    found = stereotype_pairs(profiles, unspecified, least, significance)
    for pair in found["pairs"]:
        pair["group"] = excerpt(pair["group"], mask)
    return found | {"least": least, "significance": significance, "profiles": len(profiles)}
