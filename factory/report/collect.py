"""All data of a run's page, as plain values."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from factory.config import RunConfig
from factory.curation.rules.personal_data import masker
from factory.planning.prices import read_prices
from factory.report.excerpts import Mask
from factory.report.gather import ReportSample, gather
from factory.report.sections import (
    changed_answers,
    dialogue_cases,
    judged_dialogues,
    outcome,
    overview,
    people,
    population,
    profile_statistics,
    scores,
    training_curves,
)
from factory.report.sections.costs import run_costs
from factory.run_output import layout
from factory.run_output.folder import RunFolder, open_folder, whole
from factory.run_output.layout import own_candidates, own_model
from factory.text.redaction import redact_secrets, redact_urls

MIN_LETTERS = 20
"""The language of shorter replies is not detected."""
Command = Callable[[str], str]
"""Returns the command line that runs a step with this run's settings."""


def collect(config: RunConfig, command: Command) -> dict[str, Any]:
    """Return everything that the page shows.

    Args:
        config: the run's settings.
        command: returns the command line of a step.

    Raises:
        InputError: there is no table of a run.
    """
    data_of = config.training.data
    folder = open_folder(config.output, command("train" if data_of else "synthesize"), data_of)
    mask = masker(config.safety)
    sample = gather(folder, mask, config.safety.pair_characters)
    rows = overview.table_rows(folder.tables, sample.counts)
    trained, sizes = training_curves.training_data(folder), _sample_sizes(folder, sample)
    own_tables = [table for table in folder.tables.values() if table.table.output == folder.output]
    costs = run_costs(own_tables, config, read_prices(config.planning.prices), trained.get("seconds"))
    shown_scores = scores.score_data(folder.document(layout.SCORES), folder.note)
    varieties = {one["table"]: one for one in population.population_data(folder, config.alarms, mask)}
    own, own_command = _own_names(config, shown_scores), _own_command(config, command)
    data: dict[str, Any] = {
        "title": config.output.rstrip("/").rpartition("/")[2],
        "output": config.output,
        "data_of": data_of,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "outcome": outcome.key_results(shown_scores, trained.get("gain"), rows, costs, own, own_command),
        "commands": {kind.command: own_command(kind.command) for kind in layout.KINDS},
        "overview": _overview_data(config, folder, rows, costs),
        "characters": list(sample.characters.values()),
        "profiles": _profile_data(config, folder, sample, mask) | {"sample": sizes, "population": varieties},
        "dialogues": {
            "sample": sizes,
            "population": varieties,
            "cases": dialogue_cases.case_rows(sample, language_of),
            "rejected": dialogue_cases.rejected_rows(sample.rejected),
            "curated": {
                table.name: table.manifest.get("figures") for table in folder.select(layout.CURATED) if table.finished
            },
            "judged": judged_dialogues.judged_data(folder, mask),
        },
        "safety": {
            "checks": people.safety_checks(folder, sample),
            "balance": people.attribute_balance(sample.profiles, mask),
            "stereotypes": people.stereotype_data(sample.stereotype_profiles, config.safety, mask),
        },
        "training": trained,
        "evaluation": {
            "scores": shown_scores,
            "answers": scores.answer_data(folder, mask),
            "changed": changed_answers.changed_data(folder, shown_scores, mask),
        },
    }
    data["missing"] = _missing_steps(config, data, rows, command)
    data["problems"] = _problems(folder, sample)
    return redact_urls(data)


def _profile_data(config: RunConfig, folder: RunFolder, sample: ReportSample, mask: Mask) -> dict[str, Any]:
    characters, accepted = list(sample.characters.values()), sample.profiles.statuses.ok
    given = sum(whole(table.manifest.get("given")) for table in folder.select(layout.PROFILES))
    return {
        "given": given,
        "strata": profile_statistics.strata_rows(sample.profiles, mask),
        "distributions": profile_statistics.distributions(sample.profiles, mask) if accepted else [],
        "accepted": accepted,
        "words": profile_statistics.common_words(characters) if characters else [],
        "map": profile_statistics.topic_map(characters, config.seed),
    }


