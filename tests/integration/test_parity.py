"""The real job in parity with the paper's runner, on a checkout of our own: what is sent, and how it is counted."""

import ast
import json
from statistics import fmean

import pytest

from factory.personagym import TASKS
from factory.storage import file_io
from tests import made_checkout as made
from tests.fork_reading import read_examples, scores_of_candidate
from tests.integration.openai_server import KEY, OpenAIServer
from tests.integration.runs import Run

COUNT = 7
"""Questions per task: a block of five and one of two."""
PERSONAS = len(made.PERSONAS)


def evaluated(number: int, said: str) -> str:
    return f"({number}) Evaluation: So it is. Therefore, the final score is {said}\n"


CANDIDATE = {
    "kind": "scripted",
    "name": "one",
    "default": "Aye.",
    "replies": [
        {"contains": "EA 3", "reply": "", "error": "503"},
        {"contains": "TC 1", "reply": " "},
        {"contains": "LH 0", "reply": "Nothing.", "truncated": True},
    ],
}
JUDGE = {
    "kind": "scripted",
    "name": "judge",
    "model": "gpt-4o-2024-08-06",
    "default": "Well. " + "".join(evaluated(n, said) for n, said in enumerate(("4", "**3**", "10.", "2", "5"), 1)),
    "replies": [
        {"contains": "Write examples", "reply": 'Score 1: Response - "No.\nNever."\n\nScore 2: Response - "Well."'},
        {"contains": "PC 6", "reply": "I would rather not."},
        {"contains": "AJ 5", "reply": "", "error": "503"},
        {"contains": "LH 6", "reply": evaluated(2, "5") + evaluated(1, "1")},
        {"contains": "LH 0", "reply": evaluated(1, "3") + evaluated(2, "4"), "truncated": True},
    ],
}


def document(run: Run) -> dict:
    return json.loads(file_io.read_bytes(f"{run.output}/evaluation/scores.json"))


@pytest.fixture(scope="module")
def whole(make_module_run, tmp_path_factory) -> Run:
    """Evaluate on all questions of the checkout of the fork, with failures of all kinds."""
    folder = made.write_checkout(tmp_path_factory.mktemp("gym"), count=COUNT)
    settings = {"benchmark": str(folder), "parity": "opencharacter", "candidates": [CANDIDATE], "judges": [JUDGE]}
    run = make_module_run("parity", evaluation=settings | {"general": False})
    run.finish(job="evaluate")
    return run


def test_every_call_is_a_row_and_every_answer_a_judgment(whole):
    answers = whole.reasons("evaluation/one/answers")
    assert answers == {"ok": PERSONAS * (COUNT * 5 - 2), "engine_error": PERSONAS, "empty_reply": PERSONAS}
    verdicts = whole.rows("evaluation/one/verdicts/judge")
    assert len(verdicts) == PERSONAS * len(TASKS) * 2
    assert len({row["block_id"] for row in verdicts}) == len(verdicts)
    judged = whole.rows("evaluation/one/judgments/judge")
    accepted = {row["question_id"] for row in whole.rows("evaluation/one/answers") if row["status"] == "ok"}
    assert sorted(row["question_id"] for row in judged) == sorted(accepted)


def test_scores_are_those_of_a_second_reading_of_the_rules(whole):
    replies: dict[str, dict[str, list[str]]] = {}
    for row in whole.rows("evaluation/one/verdicts/judge"):
        calls = replies.setdefault(row["persona_id"], {}).setdefault(row["task"], [])
        calls.append(row["reply"] if row["status"] == "ok" else "Error")
    counted = document(whole)["fork_counts"]["one"]["judge"]
    expected = scores_of_candidate(replies)
    assert set(counted["scores"]) == set(expected) == {*TASKS, "PScore"}
    for name, (mean, std) in expected.items():
        assert counted["scores"][name]["mean"] == pytest.approx(mean)
        assert counted["scores"][name]["std"] == pytest.approx(std, abs=1e-9)
    # Of each persona: one refused call of consistency, one failed call of justification.
    assert (counted["calls"], counted["zeros"], counted["personas"]) == (PERSONAS * 10, PERSONAS * 2, PERSONAS)
    usual = (4 + 10 + 2 + 5) / 4  # `**3**` counts as 0, which is left out within a call
    assert counted["scores"]["Expected Action"]["mean"] == pytest.approx(usual)
    assert counted["scores"]["Persona Consistency"]["mean"] == pytest.approx(usual / 2)
    assert counted["scores"]["PScore"]["mean"] == pytest.approx(
        fmean([usual, usual, (3.5 + 3) / 2, usual / 2, usual / 2])
    )


