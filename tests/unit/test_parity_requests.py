"""What candidates and judges are sent in parity with the paper, message by message, and what becomes of the replies."""

import pickle

import pytest

from factory.config import RunConfig
from factory.config.evaluation import PAPER_SAMPLING
from factory.evaluation.parity.answer_blocks import judgment_rows, make_blocks
from factory.evaluation.parity.checkout_texts import block_size, parity_prompts, role_prompt
from factory.evaluation.parity.parity_requests import (
    block_ids,
    parse_block,
    parse_parity_answer,
    parse_parity_examples,
    render_block,
    render_parity_answer,
    render_parity_examples,
)
from factory.evaluation.rubric import read_rubric
from factory.evaluation.score_examples import score_examples_ids
from factory.personagym import TASKS, open_benchmark
from factory.records import (
    Answer,
    BlockVerdict,
    Completion,
    Message,
    QuestionWithProfile,
    Reject,
    Request,
    ScoreExamples,
)
from factory.storage.rows import ok_row
from tests import made_checkout as made

PERSONA = made.PERSONAS[1]
"""With both kinds of quotes: `repr` escapes what it must."""
TASK = "Toxicity"


@pytest.fixture
def config(tmp_path):
    """Return a config on a checkout, with a candidate of each kind."""
    candidates = [
        {"name": "api", "kind": "openai", "model": "gpt-4o-mini"},
        {"name": "tuned", "model": "embedded"},
        {"name": "served", "kind": "openai", "model": "mine", "parity_route": "tuned"},
    ]
    evaluation = {
        "benchmark": str(made.write_checkout(tmp_path / "gym")),
        "parity": "opencharacter",
        "candidates": candidates,
    }
    return RunConfig.model_validate({"output": str(tmp_path), "evaluation": evaluation})


@pytest.fixture
def rubrics(config):
    benchmark = open_benchmark(config.evaluation.benchmark)
    return {task: read_rubric(task, text) for task, text in benchmark.rubrics.items()}


def question(number: int) -> QuestionWithProfile:
    return QuestionWithProfile(f"q{number}", "p", PERSONA, TASK, f"What does {number} {{persona}} say?")


def answer_row(number: int, text: str | None, reason: str = "engine_error") -> dict:
    asked = question(number)
    ids = {name: getattr(asked, name) for name in ("persona_id", "persona", "task", "question_id", "question")}
    if text is None:
        row = {"candidate": "api", **ids, "status": "rejected", "reason": reason, "answer": None}
    else:
        row = ok_row(Answer("api", **ids, answer=text, truncated=False))
    return row | {"examples": [f'Score 1: "No {number}', 'Score 5: "Aye"'] if number % 2 else None}


def test_sampling_is_the_papers_by_the_kind_of_candidate(config):
    api, tuned, served = (config.evaluation.answer_sampling(one) for one in config.evaluation.candidates)
    assert api.model_dump() == PAPER_SAMPLING["sampling"]
    assert (api.temperature, api.top_p, api.max_tokens) == (0.9, 0.9, 3000)
    assert (tuned.temperature, tuned.top_p, tuned.max_tokens) == (0.9, 1.0, 1024)
    assert (served.temperature, served.top_p, served.max_tokens) == (0.9, None, 1024)  # not sent
    for one in (config.evaluation.judge_sampling, config.evaluation.example_sampling):
        assert (one.temperature, one.top_p, one.max_tokens) == (0, 0, 3000)


def test_own_sampling_stays(config):
    changed = config.model_dump(mode="json")
    changed["evaluation"] |= {"sampling": {"max_tokens": 64}, "judge_sampling": {"top_p": 1}}
    read = RunConfig.model_validate(changed).evaluation
    assert (read.sampling.max_tokens, read.sampling.temperature, read.sampling.top_p) == (64, 0.9, 0.9)
    assert (read.judge_sampling.top_p, read.judge_sampling.max_tokens) == (1, 3000)


def test_candidates_are_told_what_the_paper_told_them(config):
    api, tuned, served = (role_prompt(config, one) for one in config.evaluation.candidates)
    assert (api.text, tuned.text) == (made.API_PROMPT, made.TUNED_PROMPT)
    assert served == tuned
    request = render_parity_answer(api, question(1))
    told = f"You are now {PERSONA}. Answer as they would."
    assert request == Request((Message("system", told), Message("user", "What does 1 {persona} say?")))


def test_the_configs_own_prompt_comes_first(config):
    changed = config.model_dump(mode="json")
    changed["evaluation"]["parity_prompts"] = {"tuned": "Be {persona}."}
    texts = [role_prompt(RunConfig.model_validate(changed), one).text for one in config.evaluation.candidates]
    assert texts == [made.API_PROMPT, "Be {persona}.", "Be {persona}."]
    changed["evaluation"]["parity_prompts"] = {"tuned": "Be somebody."}
    with pytest.raises(ValueError, match=r"tuned has no \{persona\}"):
        RunConfig.model_validate(changed)


