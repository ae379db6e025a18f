"""A run's tables to what the report shows of them: exact counts in passing, and the sampled rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factory.report.excerpts import Mask, Room, cut
from factory.report.profile_counts import ATTRIBUTES, ProfileCounts
from factory.report.row_sample import (
    CHARACTERS,
    Lowest,
    Place,
    Refused,
    Speakers,
    Tally,
    fetch,
    input_refused,
    matching,
    tally,
)
from factory.run_output.folder import Folder

ITEMS = ("persona", "name", *ATTRIBUTES, "appearance", "experience", "personality")
STEREOTYPED = ("persona", "personality", "name", "gender", "race", "birth_place", "language")
SPOKEN = [
    "dialogue_id", "messages", "status", "reason", "detail", "model", "prompt", "prompt_tokens", "output_tokens",
]  # fmt: skip
DIALOGUES_BYTES = 9_000_000
"""The most that all dialogues take of the page, their instructions and references included."""
CHARACTERS_BYTES = 3_000_000
REJECTED_BYTES = 2_500_000


@dataclass(frozen=True)
class Case:
    """A character with an instruction, and the dialogue of each strategy."""

    character: str
    corpus: str
    instruction: str
    dialogues: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Rows by strategy; the texts are cut to size."""


@dataclass
class Sample:
    """What was read of a run's rows."""

    profiles: ProfileCounts = field(default_factory=ProfileCounts)
    tallies: dict[str, Tally] = field(default_factory=dict)
    """Of the tables that were read from end to end."""
    characters: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Profiles by id."""
    cast: list[Mapping[str, Any]] = field(default_factory=list)
    """Profiles with the lowest ranks, by the items of `STEREOTYPED` alone."""
    cases: list[Case] = field(default_factory=list)
    speakers: int = 0
    """How many of the characters were taken because they speak."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Sampled rows that would have made the page too large, by what they are."""
    unreadable: int = 0
    """Sampled dialogues whose messages are none."""
    references: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """Instructions by corpus and id."""
    verdicts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What curation made of the dialogues, by their ids."""
    rejected: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """Rejected rows with their tables."""


def gather(folder: Folder, mask: Mask, cast: int = 0) -> Sample:
    """Read the tables of a run, each once by its narrow columns and then the chosen rows.

    Args:
        folder: what lies there.
        mask: hides the personal data of what is shown; those of the cast, which is not, stay.
        cast: the most characters that stereotypes are looked for in.
    """
    sample, refused = Sample(), Refused()
    speakers = _scan_dialogues(folder, sample, refused)
    _take_cast(folder, sample, speakers, refused, cast, mask)
    _take_references(folder, sample, speakers, mask)
    _take_cases(folder, sample, speakers, mask)
    _take_verdicts(folder, sample, refused)
    for found in folder.like("personas|instructions/.*"):
        input_refused(folder, found, refused)
    for found in folder.like("evaluation/.*/(answers|general|judgments/.*|profiles|examples)"):
        if found.rejected or not found.finished:
            for shard, rows in folder.read(found, ["status", "reason"]):
                refused.offer(found.name, shard, rows)
    _take_rejected(folder, sample, refused, mask)
    return sample


def _scan_dialogues(folder: Folder, sample: Sample, refused: Refused) -> Speakers:
    speakers = Speakers()
    for found in folder.like("dialogues/.*"):
        counts = sample.tallies.setdefault(found.name, Tally())
        corpus = found.name.partition("/")[2].partition("-")[2]
        columns = ["dialogue_id", "character_id", "instruction_id", "status", "reason"]
        for shard, rows in folder.read(found, columns):
            tally(rows, "dialogue_id", counts)
            refused.offer(found.name, shard, rows)
            speakers.offer(corpus, found.name, shard, rows)
    return speakers


def _take_cast(folder: Folder, sample: Sample, speakers: Speakers, refused: Refused, cast: int, mask: Mask) -> None:
    """The characters that speak, and others up to the limit; and those that stereotypes are looked for in."""
    spoken, places = pa.array(list(speakers.kept), pa.string()), dict[str, Place]()
    lowest = Lowest(max(cast, CHARACTERS))
    found = folder.tables.get("profiles")
    if found is None:
        return
    counts = sample.profiles
    sample.tallies[found.name] = counts.tally
    narrow = ["character_id", "status", "reason", "output_tokens", "persona", *ATTRIBUTES]
    for shard, rows in folder.read(found, narrow):
        good = tally(rows, "character_id", counts.tally)
        refused.offer(found.name, shard, rows)
        counts.add(rows.filter(pa.array(good)))
        ids = rows["character_id"].to_pylist()
        for row in np.flatnonzero(good).tolist():
            lowest.offer(ids[row], Place(found.name, shard, row))
        for row in np.flatnonzero(good & pc.is_in(rows["character_id"], spoken).to_numpy(zero_copy_only=False)):
            places[ids[row]] = Place(found.name, shard, int(row))
    low = lowest.places()
    for character, place in low.items():
        if len(places) < CHARACTERS:
            places.setdefault(character, place)
    profiles = {row["character_id"]: cut(row, mask) for _, row in fetch(
        folder, {found.name: found}, places.values(), ["character_id", *ITEMS])}  # fmt: skip
    room = Room(CHARACTERS_BYTES)
    taken = [one for one in places if one in profiles and room.takes(profiles[one])]  # those that speak come first
    sample.characters = {character: profiles[character] for character in sorted(taken)}
    sample.speakers = len(speakers.kept.keys() & sample.characters.keys())
    sample.left_out["profiles"] = room.out
    chosen = list(low.values())[:cast]
    sample.cast = [row for _, row in fetch(folder, {found.name: found}, chosen, list(STEREOTYPED))]


def _take_cases(folder: Folder, sample: Sample, speakers: Speakers, mask: Mask) -> None:
    every = [place for cases in speakers.kept.values() for places in cases.values() for place in places]
    rows = {place: cut(row, mask) for place, row in fetch(folder, folder.tables, every, SPOKEN)}
    room = Room(DIALOGUES_BYTES)
    order = [(case, character) for character, cases in speakers.kept.items() for case in cases]
    for case, character in sorted(order):
        _, corpus, instruction = case
        places = [place for place in speakers.kept[character][case] if place in rows]
        strategies = {place.table.partition("/")[2].partition("-")[0]: rows[place] for place in places}
        reference = sample.references.get((corpus, instruction))
        good = {name: row for name, row in strategies.items() if row["status"] != "ok" or readable(row["messages"])}
        sample.unreadable += len(strategies) - len(good)
        if good and room.takes([reference, *map(_shown, good.values())]):
            sample.cases.append(Case(character, corpus, instruction, good))
    sample.left_out["dialogues"] = room.out


def readable(messages: Any) -> bool:
    """Whether messages are what a dialogue is made of, a user's turn among them."""
    if not messages or not all(one.get("role") and one.get("content") for one in messages):
        return False
    return any(one["role"] == "user" for one in messages)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "messages": [one for one in row["messages"] or [] if one.get("role") != "system"]}


