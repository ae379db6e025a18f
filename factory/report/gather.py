"""What the report shows of a run's tables: exact counts over all rows, and the sampled rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.report.excerpts import ByteBudget, Mask, excerpt_row
from factory.report.profile_counts import ATTRIBUTES, ProfileCounts
from factory.report.row_sample import (
    CHARACTERS,
    LowestRanks,
    RejectSample,
    RowLocation,
    SpeakerSample,
    StatusCounts,
    add_rejected_input,
    count_statuses,
    fetch_rows,
    find_rows,
)
from factory.run_output import layout
from factory.run_output.folder import RunFolder
from factory.run_output.layout import kind_of

ITEMS = ("persona", "name", *ATTRIBUTES, "appearance", "experience", "personality", "origin")
STEREOTYPE_ITEMS = ("persona", "personality", "name", "gender", "race", "birth_place", "language")
DIALOGUE_COLUMNS = [
    "dialogue_id", "messages", "status", "reason", "detail", "model", "prompt", "prompt_tokens", "output_tokens",
    "thoughts",
]  # fmt: skip
DIALOGUES_BYTES = 9_000_000
"""Maximum bytes of all dialogues on the page, with their instructions and references."""
CHARACTERS_BYTES = 3_000_000
REJECTED_BYTES = 2_500_000
ID_COLUMNS = {
    layout.PROFILES: "character_id",
    layout.DIALOGUES: "dialogue_id",
    layout.JUDGED: "dialogue_id",
    layout.CURATED: "dialogue_id",
    layout.BENCHMARK_PROFILES: "character_id",
    layout.SCORE_EXAMPLES: "question_id",
    layout.ANSWERS: "question_id",
    layout.GENERAL_RESULTS: "item_id",
    layout.BLOCK_VERDICTS: "block_id",
    layout.JUDGMENTS: "question_id",
}
"""The column that identifies a rejected row; rejected input has none."""


@dataclass(frozen=True)
class DialogueCase:
    """A character with an instruction, and the dialogue of each strategy."""

    character: str
    corpus: str
    instruction: str
    dialogues: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Rows by strategy, with shortened texts."""


@dataclass
class ReportSample:
    """The counts and rows read from a run's tables."""

    profiles: ProfileCounts = field(default_factory=ProfileCounts)
    counts: dict[str, StatusCounts] = field(default_factory=dict)
    """By table, for the tables that were read completely."""
    characters: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Profiles by id."""
    stereotype_profiles: list[Mapping[str, Any]] = field(default_factory=list)
    """Profiles with the lowest ranks, only with `STEREOTYPE_ITEMS`."""
    cases: list[DialogueCase] = field(default_factory=list)
    speakers: int = 0
    """How many of the characters have dialogues in the sample."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Sampled rows omitted to keep the page small, by kind."""
    unreadable: int = 0
    """Sampled dialogues without valid messages."""
    references: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """Instructions by corpus and id."""
    verdicts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Curation's decisions by dialogue id."""
    rejected: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """Rejected rows with their tables."""


def gather(folder: RunFolder, mask: Mask, stereotype_profiles: int = 0) -> ReportSample:
    """Read the tables of a run: narrow columns of all rows once, then the sampled rows.

    Args:
        folder: the run's folder.
        mask: masks personal data in what is shown; the stereotype profiles, which are not, are not masked.
        stereotype_profiles: maximum number of profiles to search for stereotypes.
    """
    sample, rejects = ReportSample(), RejectSample()
    speakers = _scan_dialogues(folder, sample, rejects)
    _read_profiles(folder, sample, speakers, rejects, stereotype_profiles, mask)
    _read_references(folder, sample, speakers, mask)
    _read_cases(folder, sample, speakers, mask)
    _read_verdicts(folder, sample, rejects)
    for table in folder.select(layout.PERSONAS, layout.GIVEN_PROFILES, layout.INSTRUCTIONS):
        add_rejected_input(folder, table, rejects)
    evaluation = (layout.ANSWERS, layout.GENERAL_RESULTS, layout.BLOCK_VERDICTS, layout.JUDGMENTS)
    for table in folder.select(*evaluation, layout.BENCHMARK_PROFILES, layout.SCORE_EXAMPLES):
        if table.rejected or not table.finished:
            for shard, rows in folder.read(table, ["status", "reason"]):
                rejects.add(table.name, shard, rows)
    _read_rejected(folder, sample, rejects, mask)
    return sample


def _dialogue_parts(name: str) -> dict[str, str]:
    return layout.DIALOGUES.parts(name) or {}


def _scan_dialogues(folder: RunFolder, sample: ReportSample, rejects: RejectSample) -> SpeakerSample:
    speakers = SpeakerSample()
    for table in folder.select(layout.DIALOGUES):
        counts = sample.counts.setdefault(table.name, StatusCounts())
        corpus = _dialogue_parts(table.name)["corpus"]
        columns = ["dialogue_id", "character_id", "instruction_id", "status", "reason"]
        for shard, rows in folder.read(table, columns):
            count_statuses(rows, "dialogue_id", counts)
            rejects.add(table.name, shard, rows)
            speakers.add(corpus, table.name, shard, rows)
    return speakers