def test_only_answers_of_tuned_models_are_stripped(config):
    api, tuned, _ = (role_prompt(config, one) for one in config.evaluation.candidates)
    read = [parse_parity_answer(one, "x", question(1), Completion((" Aye.\n",))) for one in (api, tuned)]
    assert [answer.answer for answer in read if isinstance(answer, Answer)] == [" Aye.\n", "Aye."]
    assert parse_parity_answer(api, "x", question(1), Completion((" \n",))) == Reject("empty_reply", " \n")


def test_example_request_has_the_rubric_with_its_slots(config, rubrics):
    request = render_parity_examples(parity_prompts(config), rubrics, question(1))
    inner = made.EXAMPLE.replace("{rubric}", rubrics[TASK].template, 1)
    head, tail = inner.split("Rubric: ", 1)
    inner = head.replace("{persona}", PERSONA).replace("{question}", question(1).question) + "Rubric: " + tail
    assert "{score_example}" in inner
    asked = made.EXAMPLES_HEAD + made.EXAMPLES_TAIL.replace("{rubrics}", repr([inner]))
    assert request == Request((Message("user", asked),))


def test_examples_are_what_the_judge_is_shown():
    reply = 'Score 1: Response - "No.\nNever."\nScore 2: Response - "Well."'
    parsed = parse_parity_examples(question(1), Completion((reply,)))
    assert parsed == ScoreExamples(**score_examples_ids(question(1)), examples=('Score 1: "No.', 'Score 2: "Well."'))
    assert parse_parity_examples(question(1), Completion(("Error",))) == Reject("invalid_reply", "Error")


@pytest.mark.parametrize(("protocol", "sizes"), [("light", [1] * 7), ("full", [5, 2])])
def test_judge_gets_blocks_of_five_or_one(config, rubrics, protocol, sizes):
    evaluation = config.evaluation.model_copy(update={"protocol": protocol})
    rows = [answer_row(number, None if number == 3 else f"It's {number}.") for number in range(7)]
    blocks = make_blocks(rows, block_size(evaluation))
    assert [len(block.answers) for block in blocks] == sizes
    assert [name for block in blocks for name in block.question_ids] == [f"q{number}" for number in range(7)]
    assert len({block.block_id for block in blocks}) == len(blocks)
    filled = [
        made.RUBRIC.format(task=TASK).format(
            persona=PERSONA,
            question=question(number).question,
            response="Error" if number == 3 else f"It's {number}.",
            score_example=f'Score 1: "No {number}\n\nScore 5: "Aye"' if number % 2 else "",
        )
        for number in range(7)
    ]
    for block in blocks:
        of_block, filled = filled[: len(block.answers)], filled[len(block.answers) :]
        system, user = render_block(parity_prompts(config), rubrics, block).messages
        assert system == Message("system", made.SYSTEM)
        assert user == Message("user", made.OUTLINE.replace("{rubrics}", repr(of_block)))


@pytest.mark.parametrize(("reason", "text"), [("engine_error", "Error"), ("too_long", "Error"), ("empty_reply", "")])
def test_failed_answers_are_judged_as_the_runner_has_them(reason, text):
    (block,) = make_blocks([answer_row(1, None, reason)], 5)
    assert block.answers == (text,)


def test_blocks_hold_one_persona_and_task():
    rows = [answer_row(number, "Aye.") | {"task": list(TASKS)[number % 2]} for number in range(4)]
    assert [block.question_ids for block in make_blocks(rows, 5)] == [("q0", "q2"), ("q1", "q3")]


def test_a_verdict_becomes_a_judgment_of_each_accepted_answer():
    (block,) = make_blocks([answer_row(1, "Aye."), answer_row(2, None), answer_row(3, "No.")], 5)
    reply = "(1) Evaluation: Therefore, the final score is 4\n(2) Evaluation: Therefore, the final score is 1\n"
    verdict = parse_block("j", block, Completion((reply,)))
    assert verdict == BlockVerdict(**block_ids("j", block), counted=(4, 1), reply=reply, cut=False)
    assert isinstance(verdict, BlockVerdict)
    row = ok_row(verdict, Completion(), prompt="opencharacter#1", model="m")
    about = {name: getattr(block, name) for name in block.__slots__}
    kept = list(judgment_rows("j", about, row, {"q1", "q3"}))
    assert [(one["question_id"], one["status"], one.get("score")) for one in kept] == [
        ("q1", "ok", 4), ("q3", "rejected", None),
    ]  # fmt: skip
    assert {one["reason"] for one in kept[1:]} == {"judge_failed"}
    assert {(one["judge"], one["candidate"], one["prompt"], one["model"]) for one in kept} == {
        ("j", "api", "opencharacter#1", "m")
    }
    failed = row | {"status": "rejected", "reason": "engine_error", "detail": "503", "reply": None}
    lost = list(judgment_rows("j", about, failed, {"q1", "q3"}))
    assert [(one["reason"], one["detail"]) for one in lost] == [("judge_failed", "engine_error: 503")] * 2


def test_requests_can_travel(config, rubrics):
    (block,) = make_blocks([answer_row(1, "Aye.")], 1)
    request = render_block(parity_prompts(config), rubrics, block)
    assert pickle.loads(pickle.dumps(request)) == request
    assert (request.attempts, request.schema, request.logprobs) == (1, None, 0)
