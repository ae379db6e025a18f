"""The lines of a batch's files: how they are cut into files, and what is read of hostile ones."""

import json

import pytest

from factory.inference.engines.batch_lines import (
    UNANSWERED,
    BatchAnswer,
    answer_line,
    question_line,
    read_answer,
    read_answers,
    split_files,
)


def test_files_hold_every_line_once_in_order_within_both_limits():
    lines = {row: b"x" * (row % 7 + 1) for row in range(100)}
    for most, max_bytes in ((3, 1000), (1000, 12), (4, 9), (1, 1)):
        files = list(split_files(lines, most, max_bytes))
        assert [row for file in files for row in file] == list(range(100))
        assert all(len(file) <= most for file in files)
        assert all(len(file) == 1 or sum(map(len, file.values())) <= max_bytes for file in files)
    assert list(split_files({}, 5)) == []


def test_a_question_is_one_line_with_further_parameters_beside_the_others():
    arguments = {"model": "m", "messages": [{"role": "user", "content": "a\nb\u2028"}], "extra_body": {"top_k": 3}}
    line = question_line(7, arguments)
    assert line.count(b"\n") == 1
    body = {"model": "m", "messages": arguments["messages"], "top_k": 3}
    assert json.loads(line) == {"custom_id": "7", "method": "POST", "url": "/v1/chat/completions", "body": body}


NO_ANSWERS = (
    "", "null", "[]", "7", "{}", '{"custom_id": null}', '{"custom_id": "one"}', '{"custom_id": {}}', "[" * 100_000,
    '{"custom_id": 1e999}', f'{{"custom_id": "{"9" * 5000}"}}',
)  # fmt: skip


@pytest.mark.parametrize("line", NO_ANSWERS)
def test_what_is_no_answer_is_left_out(line):
    assert read_answer(line) is None
    assert read_answers([line.encode()], [0]) == {0: BatchAnswer(others_good=False)}


@pytest.mark.parametrize(
    "response", [None, 7, [], {}, {"status_code": "200"}, {"status_code": True}, {"status_code": 7}]
)
def test_an_answer_without_a_status_is_unanswered(response):
    line = json.dumps({"custom_id": "3", "response": response, "error": {"code": "batch_expired"}})
    assert read_answer(line) == (3, BatchAnswer(UNANSWERED, {"code": "batch_expired"}))


def test_answers_are_kept_but_for_log_probabilities_that_nobody_reads():
    body = {"choices": [{"logprobs": {"content": list(range(100))}, "message": {"content": "a\u2028"}}]}
    row, answer = read_answer(json.dumps({"custom_id": "3", "response": {"status_code": 200, "body": body}}))
    assert answer.body["choices"][0]["logprobs"]["content"] == list(range(88, 100))
    assert read_answer(answer_line(row, answer)) == (row, answer)
    for odd in (None, [], {"choices": []}, {"choices": [{"logprobs": {"content": 7}}]}):
        assert read_answer(answer_line(1, BatchAnswer(200, odd))) == (1, BatchAnswer(200, odd))


def test_rows_without_an_answer_are_unanswered_and_know_whether_others_have_one():
    lines = [answer_line(0, BatchAnswer(400)), answer_line(9, BatchAnswer(200, {}))]
    assert read_answers(lines, [0, 1]) == {0: BatchAnswer(400), 1: BatchAnswer()}
    assert not read_answers(lines[:1], [0])[0].others_good