def _own_command(config: RunConfig, command: Command) -> Command:
    """Return `command`, but empty for steps that the run of `training.data` does."""
    steps_elsewhere = {kind.command for kind in layout.KINDS if config.training.data and kind.from_training_data}
    return lambda step: "" if step in steps_elsewhere else command(step)


def _own_names(config: RunConfig, shown_scores: Mapping[str, Any]) -> list[str]:
    """Return the names of the scored candidates that are the model that the run trains."""
    scored = [one["name"] for one in shown_scores.get("candidates", []) if one["model"] == own_model(config)]
    return list(dict.fromkeys([*own_candidates(config), *scored]))


def _overview_data(
    config: RunConfig, folder: RunFolder, rows: list[dict[str, Any]], costs: dict[str, Any]
) -> dict[str, Any]:
    settings = folder.document(layout.CONFIG)
    return {
        "flow": overview.flow(rows, own_candidates(config)),
        "steps": rows,
        "totals": overview.totals(rows),
        "reasons": overview.reject_reasons(rows),
        "costs": costs,
        "versions": overview.versions(folder.tables),
        # In a text of JSON, a quotation mark in a password would be escaped, and end the match.
        "settings": json.dumps(redact_secrets(settings), indent=2, ensure_ascii=False) if settings else "",
    }


def _missing_steps(
    config: RunConfig, data: dict[str, Any], rows: list[dict[str, Any]], command: Command
) -> list[dict[str, str]]:
    evaluated = bool(config.evaluation.candidates and config.evaluation.judges)
    has_corpora, elsewhere = bool(config.instructions), config.training.data is not None
    # Of another run, only its curated dialogues are needed.
    needed = {
        "Input": not elsewhere, "Profiles and pairs": not elsewhere, "Dialogues": has_corpora and not elsewhere,
        "Curated": has_corpora or elsewhere, "Trained": has_corpora or elsewhere, "Answers": evaluated,
        "Judgments": evaluated,
    }  # fmt: skip
    notes = overview.missing_stages(rows, command, needed, config.training.data)
    if evaluated and data["evaluation"]["answers"] and not data["evaluation"]["scores"]:
        notes.append({"text": "Scores: not computed yet.", "command": command("evaluate")})
    return notes


def _problems(folder: RunFolder, sample: ReportSample) -> list[str]:
    problems = [
        f"{name}: {counts.malformed:,} malformed rows (unknown status, or no id) are left out"
        for name, counts in sample.counts.items()
        if counts.malformed
    ]
    if sample.unreadable:
        problems.append(f"dialogues: {sample.unreadable:,} sampled rows have no readable messages")
    problems += [
        f"{kind}: {rows:,} sampled ones are left out to keep this page small"
        for kind, rows in sample.dropped.items()
        if rows
    ]
    repeated = Counter([*folder.problems, *problems])
    return [text if times == 1 else f"{text} ({times} times)" for text, times in repeated.items()]


def _sample_sizes(folder: RunFolder, sample: ReportSample) -> dict[str, int]:
    """Return how many rows are shown of how many: by the manifest, or as read for an unfinished table."""
    accepted = sum(
        int(table.manifest["ok"]) if table.finished else sample.counts[table.name].ok
        for table in folder.select(layout.PROFILES)
    )
    attempted = sum(
        int(table.manifest["rows_in"]) if table.finished else sample.counts[table.name].rows
        for table in folder.select(layout.DIALOGUES)
    )
    return {
        "characters": len(sample.characters),
        "speakers": sample.speakers,
        "of_characters": accepted,
        "dialogues": sum(len(case.dialogues) for case in sample.cases),
        "of_dialogues": attempted,
    }


def language_of(text: str) -> str:
    """Return the English name of a text's language; empty if the text is too short to detect it."""
    from factory.text.language import detect, prose

    if sum(map(str.isalpha, text[:200])) < MIN_LETTERS:
        return ""
    found = detect(prose(text))
    return found[0].capitalize() if found else ""
