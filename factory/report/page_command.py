"""The command line of the report, and its sections put together."""

import argparse
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from factory import storage
from factory.config import RunConfig, Safety
from factory.config_file import load_config
from factory.credentials import redacted, scrubbed
from factory.job import Parser, quiet
from factory.progress import Progress
from factory.report import dialogues, evaluation, overview, profiles, safety, training
from factory.report.costs import PriceTable, costs
from factory.report.outputs import own_candidates
from factory.report.overview import Command
from factory.report.page import render
from factory.report.page_gathering import Sample, gather
from factory.report.page_reading import Folder, open_folder
from factory.report.texts import Mask

PLACE = "report/index.html"
CONFIG = "config.json"
SCORES = "evaluation/scores.json"
LANGUAGE_LETTERS = 20
"""Shorter replies do not tell their language."""


@dataclass(frozen=True)
class Known:
    """What the report takes from elsewhere."""

    prices: Callable[[str | None], PriceTable]
    """Reads a price table; None is the project's own."""
    published: evaluation.Published
    """The paper's scores."""
    masker: Callable[[Safety], Mask]
    """What hides the personal data that a config asks about."""


def report(description: str | None, known: Known) -> None:
    """Read the command line, write the page, and say where it is.

    Raises:
        UserError: the config is wrong, or there is nothing of a run.
    """
    arguments = _parse(description)
    config = load_config(arguments.config, arguments.overrides).with_paths(storage.input_path, storage.output_path)

    def command(target: str) -> str:
        return " ".join([f"make {target} CONFIG={arguments.config}", *_as_make(arguments.overrides)])

    progress = Progress()  # it has the terminal while `quiet` keeps the libraries off it
    path = storage.join(config.output, PLACE)
    with quiet(arguments.verbose):
        page = render(collect(config, command, known))
        if not arguments.dry_run:
            storage.write_bytes(path, page)
    done = "would be written" if arguments.dry_run else f"{len(page) / 1e6:,.1f} MB"
    progress.say(f"Report: {path} ({done})")


def _parse(description: str | None) -> argparse.Namespace:
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's settings (YAML)")
    parser.add_argument("--dry-run", action="store_true", help="read everything, write nothing")
    # `make demo` gives all its jobs the same arguments.
    parser.add_argument("--limit", type=int, metavar="N", help="changes nothing: all that the run left is read")
    parser.add_argument("--verbose", action="store_true", help="show what the libraries say")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings laid over the file's")
    return parser.parse_intermixed_args()


def _as_make(overrides: list[str]) -> list[str]:
    return [f'ARGS="{shlex.join(overrides)}"'] if overrides else []


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
    characters, trained = list(sample.characters.values()), training.shown_training(folder)
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
            "gate": safety.shown_gate(folder, sample),
            "balance": safety.shown_balances(sample.profiles, mask),
            "stereotypes": safety.shown_stereotypes(sample.cast, config.safety, mask),
        },
        "training": trained,
        "evaluation": {
            "scores": evaluation.shown_scores(folder.document(SCORES), known.published, folder.note),
            "answers": evaluation.shown_answers(folder, mask),
        },
    }
    data["missing"] = _missing(config, data, rows, command)
    data["problems"] = _problems(folder, sample)
    return scrubbed(data)


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
        "settings": json.dumps(redacted(settings), indent=2, ensure_ascii=False) if settings else "",
    }


def _missing(
    config: RunConfig, data: dict[str, Any], rows: list[dict[str, Any]], command: Command
) -> list[dict[str, str]]:
    evaluated = bool(config.evaluation.candidates and config.evaluation.judges)
    spoken, elsewhere = bool(config.instructions), config.training.data is not None
    # Of another run its curated dialogues are wanted, and not what they were made of.
    wanted = {
        "Input": not elsewhere, "Profiles and pairs": not elsewhere, "Dialogues": spoken and not elsewhere,
        "Curated": spoken or elsewhere, "Trained": spoken or elsewhere, "Answers": evaluated, "Judgements": evaluated,
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
    from factory.language import detect, prose

    if sum(map(str.isalpha, text[:200])) < LANGUAGE_LETTERS:
        return ""
    found = detect(prose(text))
    return found[0].capitalize() if found else ""
