"""Variety of the characters and of the replies, by the figures of the manifests, with the alarms that they raise."""

from collections.abc import Iterator, Mapping
from typing import Any

from factory.config import Alarms
from factory.population.alarm_lines import raised_alarms
from factory.report.excerpts import Mask, excerpt
from factory.run_output import layout
from factory.run_output.folder import RunFolder

TITLES = {
    "full_name": "Most frequent full name",
    "birth_place": "Most frequent birth place",
    "opening": "Most frequent first words of a reply",
    "near_duplicates": "Profiles with a near-duplicate",
    "no_first_person": "Replies without a first person",
}
_MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError)


def population_data(folder: RunFolder, limits: Alarms, mask: Mask) -> list[dict[str, Any]]:
    """Return the figures of each table that has some; a malformed one is noted as a problem.

    Args:
        folder: the run.
        limits: of alarms, as they are now.
        mask: masks personal data in values.

    Returns:
        Of each table `table`; `alarms`: lines; `shares`: title, value, number, of, limit; `effective`, with its
        `limit`, or None; `strata`: name and rows of value, accepted, rejected.
    """
    shown = []
    for table in folder.select(layout.PROFILES, layout.CURATED):
        figures = table.manifest.get("population")
        if figures is None:
            continue
        try:
            shown.append({"table": table.name, **_figures(figures, limits, mask)})
        except _MALFORMED:
            folder.note(f"{table.name}: the figures of its population cannot be read and are left out")
    return shown


def _figures(figures: Mapping[str, Any], limits: Alarms, mask: Mask) -> dict[str, Any]:
    strata = [
        {"name": excerpt(name, mask), "rows": [[excerpt(value, mask), *counts] for value, counts in values.items()]}
        for name, values in figures.get("strata", {}).items()
    ]
    effective = figures.get("effective")
    return {
        "alarms": [excerpt(line, mask) for line in raised_alarms(figures, limits)],
        "shares": list(_shares(figures, limits, mask)),
        "effective": effective and {**effective, "limit": limits.effective_ratio},
        "strata": strata,
    }


def _shares(figures: Mapping[str, Any], limits: Alarms, mask: Mask) -> Iterator[list[Any]]:
    for name, title in TITLES.items():
        top, counted = figures.get("top", {}).get(name), figures.get(name)
        limit = getattr(limits, name)
        if top and top["values"]:
            value, number = top["values"][0]
            yield [title, excerpt(value, mask), int(number), int(top["of"]), limit]
        elif counted and counted["of"]:
            yield [title, None, int(counted["number"]), int(counted["of"]), limit]
