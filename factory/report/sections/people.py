"""What the run does to people: what curation left out for their sake, and how the characters are biased."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pyarrow as pa

from factory.config import Safety, SafetyReason
from factory.report.excerpts import Mask, clipped
from factory.report.gather import Sample
from factory.report.profile_counts import ProfileCounts
from factory.report.sections.balance import asks_nothing, shown_balance
from factory.report.sections.profiles import TITLES, joined_values
from factory.report.sections.stereotypes import GROUPED, stereotype_pairs
from factory.run_output.folder import Folder

EXAMPLES = 12
"""Different ones of each reason that are shown."""
EXAMPLE = 300
"""Characters of one."""


def shown_gate(folder: Folder, sample: Sample) -> dict[str, Any]:
    """What was asked of the dialogues, and what was left out.

    Returns:
        `rows`: curated dialogues; `settings`: what the finished tables say was asked, empty where none says so;
        `reasons`: reason, rows, and examples, of which personal data are masked. Empty where nothing is curated.
    """
    tables = folder.like("curated/.*")
    if not tables:
        return {}
    told: dict[str, Any] = next(
        (one.manifest["safety"] for one in tables if isinstance(one.manifest.get("safety"), dict)), {}
    )
    reasons = [
        {
            "reason": reason,
            "rows": sum(sample.tallies[one.name].rejected[reason] for one in tables),
            "examples": _examples(sample, reason),
        }
        for reason in get_args(SafetyReason)
    ]
    return {
        "rows": sum(sample.tallies[one.name].rows for one in tables),
        "finished": all(one.finished for one in tables),
        "settings": told,
        "reasons": reasons,
    }


def _examples(sample: Sample, reason: str) -> list[dict[str, Any]]:
    mine = [row for table, row in sample.rejected if table.startswith("curated/") and row["reason"] == reason]
    found: dict[str, Any] = {}
    for row in mine:  # what was found stands before the replies, which need not be read here
        found.setdefault((row["detail"] or "").partition("\n\n")[0][:EXAMPLE], row.get("dialogue_id"))
    return [{"id": dialogue, "found": text} for text, dialogue in list(found.items())[:EXAMPLES]]


def shown_balances(counts: ProfileCounts, mask: Mask) -> list[dict[str, Any]]:
    """The balance of the characters that nobody asked for, beside that of all; none without characters.

    Args:
        counts: of the characters.
        mask: hides the personal data of a value.
    """
    unasked, everyone = (
        {name: joined_values(name, values) for name, values in some.items()} for some in (counts.unasked, counts.values)
    )
    shown = shown_balance(unasked, everyone, TITLES) if counts.tally.ok else []
    for row in (row for one in shown for row in one["rows"]):
        row["value"] = clipped(row["value"], mask)
    return shown


def shown_stereotypes(cast: Sequence[Mapping[str, Any]], safety: Safety, mask: Mask) -> dict[str, Any]:
    """The stereotype pairs of a sample of the characters; empty where none was to be looked at.

    Args:
        cast: their profiles.
        safety: what a pair must be to be listed.
        mask: hides the personal data of a group's name; words have letters alone.
    """
    if not cast:
        return {}
    personas = pa.chunked_array([pa.array([one["persona"] for one in cast], pa.string())])
    open_to = {name: asks_nothing(personas, name).to_pylist() for name in GROUPED}
    least, significance = safety.min_pair_count, safety.pair_significance
    found = stereotype_pairs(cast, open_to, least, significance)
    for pair in found["pairs"]:
        pair["group"] = clipped(pair["group"], mask)
    return found | {"least": least, "significance": significance, "cast": len(cast)}
