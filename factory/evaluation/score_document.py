"""Arrays of scores to the document of an evaluation, `scores.json`."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from factory.config import RunConfig
from factory.evaluation.general_ability.general_scores import compare_general, summarize_general
from factory.evaluation.scoring import scores_schema as schema
from factory.evaluation.scoring.agreement import agreement
from factory.evaluation.scoring.comparisons import Comparison, Judged, Pair, compare_pairs, rank_candidates
from factory.evaluation.scoring.intervals import SCALE, share, summarize
from factory.evaluation.scoring.judge_mean import mean_over_judges
from factory.evaluation.scoring.length import length_correlation
from factory.evaluation.scoring.model_families import find_family, self_preference_warnings
from factory.evaluation.scoring.power import findable_difference
from factory.evaluation.scoring.pscore import PSCORE, persona_std, pscore_values, task_means
from factory.evaluation.scoring.score_arrays import TASK_NAMES, ScoreArrays, cells_of, score_bounds
from factory.evaluation.stratum_scores import score_strata
from factory.personagym import Benchmark
from factory.storage.rows import Row

MAX_PAIRS = 1_225
"""Of more than 50 candidates without a baseline, no pair is listed: a file of 1,000 would have 500,000."""
FAILURE_GAP = 0.02
"""Where candidates' shares of unscored questions differ by more than this, a warning is given."""


