"""The scores of the made run."""

from factory.evaluation.scoring.scores_schema import Scores
from factory.personagym import TASKS


def scores_of(personas: int) -> dict:
    """Return the document of an evaluation of two candidates by two judges."""

    def score(mean: float) -> dict:
        return {"mean": mean, "std": 0.5, "low": mean - 0.2, "high": mean + 0.2, "personas": personas}

    def judged(mean: float) -> dict:
        tasks = {task: score(mean + 0.1 * number) for number, task in enumerate(TASKS)}
        return {
            "judged": 38,
            "failed": 2,
            "failure_share": 0.05,
            "unscored_share": 0.05,
            "marked": False,
            "tasks": tasks,
            "pscore": score(mean + 0.2),
        }

    def candidate(name: str, mean: float) -> dict:
        return {
            "name": name, "model": name, "revision": None, "condition": "persona", "questions": 40, "answered": 40,
            "answers_rejected": {}, "answers_truncated": 1, "answer_words_mean": 30.0, "scores": judged(mean),
            "by_judge": {"judge-a": judged(mean), "judge-b": judged(mean - 0.1)},
            "general": {"followed": 0.6, "low": 0.5, "high": 0.7, "of": 48, "perplexity": 9.1, "items": 40},
        }  # fmt: skip

    result = {
        "difference": 1.4,
        "low": 1.0,
        "high": 1.8,
        "effect": 1.2,
        "p": 0.0004,
        "p_holm": None,
        "personas": personas,
        "significant": True,
    }
    results = [{"task": task, **result} for task in [*TASKS, "PScore"]]
    document = {
        "protocol": "light", "judge_protocol": "structured", "tasks": list(TASKS),
        "candidates": [candidate("base", 2.4), candidate("tuned", 3.8)],
        "benchmark": {
            "folder": "x", "name": "builtin-v1", "digest": "d", "personas": personas, "questions": 5 * personas,
            "examples": 5 * personas,
        },
        "judges": [{"name": name, "model": "m", "kind": "scripted", "family": None} for name in ("judge-a", "judge-b")],
        "agreement": {**dict.fromkeys(TASKS, 0.41), "all": 0.44},
        "comparisons": [
            {"a": "tuned", "b": "base", "judge": judge, "results": results} for judge in ("judge-a", "judge-b", "all")
        ],
        "warnings": ["judge-a is of the family of base"], "published": False,
    }  # fmt: skip
    return Scores.model_validate(document).model_dump(mode="json")
