"""Preference pairs of a run's judged answers, votes and passed over dialogues, up to TRL's DPOTrainer."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from factory.config import RunConfig
from factory.config.loading import checked
from factory.errors import ConfigError, InputError
from factory.evaluation.evaluation_steps import answer_step
from factory.inference import model_files
from factory.inference.prompts import load_prompt
from factory.playground.votes_table import SETTINGS, Vote, complete_table, open_table, write_votes
from factory.preferences.build_preferences import build_preferences
from factory.preferences.preference_sources import find_preference_tables
from factory.records import (
    Answer,
    Counts,
    Dialogue,
    Feedback,
    Judgment,
    Message,
    PassedOver,
    Profile,
    Question,
    Reject,
    Score,
    content_id,
)
from factory.runtime.progress import Progress
from factory.storage.manifest import Timing
from factory.storage.rows import ok_row, rejected_row
from factory.storage.schemas import ANSWERS, DIALOGUES, FEEDBACK, JUDGMENTS, PASSED_OVER, PROFILES, QUESTIONS
from tests.small_run import SmallRun

SHARDS, PER_SHARD = 3, 12
CANDIDATES = ("base", "other", "tuned")
EVALUATION = {
    "candidates": [
        {"name": name, "kind": "scripted", "condition": "profile" if name == "tuned" else "persona"}
        for name in CANDIDATES
    ],
    "judges": [{"name": "strict", "kind": "scripted"}, {"name": "mild", "kind": "scripted"}],
}
SCORES = {"base": 1, "other": 2, "tuned": 4}


def questions(shard: int) -> list[Question]:
    return [
        Question(
            content_id(f"{shard} {n}"), content_id(f"p{shard}"), f"a baker of {shard}", "Toxicity", f"What of {n}?"
        )
        for n in range(PER_SHARD)
    ]


def answered(candidate: str, question: Question, truncated: bool = False) -> Answer:
    fields = (question.persona_id, question.persona, question.task, question.question_id, question.question)
    return Answer(candidate, *fields, f"{candidate} on {question.question}", truncated)


def judged(candidate: str, judge: str, question: Question) -> dict:
    ids = {"candidate": candidate, "judge": judge, "persona_id": question.persona_id, "task": question.task}
    ids["question_id"] = question.question_id
    if judge == "mild" and question.question == "What of 3?":
        return rejected_row(Reject("judge_failed", "?"), ids)
    score = SCORES[candidate] + (judge == "mild" and candidate != "tuned")
    return ok_row(Judgment(**ids, score=Score(score), expected_score=None, reasoning="so"))


def write_evaluation(run: SmallRun, config: RunConfig) -> None:
    """Write answers of three candidates; the last one of each shard is truncated."""
    shards = {f"{shard:05}": questions(shard) for shard in range(SHARDS)}
    run.write("evaluation/benchmark/questions", {k: list(map(ok_row, v)) for k, v in shards.items()}, QUESTIONS)
    profiles = {
        k: [ok_row(Profile(v[0].persona_id, v[0].persona, *"abcdefgh", f"Name: Ada {k}", "English"))]
        for k, v in shards.items()
    }
    run.write("evaluation/benchmark/profiles", profiles, PROFILES)
    for candidate in config.evaluation.candidates:
        name = candidate.name
        rows = {k: [ok_row(answered(name, q, q is v[-1])) for q in v] for k, v in shards.items()}
        settings = {"prompt": answer_step(config, candidate).prompt}
        run.write(f"evaluation/{name}/answers", rows, ANSWERS, settings)
        for judge in ("strict", "mild"):
            judgments = {k: [judged(name, judge, q) for q in v] for k, v in shards.items()}
            run.write(f"evaluation/{name}/judgments/{judge}", judgments, JUDGMENTS)


def write_feedback(output: str, prompts: int, seed: int = 1) -> None:
    """Write for each prompt a liked and a disliked reply, in different sessions, and a withdrawn vote."""
    votes = []
    for number in range(prompts):
        asked = (Message("system", f"You are baker {number}."), Message("user", "What do you bake?"))
        for value, model in (("up", "tuned"), ("down", "base"), ("none", "other")):
            reply = Message("assistant", f"{model} bakes {number}")
            key = content_id(str(number), value)
            feedback = Feedback(
                key, key, model, content_id(f"c{number}"), "a baker", "", 0, (*asked, reply), value, "2026", 1
            )
            votes.append(Vote(feedback, model, "training-system@1#x"))
    random.Random(seed).shuffle(votes)
    table = open_table(output)
    write_votes(table, votes)
    timing = Timing(datetime(2026, 1, 2, tzinfo=UTC), 1, Counts())
    complete_table(table, SETTINGS, FEEDBACK, timing, Progress())


def write_passed_over(run: SmallRun, corpus: str, assignments: int) -> None:
    """Write the winner of each assignment, one that lost by two wins, and one that is tied with it."""
    winners, losers = {}, {}
    for shard in range(2):
        ids = [f"{corpus} {shard} {number}" for number in range(assignments)]
        dialogues = [_dialogue(corpus, name, 0) for name in ids]
        winners[f"{shard:05}"] = [ok_row(one, model="teacher") for one in dialogues]
        losers[f"{shard:05}"] = [
            ok_row(_passed_over(_dialogue(corpus, one, number), winner.dialogue_id, 2 * (number == 2)), model="teacher")
            for winner, one in zip(dialogues, ids, strict=True)
            for number in (1, 2)
        ]
    run.write(f"dialogues/generate-{corpus}", winners, DIALOGUES)
    run.write(f"passed_over/generate-{corpus}", losers, PASSED_OVER)


def _dialogue(corpus: str, name: str, candidate: int) -> Dialogue:
    messages = (Message("system", f"You are {name}."), Message("user", "Who?"), Message("assistant", f"I {candidate}."))
    return Dialogue(content_id(name, str(candidate)), "generate", corpus, content_id(name), content_id("c"), messages)


def _passed_over(dialogue: Dialogue, winner: str, wins: int) -> PassedOver:
    ids = (dialogue.dialogue_id, winner, "generate", dialogue.corpus, dialogue.instruction_id, dialogue.character_id)
    return PassedOver(*ids, dialogue.messages, wins, 2, wins < 2, "strict")


def corpora(*names: str) -> list[dict]:
    return [{"corpus": name, "source": f"{name}.jsonl"} for name in names]


def config_of(run: SmallRun, **settings: object) -> RunConfig:
    given = {"evaluation": EVALUATION, "instructions": corpora("lima", "talks"), **settings}
    return checked(RunConfig, {"output": run.output, "engine": {"kind": "scripted"}, **given}, "config key")


def write_all(folder: Path) -> tuple[SmallRun, RunConfig]:
    run = SmallRun(str(folder))
    config = config_of(run)
    write_evaluation(run, config)
    write_feedback(run.output, 40)
    for corpus in ("lima", "talks"):
        write_passed_over(run, corpus, 8)
    return run, config


def rows_of(table) -> list[dict]:
    return [row for shard in table.shards() for row in table.read(shard).to_pylist()]


def test_all_sources_become_one_table(session, tmp_path):
    _, config = write_all(tmp_path / "run")
    table = build_preferences(config, Progress())
    rows = rows_of(table)
    # A question has three pairs; base and other differ by 1, and with the tuned model by 1.5 and more. The truncated
    # answers, one per shard, are in none.
    assert table.manifest()["sources"] == {"judged": 3 * SHARDS * (PER_SHARD - 1), "passed_over": 32, "votes": 40}
    assert len({row["pair_id"] for row in rows}) == len(rows) == table.manifest()["ok"]
    assert all(row["margin"] >= 1 and row["chosen"] != row["rejected"] for row in rows)
    judged_rows = [row for row in rows if row["source"] == "judged"]
    assert {(row["chosen_by"], row["rejected_by"]) for row in judged_rows} == {
        ("other", "base"), ("tuned", "base"), ("tuned", "other"),
    }  # fmt: skip
    for row in judged_rows:
        assert [message["role"] for message in row["messages"]] == ["system", "user"]
        assert ("Name: Ada" in row["messages"][0]["content"]) is (row["chosen_by"] == "tuned")
        assert row["judges"] == (["strict"] if row["messages"][1]["content"] == "What of 3?" else ["mild", "strict"])
    assert all(
        "tuned bakes" in row["chosen"] and "base bakes" in row["rejected"] for row in rows if row["source"] == "votes"
    )
    assert {row["rejected"] for row in rows if row["source"] == "passed_over"} == {"I 1."}
    assert sum(row["source"] == "passed_over" for row in rows) == 2 * 2 * 8


def test_built_again_is_the_same_and_finished_is_skipped(session, tmp_path):
    _, config = write_all(tmp_path / "one")
    table = build_preferences(config, Progress())
    written = {shard: table.read(shard) for shard in table.shards()}
    finished = table.manifest()["finished"]
    assert build_preferences(config, Progress()).manifest()["finished"] == finished
    _, other = write_all(tmp_path / "two")
    again = build_preferences(other, Progress())
    assert {shard: again.read(shard) for shard in again.shards()} == written
    wider = config.model_copy(update={"preferences": config.preferences.model_copy(update={"min_margin": 2.0})})
    assert build_preferences(wider, Progress()).manifest()["sources"]["judged"] < 3 * SHARDS * (PER_SHARD - 1)


def test_what_prevents_pairs_is_one_line(session, tmp_path):
    run = SmallRun(str(tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"has nothing that preferences are made of; it needs votes on replies"):
        find_preference_tables(config_of(run))
    only = config_of(run, preferences={"sources": ["judged"]})
    with pytest.raises(ConfigError, match="it needs judged answers of two candidates or two draws"):
        find_preference_tables(only)
    write_evaluation(run, only)
    alike = only.model_copy(update={"preferences": only.preferences.model_copy(update={"min_margin": 3.5})})
    with pytest.raises(InputError, match=r"no two replies to one prompt differ enough; lower preferences\.min_margin"):
        build_preferences(alike, Progress())
    (tmp_path / "prompts").mkdir()
    text = load_prompt("answer").text.replace("version: 1", "version: 9")
    (tmp_path / "prompts" / "answer.md").write_text(text)
    with pytest.raises(InputError, match="its judgments or its prompt are not the current ones"):
        find_preference_tables(config_of(run, prompts_dir=str(tmp_path / "prompts")))


def test_trl_trains_on_exported_pairs(make_run, tmp_path):
    import datasets
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    made = make_run("pairs", evaluation=EVALUATION, instructions=corpora("lima", "talks"))
    run, _ = write_all(Path(made.output))
    folder = Path(run.output) / "export" / "preferences"
    made.finish("--format", "preferences", job="export")
    card = (folder / "README.md").read_text()
    assert "a model trained on them has seen that" in " ".join(card.lower().split())
    assert "| `votes` | 40 |" in card
    datasets.disable_progress_bars()
    pairs = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    table = rows_of(made.table("preferences"))
    assert [row["pair_id"] for row in pairs] == [row["pair_id"] for row in table]
    assert pairs[0]["chosen"] == [{"role": "assistant", "content": table[0]["chosen"]}]
    assert "skipped" in made.finish("--format", "preferences", job="export")

    torch.set_num_threads(2)
    base = model_files.fetch("embedded")
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(base),
        train_dataset=pairs.select(range(2)),  # each step has the same batch
        args=DPOConfig(
            output_dir=str(tmp_path / "trained"),
            max_steps=3,
            per_device_train_batch_size=2,
            learning_rate=1e-5,
            max_length=256,
            use_cpu=True,
            bf16=False,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == trainer.state.global_step == 3
    assert losses[0] == pytest.approx(0.693, abs=0.01), "model and reference are the same before the first step"
    assert losses[-1] < losses[0], json.dumps(losses)