def _take_references(folder: Folder, sample: Sample, speakers: Speakers, mask: Mask) -> None:
    wanted: dict[str, set[str]] = {}
    for cases in speakers.kept.values():
        for _, corpus, instruction in cases:
            wanted.setdefault(corpus, set()).add(instruction)
    for corpus, ids in wanted.items():
        found = folder.tables.get(f"instructions/{corpus}")
        for name, row in (matching(folder, found, "instruction_id", ids, ["messages"]) if found else {}).items():
            sample.references[corpus, name] = cut(row, mask)


def _take_verdicts(folder: Folder, sample: Sample, refused: Refused) -> None:
    ids = {row["dialogue_id"] for case in sample.cases for row in case.dialogues.values() if row["dialogue_id"]}
    for found in folder.like("curated/.*"):
        account = (refused, sample.tallies.setdefault(found.name, Tally()))
        rows = matching(folder, found, "dialogue_id", ids, ["status", "reason", "split"], account)
        sample.verdicts.update(rows)


def _take_rejected(folder: Folder, sample: Sample, refused: Refused, mask: Mask) -> None:
    by_table: dict[str, list[Place]] = {}
    for place in refused.places():
        by_table.setdefault(place.table, []).append(place)
    room = Room(REJECTED_BYTES)
    for table, places in sorted(by_table.items(), key=lambda item: list(folder.tables).index(item[0])):
        columns = ["reason", "detail", "model", *_identity(table)]
        rows = (cut(row, mask) for _, row in fetch(folder, folder.tables, places, columns))
        sample.rejected += [(table, row) for row in rows if room.takes(row)]
    sample.left_out["rejected rows"] = room.out


def _identity(table: str) -> list[str]:
    """The column that says whose row was rejected; input that could not be read has none."""
    if table.endswith("profiles"):
        return ["character_id"]
    if table.endswith("general"):
        return ["item_id"]
    kind = table.partition("/")[0]
    return {"dialogues": ["dialogue_id"], "curated": ["dialogue_id"], "evaluation": ["question_id"]}.get(kind, [])
