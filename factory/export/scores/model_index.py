"""Scores as `model-index`, the metadata of a model card in which Hugging Face looks for results."""

from huggingface_hub import EvalResult, ModelCardData

from factory.evaluation.scoring.pscore import PSCORE
from factory.evaluation.scoring.scores_schema import CandidateScores, Scores


def model_index(scores: Scores, candidate: CandidateScores) -> str:
    """Return the YAML that belongs between the two `---` lines of the candidate's model card."""
    results = eval_results(scores, candidate)
    return str(ModelCardData(model_name=candidate.name, eval_results=results).to_yaml())


def eval_results(scores: Scores, candidate: CandidateScores) -> list[EvalResult]:
    """Return a candidate's scores as the results of a model card.

    Every metric is a mean over personas on the scale from 1 to 5; its arguments are the 95 % interval, the personas
    and the judges. A score that no persona has is left out.
    """
    benchmark, judges = scores.benchmark, [judge.model for judge in scores.judges]
    tasks = candidate.scores.tasks | {PSCORE: candidate.scores.pscore}
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=benchmark.name,
            dataset_name=f"{benchmark.name} ({scores.protocol})",
            dataset_config=candidate.condition,
            dataset_revision=benchmark.digest,
            metric_type="score",
            metric_name=name,
            metric_value=round(score.mean, 4),
            metric_args={"low": score.low, "high": score.high, "personas": score.personas, "judges": judges},
        )
        for name, score in tasks.items()
        if score.mean is not None
    ]
