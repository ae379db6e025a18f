"""The tables of a small run, written as the factory writes them, without an engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from factory.config import RunConfig
from factory.records import (
    Answer,
    Completion,
    Dialogue,
    Example,
    Instruction,
    Judgment,
    Message,
    Persona,
    Profile,
    Question,
    Reject,
    Score,
    ScoreExamples,
    content_id,
)
from factory.storage.manifest import Timing, build_manifest
from factory.storage.rows import Row, count_rows, ok_row, rejected_row
from factory.storage.schemas import (
    ANSWERS,
    COMMON_COLUMNS,
    DIALOGUES,
    EXAMPLES,
    INSTRUCTIONS,
    JUDGMENTS,
    PERSONAS,
    PROFILES,
    QUESTIONS,
    SCORE_EXAMPLES,
)
from factory.storage.tables import REJECTED, Table

ADA = "a baker who [red]sings[/red] \x1b[31m<b>at dawn</b>"
BEN = "a lock keeper on a quiet canal"
CYN = "a clerk whose profile was cut"
PILOT = "a pilot of small planes"
CHARACTERS = (ADA, BEN, CYN)
INSTRUCTION_TEXTS = ("What do you bake?", "Tell me of rain.")
PACKED = pa.schema(
    [
        pa.field("input_ids", pa.list_(pa.int32())),
        pa.field("loss_mask", pa.list_(pa.bool_())),
        pa.field("lengths", pa.list_(pa.int32())),
        pa.field("dialogue_ids", pa.list_(pa.string())),
    ]
)
ENGINE = {
    "engine": "vllm", "ref": "org/teacher", "revision": "0123", "engine_kwargs": {}, "seed": 7,
    "sampling": {"temperature": 0.6, "top_p": 0.95, "frequency_penalty": 0.0, "max_tokens": 512},
}  # fmt: skip
QUALITY = {"disabled_rules": [], "too_short": {"min_words": 3}, "unfinished_sentence": {"min_words": 12}}


def character(persona: str) -> str:
    """Return the id of a persona."""
    return content_id(persona)


def instruction(text: str) -> str:
    """Return the id of an instruction of the corpus `lima`."""
    return content_id("lima", text)


def dialogue(persona: str, text: str, strategy: str = "generate") -> str:
    """Return the id of the dialogue of a persona and an instruction."""
    return content_id(character(persona), instruction(text), strategy)


def question(persona: str, task: str) -> str:
    """Return the id of the question of a task."""
    return content_id(persona, task, f"{task}?")


@dataclass
class SmallRun:
    """Writes tables one by one, so that a test can omit some."""

    output: str

    def config(self, **settings: object) -> RunConfig:
        """Return a config that fits the tables."""
        return RunConfig.model_validate(
            {
                "output": self.output,
                "engine": {"kind": "scripted"},
                "personas": {"source": "personas.jsonl"},
                "instructions": [{"corpus": "lima", "source": "lima.jsonl"}],
                "evaluation": {
                    "candidates": [
                        {"name": "base", "kind": "scripted"},
                        {"name": "tuned", "kind": "scripted", "model": f"{self.output}/model"},
                    ],
                    "judges": [{"name": "strict", "kind": "scripted"}, {"name": "mild", "kind": "scripted"}],
                },
                **settings,
            }
        )

    def write(
        self,
        name: str,
        shards: dict[str, list[Row]],
        schema: pa.Schema,
        settings: Row | None = None,
        finished: bool = True,
    ) -> Table:
        """Write a table with its settings and, if finished, its manifest."""
        table = Table(self.output, name)
        table.begin(f"built-{name}", settings or {})
        counts = [table.write(shard, rows, schema) for shard, rows in shards.items()]
        if finished:
            everything = sum(counts[1:], counts[0])
            timing = Timing(datetime(2026, 1, 2, tzinfo=UTC), 1, everything)
            table.finish(build_manifest(name, everything.rows, everything, timing, f"built-{name}"))
        return table

    def identity(self, name: str) -> list[str]:
        """Return what tables built from this one record of it: its fingerprint and the time when it was finished."""
        manifest = Table(self.output, name).manifest()
        assert manifest is not None
        return [manifest["fingerprint"], manifest["finished"]]

    def synthesis(self) -> None:
        """Write personas, instructions, profiles and dialogues."""
        files = {"column": "persona", "files": [{"path": "in/personas.jsonl", "size": 1, "changed": "x"}]}
        personas = [ok_row(Persona(character(one), one)) | {"source": 0, "row": n} for n, one in enumerate(CHARACTERS)]
        refused = rejected_row(Reject("empty", "null"), {"source": 0, "row": 9})
        self.write("personas", {"0000-00000": personas, f"{REJECTED}0000": [refused]}, PERSONAS, files)
        instructions = [
            ok_row(Instruction(instruction(one), "lima", (Message("user", one), Message("assistant", "No.")), 0, n))
            for n, one in enumerate(INSTRUCTION_TEXTS)
        ]
        self.write(
            "instructions/lima", {"0000-00000": instructions}, INSTRUCTIONS, {"corpus": "lima", "format": "lima"}
        )
        by = {"prompt": "profile@1#aa", "model": "org/teacher"}
        used = Completion(prompt_tokens=50, output_tokens=40)
        profiles = [ok_row(_profile(one), used, **by) for one in (ADA, BEN)]
        profiles.append(rejected_row(Reject("truncated", "Name: Cy"), {"character_id": character(CYN)}, used, **by))
        settings = {**ENGINE, "prompt": "profile@1#aa", "language": "English", "work": "built-personas"}
        self.write("profiles", {"0000-00000": profiles}, PROFILES, settings)
        for strategy in ("generate", "rewrite"):
            self.dialogues(strategy)

    def dialogues(self, strategy: str) -> None:
        """Write the dialogues of a strategy, one of them rejected."""
        by = {"prompt": f"dialogue-{strategy}@2#bb", "model": "org/teacher"}
        rows = [
            ok_row(_dialogue(one, text, strategy), Completion(prompt_tokens=90, output_tokens=20), **by)
            for one, text in ((ADA, INSTRUCTION_TEXTS[0]), (ADA, INSTRUCTION_TEXTS[1]), (BEN, INSTRUCTION_TEXTS[0]))
        ]
        ids = {
            name: getattr(_dialogue(BEN, INSTRUCTION_TEXTS[1], strategy), name)
            for name in list(Dialogue.__slots__)[:-1]
        }
        rows.append(rejected_row(Reject("truncated", "It rains and rai"), ids, **by))
        settings = {**ENGINE, "prompt": f"dialogue-{strategy}@2#bb", "system": "training-system@1#cc", "work": "x"}
        self.write(f"dialogues/{strategy}-lima", {"0000-00000": rows[:2], "0000-00001": rows[2:]}, DIALOGUES, settings)

    def curation(self) -> None:
        """Write the curated tables: per strategy one dialogue for training, one rejected, one for validation."""
        sources = [[f"{one}-lima", None, *self.identity(f"dialogues/{one}-lima")] for one in ("generate", "rewrite")]
        settings = {"quality": QUALITY, "near_duplicates": {"threshold": 0.8}, "seed": 7, "sources": sources}
        train, validation = {}, {}
        for strategy in ("generate", "rewrite"):
            good = ok_row(_example(ADA, INSTRUCTION_TEXTS[0], strategy, "train"))
            bad = ok_row(_example(ADA, INSTRUCTION_TEXTS[1], strategy, "train")) | {"messages": None}
            bad |= {"status": "rejected", "reason": "too_short", "detail": "1 word\n\nWet."}
            train[f"{strategy}-lima-0000-00000"] = [good, bad]
            kept = ok_row(_example(BEN, INSTRUCTION_TEXTS[0], strategy, "validation"))
            validation[f"{strategy}-lima-0000-00001"] = [kept]
        self.write("curated/train", train, EXAMPLES, settings)
        self.write("curated/validation", validation, EXAMPLES, settings)

    def training(self, finished: bool = True) -> None:
        """Write packed sequences and a training on them: one dialogue is in two segments, another is too long."""
        for split, who in (("train", ADA), ("validation", BEN)):
            settings = {"curated": self.identity(f"curated/{split}"), "sequence_length": 64}
            table = Table(self.output, f"packed/{split}")
            table.begin(f"built-{split}", settings)
            packed = {
                "input_ids": [1] * 9, "loss_mask": [True] * 9, "lengths": [1, 5, 3],
                "dialogue_ids": [named := dialogue(who, INSTRUCTION_TEXTS[0]), "ffffffffffffffff", named],
            }  # fmt: skip
            table.write_arrow("00000", pa.Table.from_pylist([packed], schema=PACKED))
            long = rejected_row(
                Reject("too_long", "99 tokens"), {"dialogue_id": dialogue(who, INSTRUCTION_TEXTS[0], "rewrite")}
            )
            schema = pa.schema([DIALOGUES.field("dialogue_id"), *COMMON_COLUMNS])
            refused = pa.Table.from_pylist([long], schema=schema)
            table.write_arrow(f"{REJECTED}00000", refused)
            timing = Timing(datetime(2026, 1, 2, tzinfo=UTC), 1, count_rows(refused))
            table.finish(build_manifest(table.name, 2, count_rows(refused), timing, f"built-{split}"))
        checkpoints = Table(self.output, "checkpoints")
        both = [self.identity(f"packed/{split}") for split in ("train", "validation")]
        checkpoints.begin("built-checkpoints", {"packed": both, "model": {"ref": "org/base"}, "epochs": 3})
        if finished:
            checkpoints.finish({"fingerprint": "built-checkpoints", "finished": "2026-01-03T00:00:00+00:00"})

    def evaluation(self, candidates: Sequence[str] = ("base", "tuned")) -> None:
        """Write a benchmark of two personas, one of them a character of the run, and its judged answers."""
        tasks = ("Toxicity", "Linguistic Habits")
        personas = [
            ok_row(Persona(character(one), one)) | {"source": 0, "row": n} for n, one in enumerate((ADA, PILOT))
        ]
        self.write("evaluation/benchmark/personas", {"00000": personas[:1], "00001": personas[1:]}, PERSONAS)
        by_shard = {shard: [_question(one, t) for t in tasks] for shard, one in (("00000", ADA), ("00001", PILOT))}
        questions = {shard: [ok_row(one) for one in shard_questions] for shard, shard_questions in by_shard.items()}
        self.write("evaluation/benchmark/questions", questions, QUESTIONS)
        examples = {
            shard: [ok_row(ScoreExamples(q.question_id, q.persona_id, q.task, tuple("abcde"))) for q in shard_questions]
            for shard, shard_questions in by_shard.items()
        }
        self.write(
            "evaluation/benchmark/examples/strict",
            examples,
            SCORE_EXAMPLES,
            {**ENGINE, "prompt": "score-examples@1#dd"},
        )
        for name in candidates:
            answers = {
                shard: [ok_row(_answer(name, q)) for q in shard_questions]
                for shard, shard_questions in by_shard.items()
            }
            settings = {**ENGINE, "prompt": "answer@1#ee", "candidate": name}
            self.write(f"evaluation/{name}/answers", answers, ANSWERS, settings)
            for judge in ("strict", "mild"):
                rows = {
                    shard: [_judgment(name, judge, q) for q in shard_questions]
                    for shard, shard_questions in by_shard.items()
                }
                settings = {**ENGINE, "prompt": "judge@1#ff", "judge": judge, "attempts": 3}
                self.write(f"evaluation/{name}/judgments/{judge}", rows, JUDGMENTS, settings)


def whole_run(output: str) -> SmallRun:
    """Write a run with all steps finished."""
    run = SmallRun(output)
    run.synthesis()
    run.curation()
    run.training()
    run.evaluation()
    return run


def _profile(persona: str) -> Profile:
    name = "Ada Oduya" if persona == ADA else "Ben Lock"
    items = ("34", "female", "Black", "Lagos", "Tall.", "Bakes.", "Warm.")
    return Profile(character(persona), persona, name, *items, f"Name: {name}\nAge: 34", "English")


def _messages(persona: str, text: str) -> tuple[Message, ...]:
    reply = "Bread of rye and honey, every dawn." if persona == ADA else "Nothing but the canal and its boats."
    return (Message("system", f"You are {persona}"), Message("user", text), Message("assistant", reply))


def _dialogue(persona: str, text: str, strategy: str) -> Dialogue:
    ids = (dialogue(persona, text, strategy), strategy, "lima", instruction(text), character(persona))
    return Dialogue(*ids, _messages(persona, text))


def _example(persona: str, text: str, strategy: str, split: str) -> Example:
    ids = (dialogue(persona, text, strategy), character(persona), instruction(text), "lima", strategy)
    return Example(*ids, _messages(persona, text), split)


def _question(persona: str, task: str) -> Question:
    return Question(question(persona, task), character(persona), persona, task, f"{task}?")


def _answer(candidate: str, question: Question) -> Answer:
    text = "I bake bread of rye at dawn." if question.persona == ADA else "We fly over the quiet canal."
    fields = (question.persona_id, question.persona, question.task, question.question_id, question.question)
    return Answer(candidate, *fields, f"{candidate}: {text}", False)


def _judgment(candidate: str, judge: str, question: Question) -> dict:
    ids = {"candidate": candidate, "judge": judge, "persona_id": question.persona_id, "task": question.task}
    ids["question_id"] = question.question_id
    if (judge, question.persona, question.task) == ("mild", PILOT, "Toxicity"):
        return rejected_row(Reject("judge_failed", "I cannot say"), ids)
    score = (2 if question.persona == ADA else 4) - (judge == "strict")
    return ok_row(
        Judgment(**ids, score=Score(score), expected_score=score + 0.25, reasoning=f"{judge} has this reason")
    )
