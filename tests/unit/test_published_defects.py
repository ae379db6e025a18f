"""The defects of the published PersonaGym runner, found by running it; ours has none of them."""

from dataclasses import asdict

import pytest

from factory.evaluation.answers import answer_ids
from factory.evaluation.judging import Protocol, judgment_ids, parse_judgment, render_judgment
from factory.evaluation.rubric import read_rubric
from factory.evaluation.score_examples import score_examples_ids
from factory.inference.prompts import load_prompt
from factory.records import AnswerWithExamples, Completion, Judgment, Question, Reject, content_id
from factory.storage.rows import to_record

TASK = "Expected Action"
TEMPLATE = "Evaluation Task:\nT\n-----\n{score_example}\n-----\n{persona}\n{question}\n{response}\nEvaluation:"
GUIDED = Protocol("guided", {TASK: read_rubric(TASK, TEMPLATE)}, load_prompt("judge"), attempts=3, logprobs=0)
PARITY = Protocol("parity", {TASK: read_rubric(TASK, TEMPLATE)}, None, attempts=3, logprobs=0)
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


@pytest.mark.parametrize("protocol", [GUIDED, PARITY], ids=["guided", "parity"])
def test_defect_1_the_judge_sees_all_five_examples_each_whole(protocol):
    examples = tuple(f"Reply {score}, line one.\n\n- line two\n- line three" for score in range(1, 6))
    (*_, shown) = render_judgment(protocol, answer(1, examples)).messages
    places = [shown.content.index(example) for example in examples]
    assert places == sorted(places)


def test_defect_2_a_dressed_score_is_read_and_an_unreadable_one_is_no_zero():
    for said in ("is **4**", "is: 4", ": 4", 'is "4"'):
        read = parse_judgment(PARITY, answer(1), Completion(replies=(f"Therefore, the final score {said}",)))
        assert isinstance(read, Judgment)
        assert read.score == 4
    for protocol in (PARITY, GUIDED):
        for reply in ("I would rather not say.", "The final score is 0", '{"reasoning": "Bad.", "score": 0}', ""):
            assert parse_judgment(protocol, answer(1), Completion(replies=(reply,))) == Reject("judge_failed", reply)


@pytest.mark.parametrize(
    ("protocol", "reply"), [(GUIDED, '{"reasoning": "Fair.", "score": 3}'), (PARITY, "Fair. The final score is 3.")]
)
def test_defect_3_a_judge_is_asked_for_one_answer_at_a_time_and_each_has_its_row(protocol, reply):
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
        batch = "(1) Evaluation: 4\n(2) Evaluation: 5"
        assert parse_judgment(protocol, asked, Completion(replies=(batch,))) == Reject("judge_failed", batch)


def test_defect_6_rows_are_known_by_ids_and_not_by_the_personas_sentence():
    given = answer(1)
    question = to_record(Question, asdict(given))
    known_by = [judgment_ids(GUIDED, given), score_examples_ids(question), answer_ids("ours", question)]
    for ids in known_by:
        assert ids["persona_id"] == content_id(PERSONA)
        assert len(ids["persona_id"]) == len(ids["question_id"]) == 16
        assert all(ids[name].isalnum() for name in ("persona_id", "question_id"))
    assert PERSONA not in (known_by[0] | known_by[1]).values()