@dataclass(frozen=True)
class RunFacts:
    """What the document has from the manifests of a run's tables."""

    digest: str
    """Of the benchmark."""
    examples: int
    """Questions with example replies."""
    answers: Mapping[str, Mapping[str, Any]]
    """The manifest of each candidate's answers."""
    costs: Mapping[str, float | None]
    """US dollars of candidates and judges behind endpoints, None where a price is not known."""
    fork_counts: Mapping[str, dict[str, schema.ForkCount]] = field(default_factory=dict)
    """With parity: each candidate's scores by each judge as the paper's runner counts them."""
    unpublished_because: str = ""
    """Why the paper's rows do not compare with the scores; empty where they do."""
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By judge: its reports in the judge check, by kind of score."""


def build_scores(
    config: RunConfig, benchmark: Benchmark, facts: RunFacts, arrays: ScoreArrays, general: Sequence[Sequence[Row]]
) -> schema.Scores:
    """Build the document; `general` holds the results of each candidate, or nothing."""
    evaluation = config.evaluation
    judged, scored = _score(config, facts, arrays)
    ranks = rank_candidates(judged, task_means(cells_of(arrays, judged.means)).mean(axis=-1))
    abilities = map(summarize_general, general) if general else [None] * len(scored)
    scored = [
        one.model_copy(update={"rank": _part(schema.CandidateRank, rank), "general": ability})
        for one, rank, ability in zip(scored, ranks, abilities, strict=True)
    ]
    ranked_by: schema.RankedBy = "expected" if arrays.has_expected else "whole"
    return schema.Scores(
        protocol=evaluation.protocol,
        judge_protocol=evaluation.parity or "structured",
        benchmark=schema.ScoredBenchmark(
            folder=benchmark.folder,
            name=benchmark.name,
            digest=facts.digest,
            personas=arrays.personas,
            questions=len(arrays.task) // arrays.draws,
            examples=facts.examples,
            frozen=benchmark.frozen and benchmark.frozen.whole_digest,
        ),
        draws=arrays.draws,
        tasks=TASK_NAMES,
        candidates=scored,
        judges=[
            schema.ScoringJudge(
                name=judge.name,
                model=judge.model,
                kind=judge.kind,
                family=find_family(judge.model),
                re_asked=int(arrays.re_asked[number]),
                check=_judge_check(facts.checks.get(judge.name, {}).get(ranked_by)),
            )
            for number, judge in enumerate(evaluation.judges)
        ],
        ranked_by=ranked_by,
        baseline=evaluation.baseline,
        **_agreement(config, arrays),
        **_compared(config, judged, general, sum(rank is not None for rank in ranks)),
        strata=score_strata(benchmark, judged, [candidate.name for candidate in evaluation.candidates]),
        warnings=_warnings(config, scored),
        costs=dict(facts.costs),
        fork_counts=dict(facts.fork_counts),
        published=not facts.unpublished_because,
        unpublished_because=facts.unpublished_because,
    )


def _judge_check(report: Mapping[str, Any] | None) -> schema.JudgeCheck | None:
    if report is None:
        return None
    right = report["ordered"]["pointwise"]
    return schema.JudgeCheck(
        right=right["value"],
        low=right["low"],
        high=right["high"],
        of=right["of"],
        by_kind={kind: accuracy["pointwise"]["value"] for kind, accuracy in report["by_kind"].items()},
        filler=report["length_bias"]["difference"],
        attack=report["attack"]["difference"],
        paraphrase=report["paraphrase"]["size"],
    )


def _score(config: RunConfig, facts: RunFacts, arrays: ScoreArrays) -> tuple[Judged, list[schema.CandidateScores]]:
    """Return what candidates are compared by, and the scores of each."""
    whole, expected = (mean_over_judges(scores, arrays.task) for scores in (arrays.scores, arrays.expected))
    scored = [
        _candidate_scores(config, arrays, number, (whole, expected), facts.answers[candidate.name])
        for number, candidate in enumerate(config.evaluation.candidates)
    ]
    ranked = arrays.ranked
    judged = Judged(
        arrays=arrays,
        means=whole if ranked is arrays.scores else mean_over_judges(ranked, arrays.task),
        by_judge=ranked,
        bounds=np.array([score_bounds(arrays, one[arrays.judges]) for one in ranked]),
        blank=np.array([one.scores.blank for one in scored]),
        seed=config.seed,
    )
    return judged, scored


def _compared(config: RunConfig, judged: Judged, general: Sequence[Sequence[Row]], ranked: int) -> dict[str, Any]:
    """Return the parts of the document that are about pairs of candidates, of which so many have a rank."""
    names = [candidate.name for candidate in config.evaluation.candidates]
    pairs = candidate_pairs(names, config.evaluation.baseline)
    return {
        "families": schema.Families(pscore=len(pairs), tasks=len(pairs) * len(TASK_NAMES), ranks=math.comb(ranked, 2)),
        "comparisons": [_comparison(config, one) for one in compare_pairs(judged, pairs)],
        "findable": _part(schema.FindableDifference, findable_difference(judged, pairs)),
        "general_changes": [
            compare_general(names[a], names[b], general[a], general[b], config.evaluation.general_margin)
            for a, b in (pairs if general else [])
        ],
    }


def _warnings(config: RunConfig, scored: Sequence[schema.CandidateScores]) -> list[str]:
    judges, candidates = (
        {one.name: one.model for one in members} for members in (config.evaluation.judges, config.evaluation.candidates)
    )
    teacher = config.engine_section.model if config.instructions and config.engine_section else None
    return [*self_preference_warnings(judges, candidates, teacher), *_failure_warnings(scored)]


def candidate_pairs(names: Sequence[str], baseline: str | None) -> list[Pair]:
    """Return the numbers of the candidates that are compared: all with the baseline, or each with those before it."""
    if baseline is not None:
        base = names.index(baseline)
        return [(number, base) for number in range(len(names)) if number != base]
    pairs = [(a, b) for b, a in itertools.combinations(range(len(names)), 2)]
    return pairs if len(pairs) <= MAX_PAIRS else []


def _part(shape: type[Any], value: Any) -> Any:
    return None if value is None else shape.model_validate(value)


def _candidate_scores(
    config: RunConfig,
    arrays: ScoreArrays,
    number: int,
    means: tuple[np.ndarray, np.ndarray],
    manifest: Mapping[str, Any],
) -> schema.CandidateScores:
    candidate = config.evaluation.candidates[number]
    words, (whole, expected) = arrays.words[number], means
    by_judge = {
        judge.name: _judge_scores(config, arrays, number, (arrays.scores[number, j], arrays.expected[number, j]), [j])
        for j, judge in enumerate(config.evaluation.judges)
    }
    by_mean = _judge_scores(config, arrays, number, (whole[number], expected[number]), np.flatnonzero(arrays.judges))
    return schema.CandidateScores(
        name=candidate.name,
        model=candidate.model,
        revision=manifest["model"]["revision"],
        condition=candidate.condition,
        questions=len(arrays.task),
        answered=manifest["ok"],
        answers_rejected=manifest["rejected"],
        answers_truncated=int(arrays.truncated[number]),
        answer_words_mean=float(np.nanmean(words)) if manifest["ok"] else None,
        scores=by_mean,
        by_judge=by_judge,
    )


def _judge_scores(
    config: RunConfig,
    arrays: ScoreArrays,
    number: int,
    values: tuple[np.ndarray, np.ndarray],
    judges: Sequence[int] | np.ndarray,
) -> schema.JudgeScores:
    """Return a candidate's scores by its whole and expected scores of each question, given by these judges."""
    scores, expected = values
    given = arrays.scores[number, judges]
    answered, judged = ~np.isnan(arrays.words[number]), ~np.isnan(scores)
    failed = int((answered & ~judged).sum())
    unscored = float(np.isnan(given).mean()) if len(given) else 1.0
    tasks = _summaries(config, arrays, scores, score_bounds(arrays, given) if len(given) else None)
    by_expected = None if np.isnan(expected).all() else _summaries(config, arrays, expected, None)
    correlation = length_correlation(arrays.words[number], scores, arrays.persona, arrays.task)
    return schema.JudgeScores(
        judged=int(judged.sum()),
        failed=failed,
        failure_share=failed / max(1, int(answered.sum())),
        unscored_share=unscored,
        marked=unscored > config.evaluation.max_judge_failures,
        blank=unscored > config.evaluation.max_unscored,
        pscore=tasks.pop(PSCORE),
        tasks=tasks,
        complete=int((~np.isnan(cells_of(arrays, scores))).all(axis=1).sum()),
        expected_pscore=by_expected.pop(PSCORE) if by_expected else None,
        expected=by_expected,
        length_correlation=_part(schema.LengthCorrelation, correlation),
    )


