"""A small finished run for reports, written by the factory's own writers without an engine."""

import json
import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from factory.personagym import TASKS
from factory.records import (
    Answer,
    Completion,
    Counts,
    Dialogue,
    Example,
    Instruction,
    Judgment,
    Message,
    Persona,
    Profile,
    Reject,
    Score,
    content_id,
)
from factory.storage import file_io
from factory.storage.manifest import Timing, build_manifest
from factory.storage.rows import ok_row, rejected_row
from factory.storage.schemas import ANSWERS, DIALOGUES, EXAMPLES, INSTRUCTIONS, JUDGMENTS, PERSONAS, PROFILES
from factory.storage.tables import Table
from tests.made_scores import scores_of

FINGERPRINT = "0123456789abcdef"
HOSTILE = (
    "<img src=x onerror=document.title='owned'></script><script>document.title='owned'</script> "
    "& a \u2028 line, a NUL \0 and \u202e other ways"
)
"""Text that would run if it were parsed as HTML."""
JOBS = [
    "a baker in {} who counts loaves aloud", "a piano tuner from {} who hears wrong notes everywhere",
    "a lock keeper near {} who knows every boat", "a bee keeper of {} who sings to the hives",
    "a tram driver in {} who writes short poems", "a woman from {} who coaches chess and never castles",
]  # fmt: skip
PLACES = ["Lagos", "Tbilisi", "Turin", "Busan", "Oslo", "Quito"]
NAMES = ["Ada Oduya", "Nino Beridze", "Carla Conti", "Kim Minseo", "Ola Lien", "Rosa Vega"]
UNSAFE = {
    1: ("personal_data", "e-mail address in reply 1: … write to [e-mail address] about the starter …"),
    2: ("real_person", "persona: a <b>baker</b> of note\n\nFeed it every morning."),
    3: ("toxic", "offensive with a probability of 0.97\n\nFeed it, or else."),
}
"""Findings of curation in some dialogues."""
CAST_FIGURES = {
    "rows": 55,
    "sampled": 55,
    "effective": {"profiles": 20.5, "personas": 31.0, "rows": 55},
    "top": {
        "full_name": {"of": 55, "values": [["carla conti", 10], ["ada oduya", 9]]},
        "birth_place": {"of": 55, "values": [["turin", 12]]},
    },
    "near_duplicates": {"number": 0, "of": 55},
    "strata": {},
}
REPLY_FIGURES = {
    "sampled": 80,
    "top": {"opening": {"of": 80, "values": [["feed it every", 80]]}},
    "no_first_person": {"number": 3, "of": 80},
    "strata": {"mood": {"calm": [40, 2], "<b>cross</b>": [10, 30]}},
}
"""Figures of the population in manifests; both raise alarms."""
VALIDATION_SHARE = 5
"""One character in so many is in the validation split."""


def make_run(
    output: str,
    characters: int = 40,
    hostile: bool = True,
    seed: int = 1,
    engine: str = "scripted",
    model: str = "gpt-4o-mini",
) -> str:
    """Write all tables of a run and return its folder."""
    draw = random.Random(seed)
    model_fields = {"engine": engine, "model": {"ref": model, "revision": "r1"}}
    personas = [build_persona(number, hostile) for number in range(characters)]
    _finish(
        Table(output, "personas"), [ok_row(one) | {"source": 0, "row": n} for n, one in enumerate(personas)], PERSONAS
    )
    profiles = [_profile(one, number, draw) for number, one in enumerate(personas)]
    _finish(
        Table(output, "profiles"),
        [_row(one, draw) for one in profiles],
        PROFILES,
        prompts=["profile@1#abc"],
        population=CAST_FIGURES,
        **model_fields,
    )
    characters_ok = [one for one in profiles if isinstance(one, Profile)]
    for corpus, turns in (("samples", 1), ("talks", 2)):
        _dialogues(output, corpus, turns, characters_ok, draw, model_fields)
    _curated(output)
    _training(output)
    _evaluation(output, characters_ok[:8], draw, model_fields)
    engine_settings = {"base_url": "https://somebody:secret-word@host/v1", "half": "\ud800"}
    settings = {"output": output, "engine": engine_settings, "seed": seed}
    file_io.write_bytes(file_io.join(output, "config.json"), json.dumps(settings).encode())
    return output


def build_persona(number: int, hostile: bool) -> Persona:
    """Return a unique persona; the first one is HTML if `hostile` is set."""
    text = HOSTILE if hostile and not number else f"{JOBS[number % 6].format(PLACES[number // 6 % 6])}, {number}"
    return Persona(content_id(text), text)


