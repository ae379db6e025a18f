"""The lines of a batch's files: questions on the way to an endpoint, and answers, of which nothing is trusted.

A question is `{"custom_id": "12", "method": "POST", "url": "/v1/chat/completions", "body": {...}}`, an answer
`{"custom_id": "12", "response": {"status_code": 200, "body": {...}}, "error": null}`; `custom_id` is the row.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from factory.inference.engines.endpoint_reply import ENDING_TOKENS, MISSHAPEN, as_object

ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
MAX_BYTES = 190_000_000
"""Of a batch's file; OpenAI takes 200 MB."""
UNANSWERED = 0
"""In place of a status, for a question that the endpoint did not get to."""


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What became of one question."""

    status: int = UNANSWERED
    """Of the HTTP answer."""
    body: Any = None
    """Its JSON, or the error of a question without an answer."""
    others_good: bool = True
    """Whether any question of its batch was answered with 200."""


def question_line(row: int, arguments: Mapping[str, Any]) -> bytes:
    """Return the line that asks a row's question.

    Args:
        row: its number in the shard.
        arguments: those of the client's `chat.completions.create`.
    """
    body = {name: value for name, value in arguments.items() if name != "extra_body"} | arguments.get("extra_body", {})
    line = {"custom_id": str(row), "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def split_files(lines: Mapping[int, bytes], most: int, max_bytes: int = MAX_BYTES) -> Iterator[dict[int, bytes]]:
    """Yield the lines of each file, by row.

    Args:
        lines: the questions of a round.
        most: lines per file.
        max_bytes: per file.
    """
    part: dict[int, bytes] = {}
    size = 0
    for row, line in lines.items():
        if part and (len(part) == most or size + len(line) > max_bytes):
            yield part
            part, size = {}, 0
        part[row] = line
        size += len(line)
    if part:
        yield part


def read_answer(line: str | bytes) -> tuple[int, BatchAnswer] | None:
    """Return a line's row and answer, without the log-probabilities that nobody reads; None if it is no answer."""
    try:
        entry = json.loads(line)
        row = int(entry["custom_id"])
    except MISSHAPEN:
        return None
    response = as_object(entry.get("response"))
    status = response.get("status_code")
    body: Any = response.get("body")
    if type(status) is not int or not 100 <= status < 600:
        return row, BatchAnswer(UNANSWERED, entry.get("error"))
    with suppress(AttributeError, LookupError, TypeError):
        logprobs = body["choices"][0]["logprobs"]
        logprobs["content"] = logprobs["content"][-ENDING_TOKENS:]
    return row, BatchAnswer(status, body)


def answer_line(row: int, answer: BatchAnswer) -> bytes:
    """Return an answer as a line that `read_answer` reads."""
    response = {"status_code": answer.status, "body": answer.body} if answer.status else None
    line = {"custom_id": str(row), "response": response, "error": None if response else answer.body}
    return json.dumps(line).encode() + b"\n"


def read_answers(lines: Iterable[bytes], rows: Iterable[int]) -> dict[int, BatchAnswer]:
    """Return the answers of a batch to its rows; those without one are unanswered."""
    read = dict(answer for line in lines if (answer := read_answer(line)))
    good = any(answer.status == 200 for answer in read.values())
    found = {row: read.get(row, BatchAnswer()) for row in rows}
    return {row: BatchAnswer(answer.status, answer.body, good) for row, answer in found.items()}