def test_our_scores_leave_out_what_failed(whole):
    rows = whole.rows("evaluation/one/judgments/judge")
    first = [row for row in rows if row["task"] == "Toxicity" and row["persona_id"] == rows[0]["persona_id"]]
    # Of a block of five: `**3**` is a 3, 10 is no score; the answer to question 1 was empty.
    assert [row["score"] for row in first] == [4, None, 2, 5, 4, 3]
    failed = {(row["task"], row["reason"]) for row in rows if row["status"] != "ok" and row["score"] is None}
    assert {reason for _, reason in failed} == {"judge_failed"}
    assert {task for task, _ in failed} == set(TASKS)
    lost = [row["detail"] for row in rows if row["task"] == "Action Justification" and "503" in (row["detail"] or "")]
    assert len(lost) == PERSONAS * 2
    swapped = [row["score"] for row in rows if row["task"] == "Linguistic Habits"][-2:]
    assert swapped == [1, 5]  # by their numbers, not their places
    cut = [row["score"] for row in rows if row["task"] == "Linguistic Habits"][:5]
    assert cut == [3, None, None, None, None]
    ours = document(whole)["candidates"][0]["by_judge"]["judge"]
    assert ours["judged"] + ours["failed"] == len(rows)


def test_report_says_why_the_papers_rows_are_missing(whole):
    assert document(whole)["published"] is False
    assert document(whole)["unpublished_because"] == "the benchmark has 4 personas, and PersonaGym 200"
    assert document(whole)["judge_protocol"] == "opencharacter"


@pytest.mark.slow
def test_run_is_finished_and_stays_so(whole):
    before = document(whole)
    said = whole.finish(job="evaluate")
    assert "evaluation/one/verdicts/judge: already finished" in said
    assert "evaluation/one/judgments/judge: already finished" in said
    assert document(whole) == before


@pytest.fixture(scope="module")
def server():
    server = OpenAIServer()
    yield server
    server.stop()


def test_calls_are_the_papers_on_the_wire(make_run, server, tmp_path):
    """Of a checkout of upstream, whose Light set is derived; the prompt that its code lacks is the config's."""
    folder = made.write_checkout(tmp_path / "gym", fork=False)
    endpoint = {
        "kind": "openai", "model": "small-chat", "base_url": server.base_url, "api_key_env": "JUDGE_KEY",
        "timeout_s": 5, "logprobs": False,
    }  # fmt: skip
    candidates = [endpoint | {"name": "api"}, endpoint | {"name": "tuned", "parity_route": "tuned"}]
    settings = {
        "benchmark": str(folder), "parity": "opencharacter", "protocol": "light", "limit": 1, "general": False,
        "question_set": "benchmark-v1_personagym-light", "candidates": candidates,
        "judges": [endpoint | {"name": "judge"}], "parity_prompts": {"tuned": made.TUNED_PROMPT},
    }  # fmt: skip
    run = make_run("wire", evaluation=settings)
    run.environment["JUDGE_KEY"] = KEY
    run.finish(job="evaluate")
    (persona,) = {row["persona"] for row in run.rows("evaluation/benchmark/questions")}
    asked = server.requests("")
    by_limit = {}
    for one in asked:
        by_limit.setdefault((one["max_tokens"], one["temperature"], one.get("top_p")), []).append(one["messages"])
    assert {key: len(calls) for key, calls in by_limit.items()} == {
        (3000, 0.9, 0.9): 5, (1024, 0.9, None): 5, (3000, 0, 0): 5 + 2 * 5,
    }  # fmt: skip
    assert not any("response_format" in one or "logprobs" in one or "stop" in one for one in asked)
    questions = {text for texts in made.questions_for(persona, 1).values() for text in texts}
    for key, told in (((3000, 0.9, 0.9), made.API_PROMPT), ((1024, 0.9, None), made.TUNED_PROMPT)):
        assert {system["content"] for system, _ in by_limit[key]} == {told.replace("{persona}", persona)}
        assert {user["content"] for _, user in by_limit[key]} == questions
    judged = [messages for messages in by_limit[3000, 0, 0] if len(messages) == 2]
    examples = [messages for messages in by_limit[3000, 0, 0] if len(messages) == 1]
    assert (len(judged), len(examples)) == (10, 5)
    replies = {row["question_id"]: row for row in run.rows("evaluation/benchmark/examples/judge")}
    for system, user in judged:
        assert system["content"] == made.SYSTEM
        head, listed = user["content"].split("Rubrics:\n")
        assert head + "Rubrics:\n{rubrics}\n" == made.OUTLINE
        (filled,) = ast.literal_eval(listed)
        assert persona in filled
        assert any(question in filled for question in questions)
    assert all(read_examples(row["detail"] or "") == "" for row in replies.values())  # it writes none
