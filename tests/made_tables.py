"""The tables of a run as its steps write them, written without the steps: for tests of their readers."""

import json
from datetime import UTC, datetime
from pathlib import Path

from factory.inference.prompts import load_prompt
from factory.records import Counts, Dialogue, Example, Message, Profile, Reject, content_id
from factory.storage.manifest import Timing, build_manifest
from factory.storage.rows import ok_row, rejected_row
from factory.storage.schemas import DIALOGUES, EXAMPLES, PROFILES
from factory.storage.tables import Table
from factory.text.language import SAMPLES

SAMPLING = {"temperature": 0.6, "top_p": 0.95, "frequency_penalty": 0.0, "max_tokens": 512}
CORPUS, STRATEGY = "samples", "generate"
QUESTION = "What do you bake today?"


def make_tables(
    folder: str | Path,
    replies: list[list[tuple[str, str]]],
    validation: int = 0,
    shard_rows: int = 1000,
    **config: object,
) -> dict:
    """Write a finished run of dialogues, each given by its (question, reply) turns, and return its config.

    The last `validation` of them are the validation split. One more dialogue and one more profile are rejected.
    """
    output = str(folder)
    profiles = _profiles(output, min(20, len(replies)))
    rows = [_dialogue(number, turns, profiles[number % len(profiles)]) for number, turns in enumerate(replies)]
    refs = {"prompt": load_prompt("dialogue-generate").ref, "system": load_prompt("training-system").ref}
    _assignments(output, len(rows))
    name = f"dialogues/{STRATEGY}-{CORPUS}"
    settings_of_dialogues = _engine() | refs | {"work": "assigned"}
    refused = rejected_row(Reject("truncated", "And then I"), {"dialogue_id": "0" * 16, "corpus": CORPUS})
    dialogues = [ok_row(row, prompt=refs["prompt"], model="scripted") | {"output_tokens": 7} for row in rows]
    _write(Table(output, name), DIALOGUES, [*dialogues, refused], settings_of_dialogues, "spoken", shard_rows)
    cut = len(rows) - validation
    settings = {
        "near_duplicates": {"threshold": 0.8},
        "seed": 42,
        "language": "English",
        "language_samples": SAMPLES,
        "quality": {"too_short": {"min_words": 3}},
        "safety": ["email", "US", 0.99, "d1ge57"],
        "profiles": ["profiles-built", FINISHED],
        "sources": [[f"{STRATEGY}-{CORPUS}", None, "spoken", FINISHED]],
    }
    for split, some in (("train", rows[:cut]), ("validation", rows[cut:])):
        examples = [
            Example(r.dialogue_id, r.character_id, r.instruction_id, r.corpus, r.strategy, r.messages, split)
            for r in some
        ]
        written = [
            ok_row(example, prompt=refs["prompt"], model="scripted") | {"output_tokens": 7} for example in examples
        ]
        refused = rejected_row(Reject("too_short", "Oh."), {"dialogue_id": "1" * 16, "corpus": CORPUS, "split": split})
        figures = {"languages": {"english": len(some)}, "demographics": {"gender": {"a|b <script>*": len(some)}}}
        _write(
            Table(output, f"curated/{split}"), EXAMPLES, [*written, refused], settings, "chosen", shard_rows, figures
        )
    return {
        "output": output,
        "engine": {"kind": "scripted"},
        "personas": {"source": "personas.jsonl"},
        "instructions": [{"corpus": CORPUS, "source": "instructions.jsonl"}],
        **config,
    }


def leave_out(output: str, number: int) -> str:
    """Have curation reject all dialogues of the character of that number, whose id it returns."""
    (character,) = Table(output, "profiles").read("000000000")["character_id"].slice(number, 1).to_pylist()
    for split in ("train", "validation"):
        table, counts = Table(output, f"curated/{split}"), Counts()
        for shard in table.shards():
            rows = table.read(shard).to_pylist()
            mine = [row for row in rows if row["character_id"] == character and row["status"] == "ok"]
            for row in mine:
                row.update(status="rejected", reason="real_person", detail="profile: ada", messages=None)
            counts += table.write(shard, rows, EXAMPLES)
        table.finish((table.manifest() or {}) | {"ok": counts.ok, "rejected": counts.rejected})
    return str(character)


FINISHED = "2026-01-01T00:00:00+00:00"


def _engine() -> dict:
    return {"engine": "scripted", "ref": "scripted", "revision": "scripted", "seed": 42, "sampling": SAMPLING}


def _write(
    table: Table, schema, rows: list[dict], settings: dict, fingerprint: str, shard_rows: int, figures=None
) -> None:
    table.begin(fingerprint, settings)
    parts = [
        table.write(f"{start:09}", rows[start : start + shard_rows], schema)
        for start in range(0, len(rows), shard_rows)
    ]
    _finish(table, sum(parts, Counts()), fingerprint, **({"figures": figures} if figures else {}))


def _finish(table: Table, counts: Counts, fingerprint: str, **fields: object) -> None:
    timing = Timing(datetime.now(UTC), 1.0, counts)
    table.finish(
        build_manifest(table.name, counts.rows, counts, timing, fingerprint, **fields) | {"finished": FINISHED}
    )


def _profiles(output: str, many: int) -> list[Profile]:
    profiles = []
    for number in range(many):
        persona = f"a baker, number {number}"
        profiles.append(
            Profile(
                content_id(persona), persona, "Ada", "34", "female", "Black", "Lagos", "Tall.", "Bakes.", "Warm.",
                f"Name: Ada {number}\nAge: 34", "English",
            )
        )  # fmt: skip
    prompt = load_prompt("profile").ref
    rows = [ok_row(one, prompt=prompt) for one in profiles]
    rows.append(rejected_row(Reject("invalid_reply", "not json"), {"character_id": "f" * 16}))
    _write(
        Table(output, "profiles"),
        PROFILES,
        rows,
        _engine() | {"prompt": prompt, "language": "English"},
        "profiles-built",
        1000,
    )
    return profiles


def _assignments(output: str, many: int) -> None:
    table = Table(output, f"assignments/{CORPUS}")
    settings = {"profiles": ["profiles-built", FINISHED], "characters_per_instruction": 1, "seed": 42}
    table.begin("assigned", settings)
    _finish(table, Counts(ok=many), "assigned")


def _dialogue(number: int, turns: list[tuple[str, str]], profile: Profile) -> Dialogue:
    (system,) = load_prompt("training-system").render(persona=profile.persona, profile=profile.profile)
    said = [Message(role, text) for turn in turns for role, text in zip(("user", "assistant"), turn, strict=True)]
    instruction = content_id(CORPUS, json.dumps(turns), str(number))
    ids = content_id(profile.character_id, instruction, STRATEGY)
    return Dialogue(ids, STRATEGY, CORPUS, instruction, profile.character_id, (system, *said))
