"""Pairs of candidates for one dialogue, each in both orders, to a judge's choices."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from factory.evaluation.judge_check.pairwise import is_parsable_preference, parse_pair_verdict
from factory.inference.prompts import Prompt
from factory.records import CandidateChoice, CandidatePair, Completion, Reject, Request
from factory.storage.rows import Row
from factory.storage.schemas import record_schema
from factory.storage.tables import Table, compute_fingerprint

SCHEMA = record_schema(CandidatePair)
_SHARED = ("strategy", "corpus", "instruction_id", "character_id")


@dataclasses.dataclass(frozen=True)
class CandidatePairs(Table):
    """A finished table of candidates, read as pairs of those of one assignment; it has no files of its own."""

    times: int
    """Candidates per assignment, which are consecutive rows."""

    def manifest(self) -> dict[str, Any] | None:
        """Return the table's manifest, with the number of pairs and a fingerprint of this very table."""
        whole = super().manifest()
        if whole is None:
            return None
        pairs = whole["rows_in"] * (self.times - 1)
        fingerprint = compute_fingerprint({"candidates": [whole["fingerprint"], whole["finished"]]})
        return whole | {"ok": pairs, "rows_in": pairs, "fingerprint": fingerprint}

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """Return the pairs of a shard, in both orders, also of candidates that were rejected."""
        groups = group_candidates(super().read(shard).to_pylist(), self.times)
        rows = [_pair(a, b) for group in groups for a, b in itertools.permutations(group, 2)]
        return pa.Table.from_pylist(rows, schema=SCHEMA)


def group_candidates(rows: Sequence[Row], count: int) -> Iterator[Sequence[Row]]:
    """Yield the candidates of each assignment."""
    for start in range(0, len(rows), count):
        group = rows[start : start + count]
        assert len({(row["character_id"], row["instruction_id"]) for row in group}) == 1, "of several assignments"
        yield group


def _pair(a: Row, b: Row) -> dict[str, Any]:
    messages = a["messages"] or b["messages"] or [{"role": "system", "content": ""}]
    users = [message["content"] for message in messages if message["role"] == "user"]
    return {
        **{name: a[name] for name in _SHARED},
        "first_id": a["dialogue_id"],
        "second_id": b["dialogue_id"],
        "character": messages[0]["content"],
        "user_turns": _numbered(users),
        "replies_a": reply_text(a),
        "replies_b": reply_text(b),
    }


def reply_text(row: Row) -> str | None:
    """Return the replies of a candidate, None if it was rejected."""
    if row["status"] != "ok":
        return None
    return _numbered([message["content"] for message in row["messages"] if message["role"] == "assistant"])


def _numbered(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else "\n\n".join(f"[{number}] {text}" for number, text in enumerate(texts, 1))


@dataclasses.dataclass(frozen=True)
class ChoiceProtocol:
    """How a judge compares candidates."""

    judge: str
    prompt: Prompt
    attempts: int


def render_choice(protocol: ChoiceProtocol, pair: CandidatePair) -> Request | Reject:
    """Ask which of two candidates is better, unless one was rejected or both are equal."""
    if pair.replies_a is None or pair.replies_b is None or pair.replies_a == pair.replies_b:
        return Reject("nothing_to_compare")
    messages = protocol.prompt.render(
        character=pair.character, user_turns=pair.user_turns, replies_a=pair.replies_a, replies_b=pair.replies_b
    )
    prompt = protocol.prompt
    return Request(messages, schema=prompt.schema, is_parsable=is_parsable_preference, attempts=protocol.attempts)


def parse_choice(protocol: ChoiceProtocol, pair: CandidatePair, completion: Completion) -> CandidateChoice | Reject:
    """Parse which candidate is preferred, or reject the row: a failed judge prefers neither."""
    found = parse_pair_verdict(completion.replies[-1])
    if found is None:
        return Reject("judge_failed", completion.replies[-1])
    preferred = pair.first_id if found.preferred == "A" else pair.second_id
    return CandidateChoice(**choice_ids(protocol, pair), preferred=preferred, reasoning=found.reasoning)


def choice_ids(protocol: ChoiceProtocol, pair: CandidatePair) -> dict[str, Any]:
    """Return the columns that a comparison and its reject share."""
    names = (*_SHARED, "first_id", "second_id")
    return {"judge": protocol.judge} | {name: getattr(pair, name) for name in names}
