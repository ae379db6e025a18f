"""Defects of the published PersonaGym runner, found by running it; ours has none of them."""

import ast
from dataclasses import asdict

import pytest

from factory.evaluation.answers import answer_ids
from factory.evaluation.judging import JudgeProtocol, judgment_ids, parse_judgment, render_judgment
from factory.evaluation.rubric import read_rubric
from factory.evaluation.score_examples import score_examples_ids
from factory.inference.prompts import load_prompt
from factory.personagym import CheckoutPrompts
from factory.records import AnswerWithExamples, Completion, Judgment, QuestionWithProfile, Reject, content_id
from factory.storage.rows import to_record

TASK = "Expected Action"
TEMPLATE = "Evaluation Task:\nT\n-----\n{score_example}\n-----\n{persona}\n{question}\n{response}\nEvaluation:"
STRUCTURED = JudgeProtocol(
    "structured", {TASK: read_rubric(TASK, TEMPLATE)}, load_prompt("judge"), attempts=3, logprobs=0
)
PARITY = JudgeProtocol(
    "parity", {TASK: read_rubric(TASK, TEMPLATE)}, CheckoutPrompts("S", "{rubrics}", "", ""), attempts=3, logprobs=0
)
"""One answer in a call, and our reading of the reply; `test_fork_rules` has the runner's own."""
PERSONA = 'A 50-year-old clerk from "Here/There" who writes ../notes and C:\\files; ' + "and so on, " * 40


def answer(number: int, examples: tuple[str, ...] | None = None) -> AnswerWithExamples:
    return AnswerWithExamples(
        candidate="ours",
        persona_id=content_id(PERSONA),
        persona=PERSONA,
        task=TASK,
        question_id=content_id(PERSONA, TASK, str(number)),
        question=f"Question number {number}?",
        answer=f"Answer number {number}.",
        truncated=False,
        examples=examples,
    )


@pytest.mark.parametrize("protocol", [STRUCTURED, PARITY], ids=["structured", "parity"])
def test_defect_1_judge_gets_five_whole_examples(protocol):
    examples = tuple(f"Reply {score}, line one.\n\n- line two\n- line three" for score in range(1, 6))
    (*_, shown) = render_judgment(protocol, answer(1, examples)).messages
    text = shown.content if protocol is STRUCTURED else "".join(ast.literal_eval(shown.content))
    places = [text.index(example) for example in examples]
    assert places == sorted(places)


def test_defect_2_unreadable_score_is_not_zero():
    for said in ("is **4**", "is: 4", ": 4", 'is "4"'):
        read = parse_judgment(PARITY, answer(1), Completion(replies=(f"Therefore, the final score {said}",)))
        assert isinstance(read, Judgment)
        assert read.score == 4
    for protocol in (PARITY, STRUCTURED):
        for reply in ("I would rather not say.", "The final score is 0", '{"reasoning": "Bad.", "score": 0}', ""):
            assert parse_judgment(protocol, answer(1), Completion(replies=(reply,))) == Reject("judge_failed", reply)


@pytest.mark.parametrize(
    ("protocol", "reply"),
    [(STRUCTURED, '{"reasoning": "Fair.", "score": 3}'), (PARITY, "Fair. The final score is 3.")],
)
def test_defect_3_one_answer_per_request(protocol, reply):
    answers = [answer(number) for number in range(10, 15)]
    for asked in answers:
        request = render_judgment(protocol, asked)
        text = "\n".join(message.content for message in request.messages)
        assert request.follow_ups == ()
        assert [other.answer for other in answers if other.answer in text] == [asked.answer]
        assert [other.question for other in answers if other.question in text] == [asked.question]
        made = parse_judgment(protocol, asked, Completion(replies=(reply,)))
        assert isinstance(made, Judgment)
        assert (made.question_id, made.score) == (asked.question_id, 3)
        batch = "(1) Evaluation: 4\n" * (protocol is STRUCTURED) + "(2) Evaluation: 5"
        assert parse_judgment(protocol, asked, Completion(replies=(batch,))) == Reject("judge_failed", batch)


def test_defect_6_rows_are_identified_by_ids():
    given = answer(1)
    question = to_record(QuestionWithProfile, asdict(given))
    known_by = [judgment_ids(STRUCTURED, given), score_examples_ids(question), answer_ids("ours", question)]
    for ids in known_by:
        assert ids["persona_id"] == content_id(PERSONA)
        assert len(ids["persona_id"]) == len(ids["question_id"]) == 16
        assert all(ids[name].isalnum() for name in ("persona_id", "question_id"))
    assert PERSONA not in (known_by[0] | known_by[1]).values()