def _summaries(
    config: RunConfig, arrays: ScoreArrays, scores: np.ndarray, bounds: np.ndarray | None
) -> dict[str, schema.TaskScore]:
    """Return each task's score and last the PScore; `bounds` are those of `score_bounds`, None of expected scores."""
    cells = cells_of(arrays, scores)
    summaries = [summarize(cells[:, column], config.seed) for column in range(len(TASK_NAMES))]
    summaries.append(summarize(pscore_values(cells), config.seed, std=persona_std(cells)))
    worst = cells_of(arrays, np.where(scores < SCALE[1], 1.0, np.where(np.isnan(scores), np.nan, 0.0)))
    found = {}
    for column, (task, summary) in enumerate(zip([*TASK_NAMES, PSCORE], summaries, strict=True)):
        score = schema.TaskScore.model_validate(summary)
        if bounds is not None:
            low, high = bounds[:, column].tolist()
            below = share(int((worst[:, column] > 0).sum()), summary.personas) if task != PSCORE else None
            score = score.model_copy(
                update={"bound_low": low, "bound_high": high, "below_top": _part(schema.AnswerShare, below)}
            )
        found[task] = score
    return found


def _agreement(config: RunConfig, arrays: ScoreArrays) -> dict[str, Any]:
    if arrays.scores.shape[1] < 2:
        return {"agreement": {}, "mean_alpha": None}
    found = {}
    for number, task in enumerate(TASK_NAMES):
        in_task = arrays.task == number
        found[task] = agreement(arrays.scores[:, :, in_task], arrays.persona[in_task], arrays.personas, config.seed)
    parts = {task: schema.JudgeAgreement.model_validate(one) for task, one in found.items()}
    return {"agreement": parts, "mean_alpha": float(np.mean([one.alpha for one in found.values()]))}


def _comparison(config: RunConfig, one: Comparison) -> schema.CandidateComparison:
    names = [candidate.name for candidate in config.evaluation.candidates]
    judges = [judge.name for judge in config.evaluation.judges]
    return schema.CandidateComparison(
        a=names[one.a],
        b=names[one.b],
        results=[schema.ScoreDifference.model_validate(result) for result in one.results],
        by_judge={
            judge: schema.DifferenceByJudge.model_validate(result)
            for judge, result in zip(judges, one.by_judge, strict=True)
        },
        same_direction=sum(np.sign(judge.difference) == np.sign(one.results[-1].difference) for judge in one.by_judge),
        length_controlled=_part(schema.LengthControlledDifference, one.length_controlled),
    )


def _failure_warnings(scored: Sequence[schema.CandidateScores]) -> list[str]:
    shares: Mapping[str, float] = {one.name: one.scores.unscored_share for one in scored}
    least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    if shares[most] - shares[least] <= FAILURE_GAP:
        return []
    return [
        f"{most} lacks {shares[most]:.1%} of its scores and {least} {shares[least]:.1%}: where failures hit the worst "
        "answers first, this alone makes a difference; see the bounds"
    ]
