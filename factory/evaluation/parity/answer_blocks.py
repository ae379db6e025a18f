"""Answers in blocks, as the paper's runner judges them, and the verdicts on blocks as judgments of single answers."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

import pyarrow as pa

from factory.evaluation.parity.fork_rules import FAILED
from factory.evaluation.parity.parity_requests import examples_text, read_scores
from factory.records import AnswerBlock, Counts, Judgment, Reject, Score, content_id
from factory.runtime.build_table import build_table, identity, map_shards
from factory.runtime.progress import Progress
from factory.storage.bucket_keys import MAX_CONCURRENCY
from factory.storage.joined_table import JoinedTable
from factory.storage.rows import Row, ok_row, rejected_row
from factory.storage.schemas import ANSWER_BLOCKS, JUDGMENTS
from factory.storage.tables import Table, compute_fingerprint

WITHOUT_TEXT = ("empty_reply", "truncated")
"""Reasons of rejected answers whose calls came back, with nothing that can be judged."""


@dataclasses.dataclass(frozen=True)
class BlockTable(Table):
    """A candidate's answers with their example replies, read as rows of `AnswerBlock`; it has no files of its own."""

    answers: JoinedTable
    size: int
    """Answers in a block, at most; a block holds those of one persona and task."""

    @classmethod
    def of(cls, answers: Table, examples: Table, size: int) -> "BlockTable":
        """Read finished answers in blocks."""
        joined = JoinedTable.of(answers, examples, "question_id", "examples")
        return cls(answers.output, answers.name, joined, size)

    def manifest(self) -> dict[str, Any] | None:
        """Return the answers' manifest, with the number of blocks and a fingerprint of its own."""
        whole = self.answers.manifest()
        if whole is None:
            return None
        blocks = _count_blocks(self, tuple(self.shards()), whole["fingerprint"])
        fingerprint = compute_fingerprint({"answers": whole["fingerprint"], "block": self.size})
        return whole | {"ok": blocks, "rows_in": blocks, "fingerprint": fingerprint}

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """Return the blocks of a shard."""
        names = [field.name for field in dataclasses.fields(AnswerBlock)]
        blocks = make_blocks(self.answers.read(shard).to_pylist(), self.size)
        rows = [{name: getattr(block, name) for name in names} for block in blocks]
        return pa.Table.from_pylist(rows, schema=ANSWER_BLOCKS)


@lru_cache(maxsize=256)
def _count_blocks(table: BlockTable, shards: tuple[str, ...], _fingerprint: str) -> int:
    def count(shard: str) -> int:
        rows = Table(table.output, table.name).read(shard, ["persona_id", "task"]).to_pylist()
        return sum(1 for _ in _grouped(rows, table.size))

    with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
        return sum(pool.map(count, shards))


def make_blocks(rows: Sequence[Row], size: int) -> list[AnswerBlock]:
    """Return the blocks of rows of answers, rejected ones included, each with a column `examples`."""
    return [
        AnswerBlock(
            block_id=content_id(*(row["question_id"] for row in block)),
            **{name: block[0][name] for name in ("candidate", "persona_id", "persona", "task")},
            question_ids=tuple(row["question_id"] for row in block),
            questions=tuple(row["question"] for row in block),
            answers=tuple(map(_judged_text, block)),
            examples=tuple(examples_text(row["examples"] or ()) for row in block),
        )
        for block in _grouped(rows, size)
    ]


def _grouped(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["persona_id"], row["task"]), []).append(row)
    for group in groups.values():
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _judged_text(row: Row) -> str:
    if row["status"] == "ok":
        return str(row["answer"])
    return "" if row["reason"] in WITHOUT_TEXT else FAILED


def split_verdicts(blocks: BlockTable, verdicts: Table, judgments: Table, judge: str, progress: Progress) -> None:
    """Write a judge's verdicts on blocks as judgments of the accepted answers in them, one row each."""
    answers = (blocks.answers.manifest() or {})["ok"]

    def write() -> Counts:
        counts = Counts()
        for row in map_shards(verdicts, partial(_split_shard, blocks, verdicts, judgments, judge)):
            counts += Counts(row["ok"], {"judge_failed": row["failed"]} if row["failed"] else {})
        return counts

    build_table(judgments, {"judge": judge, "verdicts": identity(verdicts)}, answers, write, progress)


def _split_shard(
    blocks: BlockTable, verdicts: Table, judgments: Table, judge: str, shard: dict[str, Any]
) -> dict[str, Any]:
    """Write the judgments of a shard; returns their counts."""
    name = shard["shard"]
    accepted = {
        row["question_id"]
        for row in Table(blocks.output, blocks.name).read(name, ["question_id", "status"]).to_pylist()
        if row["status"] == "ok"
    }
    about = {row["block_id"]: row for row in blocks.read(name).to_pylist()}
    rows = [
        row
        for verdict in verdicts.read(name).to_pylist()
        for row in judgment_rows(judge, about[verdict["block_id"]], verdict, accepted)
    ]
    counts = judgments.write(name, rows, JUDGMENTS)
    return {"ok": counts.ok, "failed": counts.rows - counts.ok}


def judgment_rows(judge: str, block: Row, verdict: Row, accepted: set[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the judgments of the accepted answers of a block; a failed call has a failed judgment for each."""
    questions = block["question_ids"]
    if verdict["status"] == "ok":
        scores = read_scores(verdict["reply"], len(questions), verdict["cut"])
    else:
        scores = [(None, f"{verdict['reason']}: {verdict['detail']}")] * len(questions)
    provenance = {name: verdict[name] for name in ("prompt", "model")}
    for question, (score, text) in zip(questions, scores, strict=True):
        if question not in accepted:
            continue
        ids = {name: block[name] for name in ("candidate", "persona_id", "task")}
        ids |= {"judge": judge, "question_id": question}
        if score is None:
            yield rejected_row(Reject("judge_failed", text), ids, **provenance)
        else:
            yield ok_row(Judgment(**ids, score=Score(score), expected_score=None, reasoning=text), **provenance)
