"""The document of an evaluation, from simulated scores."""

from dataclasses import replace

import numpy as np
import pytest

from factory.config import RunConfig
from factory.evaluation.score_document import MAX_PAIRS, RunFacts, build_scores, candidate_pairs
from factory.evaluation.scoring.leaderboard import leaderboard
from factory.evaluation.scoring.scores_schema import Scores
from factory.evaluation.stratum_scores import MAX_VALUES
from factory.personagym import TASKS, open_benchmark
from factory.records import content_id
from tests.simulated_scores import arrays_of, draw_scores

NAN = float("nan")


def built(
    scores: np.ndarray,
    expected: np.ndarray | None = None,
    general: list | None = None,
    strata: list[dict[str, str]] | None = None,
    **settings,
) -> Scores:
    """Build the document of scores (candidates, judges, personas, tasks, questions); `strata` is by persona."""
    names = [f"model-{number}" for number in range(len(scores))]
    judges = [f"judge-{number}" for number in range(scores.shape[1])]
    candidates, judging = (
        [{"kind": "scripted", "name": name, "default": "x"} for name in some] for some in (names, judges)
    )
    evaluation = {"candidates": candidates, "judges": judging, **settings}
    config = RunConfig.model_validate({"output": "x", "engine": {"kind": "scripted"}, "evaluation": evaluation})
    arrays = arrays_of(scores, expected=expected)
    manifest = {"ok": len(arrays.task), "rejected": {}, "model": {"revision": None}}
    facts = RunFacts("digest", len(arrays.task), dict.fromkeys(names, manifest), {})
    by_persona = {f"persona {number}": one for number, one in enumerate(strata or []) if one}
    arrays = replace(arrays, persona_ids=tuple(content_id(f"persona {number}") for number in range(arrays.personas)))
    benchmark = replace(open_benchmark(None), strata=by_persona)
    return build_scores(config, benchmark, facts, arrays, general or [])


def drawn(*shifts: float, personas: int = 60, judges: int = 2) -> np.ndarray:
    return draw_scores(np.random.default_rng(3), personas, shifts, judges=judges)


def test_document_has_ranks_comparisons_and_what_can_be_found():
    scores = built(drawn(0, 0.6, 0.1), baseline="model-0")
    assert [one.rank.rank for one in scores.candidates] == [3, 1, 2]
    assert [(one.a, one.b) for one in scores.comparisons] == [("model-1", "model-0"), ("model-2", "model-0")]
    assert scores.comparisons[0].results[-1].verdict == "higher"
    assert scores.comparisons[0].same_direction == 2
    assert (scores.families.pscore, scores.families.tasks, scores.families.ranks) == (2, 10, 3)
    assert 0.05 < scores.findable.difference < 0.2
    assert set(scores.agreement) == set(TASKS)
    assert Scores.model_validate_json(scores.model_dump_json()) == scores
    assert "model-1" in leaderboard(scores)


def test_same_scores_give_the_same_document():
    assert built(drawn(0, 0.1)) == built(drawn(0, 0.1))


def test_all_pairs_without_a_baseline():
    assert candidate_pairs(["a", "b", "c"], None) == [(1, 0), (2, 0), (2, 1)]
    assert candidate_pairs(["a", "b", "c"], "b") == [(0, 1), (2, 1)]
    assert len(candidate_pairs([str(number) for number in range(50)], None)) == MAX_PAIRS
    assert candidate_pairs([str(number) for number in range(51)], None) == []


def test_shares_of_unscored_answers_mark_and_blank():
    scores = drawn(0, 0, 0, personas=100)
    scores[1, 1, :5], scores[2, 1, :30] = NAN, NAN  # 2.5 and 15 % of the scores of both judges
    found = built(scores)
    assert [(one.scores.marked, one.scores.blank) for one in found.candidates] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert [one.scores.unscored_share for one in found.candidates] == [0, 0.025, 0.15]
    assert [one.rank is None for one in found.candidates] == [False, False, True]
    pscore = found.candidates[1].scores.pscore
    assert pscore.bound_high - pscore.bound_low == pytest.approx(4 * 0.025)
    assert pscore.bound_low < pscore.mean < pscore.bound_high
    assert any(warning.startswith("model-2 lacks 15.0% of its scores and model-0 0.0%") for warning in found.warnings)
    assert not [warning for warning in built(drawn(0, 0)).warnings if "lacks" in warning]


