"""Tiny models of today's architectures through every real engine: vLLM, the judges' fleet, and training."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from factory.inference.engines.vllm_settings import GUIDE
from factory.personagym import TASKS
from factory.records import Completion, Dialogue, Message, Request, TokenSampling, content_id
from factory.run_output import layout
from factory.runtime.ray_head import free_port
from factory.storage.rows import ok_row
from factory.storage.schemas import DIALOGUES
from tests.integration.runs import Run
from tests.integration.small_training import curve, settings_of, write_dialogues
from tests.integration.test_real_tokenizers import MISTRAL
from tests.integration.tiny_models import CHATML, FAMILIES, THINKER, Family, save_model
from tests.unit.test_published_templates import TEMPLATES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # three engines and a training per model

ENGINE = {"device": "cpu", "engine_kwargs": {"max_model_len": 16384}}
PERSONAS, DAYS = 3, 4
RANDOM = {"ok", "truncated", "empty_reply", "invalid_text"}
"""What becomes of replies of random tokens, which may have control characters."""
SMALL = {"num_workers": 1, "sequence_length": 1024, "global_batch_size": 2, "save_steps": 1, "eval_steps": 1}


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def made(request, tmp_path) -> tuple[Family, str]:
    """A family and the folder of its model."""
    folder = tmp_path / "model"
    folder.mkdir()
    return request.param, save_model(request.param, folder, (TEMPLATES | {"mistral": MISTRAL})[request.param.template])


def instructions(folder: Path) -> list[dict]:
    source = folder / "instructions.jsonl"
    lines = ({"instruction": f"What do you bake on day {day}?", "output": f"Loaf {day}."} for day in range(DAYS))
    source.write_text("\n".join(map(json.dumps, lines)))
    return [{"corpus": "bread", "source": str(source), "format": "alpaca"}]


def test_profiles_and_dialogues(made, make_run: Callable[..., Run], tmp_path):
    family, model = made
    run = make_run(
        family.name, PERSONAS,
        engine={"kind": "vllm", "model": model, **ENGINE},
        instructions=instructions(tmp_path),
        profiles={"sampling": {"max_tokens": 6000}},
        dialogues={"sampling": {"max_tokens": 64}},
    ).alone()  # fmt: skip
    run.finish(timeout=600)
    profiles = run.reasons("profiles")
    assert sum(profiles.values()) == PERSONAS
    assert profiles["ok"], profiles
    assert profiles.keys() <= RANDOM | {"invalid_reply", "empty_field"}, profiles
    dialogues = run.reasons("dialogues/generate-bread")
    assert sum(dialogues.values()) == 3 * DAYS  # three characters per instruction
    assert dialogues.keys() <= RANDOM, dialogues


def test_answers_and_verdicts(made, make_run):
    family, model = made
    port, judge = free_port(), {"name": "judge", "model": model, **ENGINE}
    if family.name == "GptOss":  # vLLM's server writes its prompts with the ids of its real tokenizer, not with bytes
        judge = {"name": "judge", "kind": "scripted", "default": '{"reasoning": "So.", "score": 4}'}
    evaluation = {
        "protocol": "light", "limit": 1, "general": False,
        "candidates": [{"name": "one", "kind": "vllm", "model": model, **ENGINE}],
        "judges": [judge],
        "sampling": {"max_tokens": 32}, "example_sampling": {"max_tokens": 512}, "judge_sampling": {"max_tokens": 512},
        "fleet": {"port": port},
    }  # fmt: skip
    run = make_run(family.name, evaluation=evaluation).alone()
    run.finish(job="evaluate", timeout=900)
    answers = run.reasons("evaluation/one/answers")
    assert sum(answers.values()) == len(TASKS)
    assert answers.keys() <= RANDOM, answers
    verdicts = run.reasons("evaluation/one/judgments/judge")
    assert verdicts.keys() <= {"ok", "judge_failed"}, verdicts


@pytest.mark.parametrize("template", ["qwen3", "qwen3_5_think"])
def test_thoughts_through_vllm(tmp_path, template):
    """The model thinks whatever it is asked, behind a prompt that opens the thought or leaves that to the model."""
    from factory.inference.engines.vllm_replica import VllmReplica

    opening = ["<think>"] if template == "qwen3" else []
    script = ["\u010a", *opening, "H", "M", "</think>", "A", "y", "e", "<|im_end|>"]  # a line break ends the prompt
    model = save_model(Family("Qwen3", template, CHATML, tuple(script)), tmp_path, TEMPLATES[template])
    kwargs = {"max_model_len": 1024, "enforce_eager": True, "structured_outputs_config": GUIDE}
    replica = VllmReplica(model, kwargs, {"enable_thinking": True})

    async def ask() -> list[Completion]:
        talk = Request((Message("user", "u"),), follow_ups=("v",))
        cut = Request((Message("user", "u"),), sampling=TokenSampling(max_tokens=2))
        verdict = Request((Message("user", "u"),), schema='{"enum": ["yes"]}')
        return [await replica.complete(request) for request in (talk, cut, verdict)]

    try:
        talk, cut, verdict = asyncio.run(ask())
    finally:
        replica.close()
    assert (talk.error, talk.replies, talk.thoughts) == ("", ("Aye", "Aye"), ("HM", "HM"))
    assert talk.thought_tokens == 2 * (len(opening) + 3)
    assert talk.output_tokens == talk.thought_tokens + 2 * 4
    assert (cut.truncated, cut.replies) == (True, ("",))
    assert (verdict.error, verdict.replies, verdict.thoughts) == ("", ('"yes"',), ("",))


def test_two_steps_of_training(made, make_run):
    family, model = made
    run = make_run(family.name, training=settings_of(model, **SMALL)).alone()
    write_dialogues(run.output, "train", 8, shards=2)
    write_dialogues(run.output, "validation", 2, shards=1)
    run.finish(job="train", timeout=600)
    assert len(curve(run)) >= 2
    assert (Path(run.output) / "model" / "config.json").exists()


@pytest.mark.parametrize("learn", [False, True])
def test_a_model_learns_to_think_only_where_thoughts_are_learned(make_run, tmp_path, learn):
    folder = tmp_path / "model"
    folder.mkdir()
    model = save_model(FAMILIES[0], folder, TEMPLATES[FAMILIES[0].template])
    settings = SMALL | {"sequence_length": 64, "epochs": 40, "save_steps": 80, "eval_steps": 80, "learning_rate": 1e-2}
    thinks = {"chat_template_kwargs": {"enable_thinking": learn}}
    run = make_run("learner", training=settings_of(model, **settings, learn_thoughts=learn, **thinks)).alone()
    messages = tuple(Message(role, text) for role, text in (("system", "s"), ("user", "u"), ("assistant", "Aye")))
    for split in ("train", "validation"):
        table = layout.CURATED.table(run.output, split=split)
        rows = [Dialogue(content_id(split, str(n)), "generate", "talk", f"i{n}", "c", messages) for n in range(4)]
        table.write("0000", [ok_row(row, Completion(thoughts=("hm",))) for row in rows], DIALOGUES)
        table.finish({"step": table.name, "rows_in": 4, "ok": 4, "fingerprint": split, "finished": "today"})
    run.finish(job="train", timeout=600)

    trained = Path(run.output) / "model"
    tokenizer = AutoTokenizer.from_pretrained(trained)
    prompt = [{"role": message.role, "content": message.content} for message in messages[:2]]
    ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False, enable_thinking=learn)
    network = AutoModelForCausalLM.from_pretrained(trained)
    said = network.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False)[0, len(ids) :]
    thought = "<think>\nhm\n</think>\n\n"
    assert tokenizer.decode(said) == (thought if learn else "") + "Aye<|im_end|>"


def test_thoughts_of_a_model_are_no_part_of_its_replies(make_run, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    model = save_model(THINKER, folder, TEMPLATES[THINKER.template])
    candidate = {"kind": "vllm", "model": model, **ENGINE}
    thinks = {"chat_template_kwargs": {"enable_thinking": True}}
    evaluation = {
        "protocol": "light", "limit": 1, "general": False, "sampling": {"max_tokens": 32},
        "candidates": [candidate | {"name": "one"}, candidate | {"name": "two"} | thinks],
        "judges": [{"name": "kind", "kind": "scripted", "default": '{"reasoning": "So.", "score": 4}'}],
    }  # fmt: skip
    run = make_run("thinker", evaluation=evaluation).alone()
    run.finish(job="evaluate", timeout=600)
    for candidate in ("one", "two"):
        rows = run.rows(f"evaluation/{candidate}/answers")
        assert {(row["answer"], *row["thoughts"]) for row in rows} == {("Oven", "hm")}
        assert {row["thought_tokens"] for row in rows} == {4}
        assert run.reasons(f"evaluation/{candidate}/answers") == {"ok": len(TASKS)}