def _profile(one: Persona, number: int, draw: random.Random) -> Profile | tuple[Persona, Reject]:
    if number % 13 == 7:
        return one, Reject("invalid_reply", f"not JSON <b>{number}</b> at all")
    place = PLACES[number // 6 % 6]
    items = {
        "name": NAMES[number % 6], "age": f"{draw.randint(18, 90)} years",
        "gender": draw.choice(["female", "male", "non-binary"]), "race": draw.choice(["Black", "Georgian", "White"]),
        "birth_place": place, "appearance": "Tall, with quick hands.",
        "experience": f"{one.persona[:60]} since school, then a shop of their own in {place}.",
        "personality": draw.choice(["Warm and patient.", "Dry, exact and loyal.", "Loud, generous, forgetful."]),
    }  # fmt: skip
    text = "\n".join(f"{name.replace('_', ' ').capitalize()}: {value}" for name, value in items.items())
    return Profile(one.character_id, one.persona, **items, profile=text, language="English")


def _row(one: object, draw: random.Random) -> dict:
    tokens = Completion(prompt_tokens=180, output_tokens=draw.randint(90, 380), cached_tokens=64)
    made_with = {"prompt": "profile@1#abc", "model": "gpt-4o-mini"}
    if isinstance(one, tuple):
        return rejected_row(one[1], {"character_id": one[0].character_id}, tokens, **made_with)
    return ok_row(one, tokens, **made_with)


def _dialogues(
    output: str, corpus: str, turns: int, characters: list[Profile], draw: random.Random, model_fields: dict
) -> None:
    instructions, rows = [], {"generate": [], "rewrite": []}
    for number in range(10):
        questions = [f"How do I keep {thing} {number}?" for thing in ("a sourdough starter", "a promise")[:turns]]
        messages = [
            Message(role, content)
            for one in questions
            for role, content in (("user", one), ("assistant", f"Reference: {one} Feed it."))
        ]
        instruction = content_id(corpus, str(number))
        instructions.append(Instruction(instruction, corpus, tuple(messages), 0, number))
        for character in draw.sample(characters, 3):
            for strategy, kept in rows.items():
                kept.append(_dialogue(strategy, corpus, instruction, character, questions, draw))
    _finish(Table(output, f"instructions/{corpus}"), [ok_row(one) for one in instructions], INSTRUCTIONS)
    _manifest(Table(output, f"assignments/{corpus}"), Counts(ok=len(rows["generate"])))
    for strategy, kept in rows.items():
        table = Table(output, f"dialogues/{strategy}-{corpus}")
        _finish(table, kept, DIALOGUES, prompts=[f"dialogue-{strategy}@1#def"], **model_fields)


def _dialogue(
    strategy: str, corpus: str, instruction: str, character: Profile, questions: list[str], draw: random.Random
) -> dict:
    ids = {
        "dialogue_id": content_id(strategy, corpus, instruction, character.character_id), "strategy": strategy,
        "corpus": corpus, "instruction_id": instruction, "character_id": character.character_id,
    }  # fmt: skip
    thoughts = [f"They ask {one} I am {character.name}. <b>Patience</b>." for one in questions]
    tokens = Completion(
        prompt_tokens=400,
        output_tokens=draw.randint(20, 200),
        cached_tokens=256,
        thoughts=tuple(thoughts) if strategy == "generate" else (),
        thought_tokens=12 if strategy == "generate" else 0,
    )
    made_with = {"prompt": f"dialogue-{strategy}@1#def", "model": "gpt-4o-mini"}
    if draw.random() < 0.12:
        return rejected_row(
            Reject(draw.choice(["truncated", "empty_reply"]), f"raw of {instruction}"), ids, tokens, **made_with
        )
    reply = (
        "Alimenta la massa ogni mattina, poi aspetta con pazienza."
        if draw.random() < 0.3
        else "Feed it every morning, and then wait as my aunt taught me to wait."
    )
    turns = [
        Message(role, content)
        for one in questions
        for role, content in (("user", one), ("assistant", f"{reply} ({strategy}, {character.name})"))
    ]
    return ok_row(Dialogue(**ids, messages=(Message("system", character.profile), *turns)), tokens, **made_with)


def _curated(output: str) -> None:
    rows = {"train": [], "validation": []}
    for name in file_io.list_names(f"{output}/dialogues", ""):
        table = Table(output, f"dialogues/{name}")
        for shard in table.shards():
            for row in table.read(shard).to_pylist():
                if row["status"] == "ok":
                    split = "validation" if int(row["character_id"], 16) % VALIDATION_SHARE == 0 else "train"
                    rows[split].append(_example(row, split))
    figures = {
        "turns": 90, "reply_words": 2000, "reply_tokens": 3000, "languages": {"ENGLISH": 70, "ITALIAN": 20},
        "distinct_ngrams": {str(n): {"distinct": 100 * n, "of": 1000, "share": 0.1 * n} for n in (1, 2, 3)},
        "characters": 30,
    }  # fmt: skip
    safety = {"personal_data": ["email", "phone"], "phone_regions": ["US"], "toxicity": 0.9, "people": {"names": 2}}
    for split, kept in rows.items():
        population = {"population": REPLY_FIGURES} if split == "train" else {}
        _finish(Table(output, f"curated/{split}"), kept, EXAMPLES, figures=figures, safety=safety, **population)


def _example(row: dict, split: str) -> dict:
    ids = {name: row[name] for name in ("dialogue_id", "character_id", "instruction_id", "corpus", "strategy")} | {
        "split": split
    }
    found = UNSAFE.get(int(row["dialogue_id"], 16) % 23)
    if found:
        return rejected_row(Reject(*found), ids)
    if int(row["dialogue_id"], 16) % 7 == 0:
        return rejected_row(Reject("near_duplicate", f"near 0123\n\n{row['messages'][2]['content']}"), ids)
    return ok_row(Example(**ids, messages=tuple(Message(m["role"], m["content"]) for m in row["messages"])))


def _training(output: str, steps: int = 40) -> None:
    rows = []
    for step in range(steps + 1):
        if step % 10 == 0:
            rows.append(
                {"kind": "validation", "step": step, "loss": 2.4 - 0.01 * step, "perplexity": 9.0, "dialogues": 20}
            )
        if step:
            rate = 1e-4 - (1e-4 - 1e-5) * (step - 1) / (steps - 1)
            rows.append(
                {
                    "kind": "step",
                    "step": step,
                    "loss": 2.5 - 0.015 * step,
                    "learning_rate": rate,
                    "tokens": 4000,
                    "seconds": 4000 / (70.0 + step),
                    "tokens_per_second": 70.0 + step,
                }
            )
    gain = {
        "before": 2.4,
        "after": 2.0,
        "change": -0.4,
        "low": -0.5,
        "high": -0.3,
        "dialogues": 20,
        "significant": True,
    }
    by = {"engine": "DeepSpeedEngine", "optimizer": "x", "zero_stage": 3, "parameters": 135_000_000, "workers": 2}
    fields = {
        "steps": steps,
        "epochs": 2,
        "tokens": 4000 * steps,
        "train_loss": rows[-1]["loss"],
        "validation": gain,
        "trained_by": by,
    }
    _manifest(Table(output, "checkpoints"), Counts(ok=80), **fields)
    file_io.write_bytes(f"{output}/checkpoints/metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    _manifest(
        Table(output, "packed/train"),
        Counts(ok=80),
        tokens=80_000,
        learned_tokens=30_000,
        segments=110,
        sequences=90,
        fill=0.93,
    )


def _evaluation(output: str, characters: list[Profile], draw: random.Random, model_fields: dict) -> None:
    for candidate, level in (("base", 2), ("tuned", 4)):
        answers, judged = [], {"judge-a": [], "judge-b": []}
        for one in characters:
            for task in TASKS:
                question = content_id(one.character_id, task)
                ids = {"candidate": candidate, "persona_id": one.character_id, "task": task, "question_id": question}
                answer = Answer(
                    **ids,
                    persona=one.persona,
                    question=f"What about {task}?",
                    answer=f"I, {one.name}, say so.",
                    truncated=False,
                )
                thought = Completion(output_tokens=30, thoughts=(f"{task} is asked.",), thought_tokens=9)
                answers.append(ok_row(answer, thought, prompt="answer@1#x", model="m"))
                for judge, kept in judged.items():
                    score = Score(max(1, min(5, level + draw.randint(-1, 1))))
                    verdict = Judgment(
                        **ids,
                        judge=judge,
                        score=score,
                        expected_score=None,
                        reasoning=f"It is a {score} <i>for</i> {one.name}.",
                    )
                    failed = rejected_row(Reject("judge_failed", "no score"), ids | {"judge": judge})
                    kept.append(failed if draw.random() < 0.05 else ok_row(verdict))
        _finish(Table(output, f"evaluation/{candidate}/answers"), answers, ANSWERS, **model_fields)
        for judge, kept in judged.items():
            _finish(Table(output, f"evaluation/{candidate}/judgments/{judge}"), kept, JUDGMENTS, **model_fields)
    scores = json.dumps(scores_of(len(characters)))
    file_io.write_bytes(f"{output}/evaluation/scores.json", scores.encode())
    of_checkpoints = scores.replace('"base"', '"step-20"').replace('"tuned"', '"step-40"')
    file_io.write_bytes(f"{output}/checkpoint-scores/evaluation/scores.json", of_checkpoints.encode())


def _finish(table: Table, rows: list[dict], schema: object, **fields: object) -> None:
    """Write rows as two shards, and a manifest."""
    half = -(-len(rows) // 2)
    table.begin(FINGERPRINT, {})
    counts = sum(
        (table.write(f"{n:05}", part, schema) for n, part in enumerate((rows[:half], rows[half:])) if part), Counts()
    )
    assert counts.rows == len(rows), Counter(row["status"] for row in rows)
    _manifest(table, counts, **fields)


def _manifest(table: Table, counts: Counts, **fields: object) -> None:
    timing = Timing(datetime.now(UTC), 42.0, counts, 2.0, 1, 40.0)
    table.begin(FINGERPRINT, {})
    table.finish(build_manifest(table.name, counts.rows, counts, timing, FINGERPRINT, **fields))


if __name__ == "__main__":
    import sys

    make_run(str(Path(sys.argv[1]).resolve()), int(sys.argv[2]) if len(sys.argv) > 2 else 40)
