"""Everything that the page of a run shows, as plain data."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from factory.config import RunConfig, Safety
from factory.report.excerpts import Mask
from factory.report.gather import Sample, gather
from factory.report.sections import dialogues, overview, people, profiles, scores, training_curves
from factory.report.sections.costs import PriceTable, costs
from factory.report.sections.overview import Command
from factory.run_output.folder import Folder, open_folder
from factory.run_output.layout import own_candidates
from factory.text.redaction import redact_secrets, redact_urls

CONFIG = "config.json"
SCORES = "evaluation/scores.json"
LANGUAGE_LETTERS = 20
"""Shorter replies do not tell their language."""


@dataclass(frozen=True)
class Known:
    """What the report takes from elsewhere."""

    prices: Callable[[str | None], PriceTable]
    """Reads a price table; None is the project's own."""
    published: scores.Published
    """The paper's scores."""
    masker: Callable[[Safety], Mask]
    """What hides the personal data that a config asks about."""


def collect(config: RunConfig, command: Command, known: Known) -> dict[str, Any]:
    """All that the page shows.

    Args:
        config: the run's settings.
        command: what makes a target of `make` here.
        known: what is not in the run's folder.

    Raises:
        InputError: there is nothing of a run.
    """
    data_of = config.training.data
    folder = open_folder(config.output, command("train" if data_of else "synthesize"), data_of)
    mask = known.masker(config.safety)
    sample = gather(folder, mask, config.safety.pair_characters)
    rows = overview.steps(folder.tables, sample.tallies)
    characters, trained = list(sample.characters.values()), training_curves.shown_training(folder)
    data: dict[str, Any] = {
        "title": config.output.rstrip("/").rpartition("/")[2],
        "output": config.output,
        "data_of": data_of,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "overview": _overview(config, folder, rows, known, trained.get("seconds")),
        "characters": characters,
        "profiles": {
            "sample": _told_sample(folder, sample),
            "distributions": profiles.distributions(sample.profiles, mask) if sample.profiles.tally.ok else [],
            "accepted": sample.profiles.tally.ok,
            "words": profiles.common_words(characters) if characters else [],
            "map": profiles.topics(characters, config.seed),
        },
        "dialogues": {
            "sample": _told_sample(folder, sample),
            "cases": dialogues.shown_cases(sample, language_of),
            "rejected": dialogues.shown_rejects(sample.rejected),
            "curated": {one.name: one.manifest.get("figures") for one in folder.like("curated/.*") if one.finished},
        },
        "safety": {
            "gate": people.shown_gate(folder, sample),
            "balance": people.shown_balances(sample.profiles, mask),
            "stereotypes": people.shown_stereotypes(sample.cast, config.safety, mask),
        },
        "training": trained,
        "evaluation": {
            "scores": scores.shown_scores(folder.document(SCORES), known.published, folder.note),
            "answers": scores.shown_answers(folder, mask),
        },
    }
    data["missing"] = _missing(config, data, rows, command)
    data["problems"] = _problems(folder, sample)
    return redact_urls(data)


def _overview(
    config: RunConfig, folder: Folder, rows: list[dict[str, Any]], known: Known, trained: float | None
) -> dict[str, Any]:
    settings = folder.document(CONFIG)
    own = [one for one in folder.tables.values() if one.table.output == folder.output]
    return {
        "flow": overview.flow(rows, own_candidates(config)),
        "steps": rows,
        "totals": overview.totals(rows),
        "reasons": overview.reasons(rows),
        "costs": costs(own, config, known.prices(config.planning.prices), trained),
        "versions": overview.versions(folder.tables),
        # As a text, a quotation mark in a password would be escaped, and end it.
        "settings": json.dumps(redact_secrets(settings), indent=2, ensure_ascii=False) if settings else "",
    }


def _missing(
    config: RunConfig, data: dict[str, Any], rows: list[dict[str, Any]], command: Command
) -> list[dict[str, str]]:
    evaluated = bool(config.evaluation.candidates and config.evaluation.judges)
    spoken, elsewhere = bool(config.instructions), config.training.data is not None
    # Of another run its curated dialogues are wanted, and not what they were made of.
    wanted = {
        "Input": not elsewhere, "Profiles and pairs": not elsewhere, "Dialogues": spoken and not elsewhere,
        "Curated": spoken or elsewhere, "Trained": spoken or elsewhere, "Answers": evaluated, "Judgments": evaluated,
    }  # fmt: skip
    notes = overview.missing(rows, command, wanted, config.training.data)
    if evaluated and data["evaluation"]["answers"] and not data["evaluation"]["scores"]:
        notes.append({"text": "Scores: not worked out yet.", "command": command("eval")})
    return notes


def _problems(folder: Folder, sample: Sample) -> list[str]:
    malformed = [
        f"{name}: {tally.malformed:,} malformed rows (no status that is known, or no id) are left out"
        for name, tally in sample.tallies.items()
        if tally.malformed
    ]
    if sample.unreadable:
        malformed.append(f"dialogues: {sample.unreadable:,} sampled rows have no messages that can be read")
    malformed += [
        f"{what}: {rows:,} sampled ones are left out to keep this page small"
        for what, rows in sample.left_out.items()
        if rows
    ]
    return [*folder.problems, *malformed]


def _told_sample(folder: Folder, sample: Sample) -> dict[str, int]:
    """How much is shown of how much: exact where a manifest tells, else as many as were read."""
    accepted = sum(
        int(found.manifest["ok"]) if found.finished else sample.tallies[found.name].ok
        for found in folder.like("profiles")
    )
    spoken = sum(
        int(found.manifest["rows_in"]) if found.finished else sample.tallies[found.name].rows
        for found in folder.like("dialogues/.*")
    )
    return {
        "characters": len(sample.characters),
        "speakers": sample.speakers,
        "of_characters": accepted,
        "dialogues": sum(len(case.dialogues) for case in sample.cases),
        "of_dialogues": spoken,
    }


def language_of(text: str) -> str:
    """The language of a text, in words; empty where it is too short to tell."""
    from factory.text.language import detect, prose

    if sum(map(str.isalpha, text[:200])) < LANGUAGE_LETTERS:
        return ""
    found = detect(prose(text))
    return found[0].capitalize() if found else ""
