"""Scores in the shape of lm-evaluation-harness' `results_*.json`, which its tables and leaderboards read."""

import json
import math
import re
from datetime import datetime

from factory.evaluation.scoring.scores_schema import CandidateScores, Scores, TaskScore

FILTER = "none"
"""The name of the filter that follows a metric: we have none."""


def harness_results(scores: Scores, candidate: CandidateScores, finished: datetime) -> str:
    """Return the JSON: a task of the harness for each of ours, and a group whose score is the PScore.

    `score_stderr` is the standard error of the mean over personas, N/A for fewer than two.
    """
    group = _name(f"{scores.benchmark.name} {scores.protocol}")
    names = {task: f"{group}_{_name(task)}" for task in scores.tasks}
    found = candidate.scores
    results = {names[task]: _result(task, found.tasks[task]) for task in scores.tasks}
    whole = _result("PScore", found.pscore)
    samples = scores.benchmark.questions // len(scores.tasks)
    document = {
        "results": {group: whole, **results},
        "groups": {group: whole},
        "group_subtasks": {group: list(results)},
        "configs": {name: {"task": name, "metadata": {"version": scores.version}} for name in results},
        "versions": dict.fromkeys((group, *results), scores.version),
        "n-shot": dict.fromkeys(results, 0),
        "higher_is_better": {name: {"score": True} for name in (group, *results)},
        "n-samples": {name: {"original": samples, "effective": samples} for name in results},
        "config": {"model": "character-factory", "model_args": {"pretrained": candidate.model}},
        "model_name": candidate.model,
        "date": finished.timestamp(),
    }
    return json.dumps(document, indent=2) + "\n"


def _name(text: str) -> str:
    return re.sub(r"\W+", "_", text.casefold()).strip("_")


def _result(alias: str, score: TaskScore) -> dict[str, str | float | None]:
    is_defined = score.std is not None and score.personas > 1
    error = score.std / math.sqrt(score.personas - 1) if score.std is not None and is_defined else "N/A"
    return {"alias": alias, f"score,{FILTER}": score.mean, f"score_stderr,{FILTER}": error}