def test_judge_without_any_score_is_left_out_of_the_mean():
    scores = drawn(0, 0)
    scores[:, 1] = NAN
    found = built(scores).candidates[0]
    assert found.by_judge["judge-1"].pscore.mean is None
    assert found.by_judge["judge-1"].blank
    assert found.scores.pscore.mean == found.by_judge["judge-0"].pscore.mean
    assert found.scores.unscored_share == 0


def test_ranks_are_by_expected_scores_and_tables_by_whole_ones():
    scores = drawn(0, 0.5)
    expected = scores.reshape(2, 2, -1).copy()
    expected[0] += 0.5  # they say the reverse
    expected[1] -= 0.5
    found = built(scores, expected=expected)
    assert found.ranked_by == "expected"
    assert [one.rank.rank for one in found.candidates] == [1, 2]
    assert found.comparisons[0].results[-1].verdict == "lower"
    whole = [one.scores.pscore.mean for one in found.candidates]
    assert whole == pytest.approx(scores.mean(axis=(1, 2, 3, 4)))
    assert built(scores).ranked_by == "whole"
    assert built(scores).comparisons[0].results[-1].verdict == "higher"


def test_answers_below_the_top_are_counted_by_persona():
    scores = np.full((1, 1, 40, 5, 2), 5.0)
    scores[0, 0, :3, 1] = 4
    scores[0, 0, 3, 1, 0] = NAN
    below = built(scores).candidates[0].by_judge["judge-0"].tasks["Toxicity"].below_top
    assert (below.count, below.of) == (3, 40)


def test_general_ability_is_compared_with_the_baseline():
    results = [[{"item_id": str(n), "followed": True, "log_likelihood": None, "tokens": None} for n in range(100)]] * 3
    found = built(drawn(0, 0, 0), general=results, baseline="model-1", general_margin=0.1)
    assert [(one.a, one.b, one.verdict, one.margin) for one in found.general_changes] == [
        ("model-0", "model-1", "kept", 0.1),
        ("model-2", "model-1", "kept", 0.1),
    ]


def test_one_candidate_has_no_comparison():
    found = built(drawn(0))
    assert (found.comparisons, found.findable, found.candidates[0].rank.rank) == ([], None, 1)


def test_baseline_must_be_a_candidate():
    with pytest.raises(
        ValueError, match=r"baseline is 'other', which is none of the candidates \['model-0', 'model-1'\]"
    ):
        built(drawn(0, 0), baseline="other")


def test_scores_by_stratum_are_those_of_its_personas_alone():
    scores = drawn(0, 0.5, personas=60)
    scores[:, :, :20] = np.maximum(1, scores[:, :, :20] - 1)  # the first twenty are played badly
    strata = [{"disposition": "immoral" if number < 20 else "moral"} for number in range(59)]
    for number in range(5):
        strata[number]["language"] = "Korean"
    found = built(scores, strata=[*strata, {}])
    by_value = {(one.trait, one.value): one for one in found.strata}
    sizes = {key: one.personas for key, one in by_value.items()}
    assert sizes == {("disposition", "moral"): 39, ("disposition", "immoral"): 20, ("language", "Korean"): 5}
    assert list(by_value) == list(sizes)
    for name in ("model-0", "model-1"):
        number, bad = int(name[-1]), by_value["disposition", "immoral"].pscores[name]
        assert bad.mean == pytest.approx(np.mean(scores[number, :, :20]), abs=1e-6)
        assert bad.high < by_value["disposition", "moral"].pscores[name].low
    assert by_value["language", "Korean"].pscores["model-0"].too_few
    page = leaderboard(found)
    assert "## PScore by stratum" in page
    assert "| moral (39)" in page
    assert "too few to say much" in page


def test_stratum_without_scores_and_blank_candidates_have_none():
    scores = drawn(0, 0.5, personas=30)
    scores[1, :, :20] = NAN  # two thirds are unscored, so that it is blank
    scores[0, :, 0] = NAN
    found = built(scores, strata=[{"x": "none | <b>"}] + [{"x": f"v{number % 25}"} for number in range(29)])
    assert len(found.strata) == MAX_VALUES
    assert all(one.pscores.keys() == {"model-0"} for one in found.strata)
    one_persona = built(scores, strata=[{"x": "none | <b>"}]).strata
    assert one_persona[0].pscores["model-0"].mean is None
    assert "| none \\| \\<b\\> (1) |" in leaderboard(built(scores, strata=[{"x": "none | <b>"}]))
    assert not built(scores).strata
