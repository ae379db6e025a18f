"""Scores, answers and verdicts as a log of inspect_ai, which its viewer shows: one log per candidate.

A log is written sample by sample, since a benchmark has thousands of answers.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from factory.evaluation.scoring.scores_schema import MEAN, CandidateScores, JudgeScores, Scores
from factory.records import answer_key
from factory.run_output import layout
from factory.storage.rows import Row


def inspect_log(scores: Scores, candidate: CandidateScores, output: str, finished: datetime) -> Iterator[str]:
    """Yield the text of a log, in parts.

    Args:
        scores: the document of the run.
        candidate: whose log it is.
        output: the run's folder, whose tables have the answers and the verdicts.
        finished: when the scores were written.
    """
    header = json.dumps(_header(scores, candidate, finished), indent=1, allow_nan=False)
    yield header.removesuffix("\n}") + ',\n "samples": ['
    for number, sample in enumerate(_samples(scores, candidate, output)):
        yield (",\n" if number else "\n") + json.dumps(sample, ensure_ascii=False, allow_nan=False)
    yield "\n ]\n}\n"


def _header(scores: Scores, candidate: CandidateScores, finished: datetime) -> dict[str, Any]:
    benchmark, moment = scores.benchmark, finished.isoformat()
    found = {MEAN: candidate.scores, **candidate.by_judge}
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "created": moment,
            "task": f"{benchmark.name}-{scores.protocol}",
            "task_version": scores.version,
            "dataset": {"name": benchmark.name, "samples": benchmark.questions},
            "model": candidate.model,
            "config": {"epochs": scores.draws},
            "metadata": {"candidate": candidate.name, "digest": benchmark.digest, "condition": candidate.condition},
        },
        "plan": {},
        "results": {
            "total_samples": candidate.questions,
            "completed_samples": candidate.answered,
            "scores": [_score(name, each) for name, each in found.items()],
        },
        "stats": {"started_at": moment, "completed_at": moment},
    }


def _score(judge: str, scores: JudgeScores) -> dict[str, Any]:
    """Return the means by one judge, or by all; the PScore stands first, as inspect_ai's headline."""
    tasks = {"PScore": scores.pscore, **scores.tasks}
    metrics = {
        name: {"name": name, "value": score.mean, "metadata": {"low": score.low, "high": score.high}}
        for name, score in tasks.items()
        if score.mean is not None
    }
    counts = {"scored_samples": scores.judged, "unscored_samples": scores.failed}
    return {"name": judge, "scorer": judge, **counts, "metrics": metrics}


def _samples(scores: Scores, candidate: CandidateScores, output: str) -> Iterator[dict[str, Any]]:
    answers = layout.ANSWERS.table(output, candidate=candidate.name)
    judges = [judge.name for judge in scores.judges]
    tables = [layout.JUDGMENTS.table(output, candidate=candidate.name, judge=name) for name in judges]
    for shard in answers.shards():
        verdicts = [{answer_key(row): row for row in table.read(shard).to_pylist()} for table in tables]
        for row in answers.read(shard).to_pylist():
            found = zip(judges, (by_id.get(answer_key(row)) for by_id in verdicts), strict=True)
            yield _sample(row, candidate.model, {judge: verdict for judge, verdict in found if verdict})


def _sample(answer: Row, model: str, verdicts: dict[str, Row]) -> dict[str, Any]:
    """Return a question with its answer and verdicts; what failed has its reason in the metadata."""
    kept = {name: answer[name] for name in ("persona_id", "persona", "task", "status", "reason")}
    failed = {judge: row["reason"] for judge, row in verdicts.items() if row["status"] != "ok"}
    question, is_ok = {"role": "user", "content": answer["question"]}, answer["status"] == "ok"
    reply = {"role": "assistant", "content": answer["answer"], "source": "generate"}
    choice = {"message": reply, "stop_reason": "max_tokens" if answer["truncated"] else "stop"}
    return {
        "id": answer["question_id"],
        "epoch": 1 + (answer.get("draw") or 0),
        "input": answer["question"],
        "target": "",
        "messages": [question, reply] if is_ok else [question],
        "output": {"model": model, "choices": [choice] if is_ok else []},
        "scores": {judge: _verdict(row) for judge, row in verdicts.items() if row["status"] == "ok"},
        "metadata": kept | ({"judges_failed": failed} if failed else {}),
    }


def _verdict(row: Row) -> dict[str, Any]:
    expected = row["expected_score"]
    metadata = {} if expected is None else {"expected_score": expected}
    return {"value": row["score"], "explanation": row["reasoning"], "metadata": metadata}