def _read_profiles(
    folder: RunFolder,
    sample: ReportSample,
    speakers: SpeakerSample,
    rejects: RejectSample,
    stereotype_profiles: int,
    mask: Mask,
) -> None:
    """Read the characters with sampled dialogues, others up to the limit, and the profiles for stereotypes."""
    with_dialogues, locations = pa.array(list(speakers.kept), pa.string()), dict[str, RowLocation]()
    lowest = LowestRanks(max(stereotype_profiles, CHARACTERS))
    table = folder.tables.get(layout.PROFILES.name())
    if table is None:
        return
    counts = sample.profiles
    sample.counts[table.name] = counts.statuses
    narrow = ["character_id", "status", "reason", "output_tokens", "persona", "strata", *ATTRIBUTES]
    for shard, rows in folder.read(table, narrow):
        accepted = count_statuses(rows, "character_id", counts.statuses)
        rejects.add(table.name, shard, rows)
        counts.add(rows.filter(pa.array(accepted)))
        counts.add_strata(rows)
        ids = rows["character_id"].to_pylist()
        for row in np.flatnonzero(accepted).tolist():
            lowest.add(ids[row], RowLocation(table.name, shard, row))
        speaking = pc.is_in(rows["character_id"], with_dialogues).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(accepted & speaking):
            locations[ids[row]] = RowLocation(table.name, shard, int(row))
    lowest_locations = lowest.locations()
    for character, location in lowest_locations.items():
        if len(locations) < CHARACTERS:
            locations.setdefault(character, location)
    tables = {table.name: table}
    found = fetch_rows(folder, tables, locations.values(), ["character_id", *ITEMS])
    profiles = {row["character_id"]: excerpt_row(row, mask) for _, row in found}
    budget = ByteBudget(CHARACTERS_BYTES)
    shown = [id_ for id_ in locations if id_ in profiles and budget.fits(profiles[id_])]  # those with dialogues first
    sample.characters = {character: profiles[character] for character in sorted(shown)}
    sample.speakers = len(speakers.kept.keys() & sample.characters.keys())
    sample.dropped["profiles"] = budget.dropped
    chosen = list(lowest_locations.values())[:stereotype_profiles]
    sample.stereotype_profiles = [row for _, row in fetch_rows(folder, tables, chosen, list(STEREOTYPE_ITEMS))]


def _read_cases(folder: RunFolder, sample: ReportSample, speakers: SpeakerSample, mask: Mask) -> None:
    sampled = [location for cases in speakers.kept.values() for group in cases.values() for location in group]
    found = fetch_rows(folder, folder.tables, sampled, DIALOGUE_COLUMNS)
    rows = {location: excerpt_row(row, mask) for location, row in found}
    budget = ByteBudget(DIALOGUES_BYTES)
    order = [(case, character) for character, cases in speakers.kept.items() for case in cases]
    for case, character in sorted(order):
        _, corpus, instruction = case
        locations = [location for location in speakers.kept[character][case] if location in rows]
        by_strategy = {_dialogue_parts(location.table)["strategy"]: rows[location] for location in locations}
        readable = {
            name: row for name, row in by_strategy.items() if row["status"] != "ok" or _is_readable(row["messages"])
        }
        sample.unreadable += len(by_strategy) - len(readable)
        reference = sample.references.get((corpus, instruction))
        if readable and budget.fits([reference, *map(_without_system, readable.values())]):
            sample.cases.append(DialogueCase(character, corpus, instruction, readable))
    sample.dropped["dialogues"] = budget.dropped


def _is_readable(messages: Any) -> bool:
    if not messages or not all(message.get("role") and message.get("content") for message in messages):
        return False
    return any(message["role"] == "user" for message in messages)


def _without_system(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "messages": [message for message in row["messages"] or [] if message.get("role") != "system"]}


def _read_references(folder: RunFolder, sample: ReportSample, speakers: SpeakerSample, mask: Mask) -> None:
    wanted: dict[str, set[str]] = {}
    for cases in speakers.kept.values():
        for _, corpus, instruction in cases:
            wanted.setdefault(corpus, set()).add(instruction)
    for corpus, ids in wanted.items():
        table = folder.tables.get(layout.INSTRUCTIONS.name(corpus=corpus))
        rows = find_rows(folder, table, "instruction_id", ids, ["messages"]) if table else {}
        for id_, row in rows.items():
            sample.references[corpus, id_] = excerpt_row(row, mask)


def _read_verdicts(folder: RunFolder, sample: ReportSample, rejects: RejectSample) -> None:
    ids = {row["dialogue_id"] for case in sample.cases for row in case.dialogues.values() if row["dialogue_id"]}
    for table in folder.select(layout.CURATED):
        counted = (rejects, sample.counts.setdefault(table.name, StatusCounts()))
        rows = find_rows(folder, table, "dialogue_id", ids, ["status", "reason", "split"], counted)
        sample.verdicts.update(rows)


def _read_rejected(folder: RunFolder, sample: ReportSample, rejects: RejectSample, mask: Mask) -> None:
    by_table: dict[str, list[RowLocation]] = {}
    for location in rejects.locations():
        by_table.setdefault(location.table, []).append(location)
    budget = ByteBudget(REJECTED_BYTES)
    for table, locations in sorted(by_table.items(), key=lambda item: list(folder.tables).index(item[0])):
        id_column = ID_COLUMNS.get(kind_of(table))  # type: ignore[arg-type]
        columns = ["reason", "detail", "model", "thoughts", *([id_column] if id_column else [])]
        rows = (excerpt_row(row, mask) for _, row in fetch_rows(folder, folder.tables, locations, columns))
        sample.rejected += [(table, row) for row in rows if budget.fits(row)]
    sample.dropped["rejected rows"] = budget.dropped
