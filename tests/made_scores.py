"""The scores of the made run."""

from factory.evaluation.scoring.scores_schema import Scores
from factory.personagym import TASKS


def scores_of(personas: int) -> dict:
    """Return the document of an evaluation of two candidates by two judges."""

    def score(mean: float) -> dict:
        ends = {"low": mean - 0.2, "high": mean + 0.2, "bound_low": mean - 0.1, "bound_high": mean + 0.1}
        return {"mean": mean, "std": 0.5, "personas": personas, "too_few": personas < 10, **ends}

    def judged(mean: float) -> dict:
        tasks = {task: score(mean + 0.1 * number) for number, task in enumerate(TASKS)}
        return {
            "judged": 38,
            "failed": 2,
            "failure_share": 0.05,
            "unscored_share": 0.05,
            "marked": False,
            "blank": False,
            "complete": personas,
            "tasks": tasks,
            "pscore": score(mean + 0.2),
        }

    def candidate(name: str, mean: float, rank: int) -> dict:
        return {
            "name": name, "model": name, "revision": None, "condition": "persona", "questions": 40, "answered": 40,
            "answers_rejected": {}, "answers_truncated": 1, "answer_words_mean": 30.0, "scores": judged(mean),
            "by_judge": {"judge-a": judged(mean), "judge-b": judged(mean - 0.1)},
            "rank": {"rank": rank, "low": rank, "high": rank},
            "general": {"followed": 0.6, "low": 0.5, "high": 0.7, "of": 48, "perplexity": 9.1, "items": 40},
        }  # fmt: skip

    interval = {"difference": 1.4, "low": 1.0, "high": 1.8}
    result = {**interval, "effect": 1.2, "p": 0.0004, "personas": personas, "verdict": "higher"}
    agreement = {"alpha": 0.41, "alpha_low": 0.3, "alpha_high": 0.5}
    agreement |= {"same_order": 0.9, "same_order_low": 0.8, "same_order_high": 1.0, "pairs": 30}
    document = {
        "protocol": "light", "judge_protocol": "structured", "tasks": list(TASKS),
        "candidates": [candidate("base", 2.4, 2), candidate("tuned", 3.8, 1)],
        "benchmark": {
            "folder": "x", "name": "builtin-v1", "digest": "d", "personas": personas, "questions": 5 * personas,
            "examples": 5 * personas,
        },
        "judges": [{"name": name, "model": "m", "kind": "scripted", "family": None} for name in ("judge-a", "judge-b")],
        "ranked_by": "whole", "baseline": "base",
        "agreement": dict.fromkeys(TASKS, agreement), "mean_alpha": 0.41,
        "families": {"pscore": 1, "tasks": 5, "ranks": 1},
        "comparisons": [{
            "a": "tuned", "b": "base", "results": [{"task": task, **result} for task in [*TASKS, "PScore"]],
            "by_judge": dict.fromkeys(("judge-a", "judge-b"), interval), "same_direction": 2,
            "length_controlled": {**interval, "slope": 0.1},
        }],
        "findable": {
            "difference": 0.3, "personas": 0.2, "questions": 0.25, "questions_measured": False, "draws": 0.25,
            "judges": 0.28,
        },
        "warnings": ["judge-a is of the family of base"], "published": False,
    }  # fmt: skip
    return Scores.model_validate(document).model_dump(mode="json")
