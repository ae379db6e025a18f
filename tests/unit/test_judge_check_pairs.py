"""Answer pairs of known order: the data, and how a judge's results on them are summarized."""

import json
import math
import re
from collections import Counter, defaultdict

import pytest

from factory.evaluation.judge_check.pairs import (
    ORDERED,
    AnswerPair,
    JudgedPair,
    read_pairs,
    reliability_text,
    summarize_judge,
)
from factory.evaluation.scoring.proportions import paired_change, proportion
from factory.inference.prompts import load_prompt
from factory.personagym import TASKS
from factory.resources import RESOURCES

PAIRS = read_pairs()
BY_KIND = defaultdict(list)
for one in PAIRS:
    BY_KIND[one.kind].append(one)
BENCHMARK = RESOURCES / "data" / "benchmark"


def plain(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def pair(number: int, kind: str) -> AnswerPair:
    return AnswerPair(f"{kind}-{number}", kind, "Toxicity", "a baker", "Well?", "good", "bad")


def judged(*answers: tuple, kind: str = "generic") -> list[JudgedPair]:
    return [JudgedPair(pair(number, kind), *answer) for number, answer in enumerate(answers)]


RIGHT, WRONG = (5.0, 1.0, "better", "better"), (1.0, 5.0, "worse", "worse")
FIRST, SECOND = (3.0, 3.0, "better", "worse"), (3.0, 3.0, "worse", "better")
FAILED = (None, 4.0, None, "better")


DERIVED = ("adjacent", "attack", "paraphrase")
"""Kinds whose pairs are made of an answer of another kind."""
ORIGINAL = [one for one in PAIRS if one.kind not in DERIVED]


def test_each_kind_has_ten_pairs_or_more():
    assert set(BY_KIND) == {*ORDERED, "padded", "attack", "paraphrase"}
    assert min(map(len, BY_KIND.values())) >= 10
    assert len(PAIRS) >= 80


def test_ids_questions_and_personas_are_unique():
    assert len({one.id for one in PAIRS}) == len(PAIRS)
    for field in ("question", "persona"):
        assert len({getattr(one, field) for one in ORIGINAL}) == len(ORIGINAL)


def test_derived_pairs_are_of_an_answer_of_another_kind():
    answers = {(one.persona, one.question, text) for one in ORIGINAL for text in (one.better, one.worse)}
    for kind in DERIVED:
        for one in BY_KIND[kind]:
            assert (one.persona, one.question, one.better) in answers, one.id
            assert one.worse != one.better
    assert {one.task for one in BY_KIND["adjacent"]} == {one.task for one in BY_KIND["paraphrase"]} == set(TASKS)


def test_attack_only_adds_words_to_the_judge():
    for one in BY_KIND["attack"]:
        assert one.worse.startswith(one.better), one.id
        assert "5" in one.worse.removeprefix(one.better)


def test_judge_that_follows_an_attack_is_found():
    result = summarize_judge("x", judged(*[(2.0, 5.0, None, None), (1.0, 5.0, None, None)] * 6, kind="attack"), seed=1)
    assert result.attack.difference == 3.5
    assert "words that ask it for a 5 raise a score by 3.50" in reliability_text(result)
    assert result.ordered.pointwise.of == 0


def test_paraphrases_that_change_a_score_are_found():
    result = summarize_judge("x", judged((2.0, 4.0, None, None), (4.0, 2.0, None, None), kind="paraphrase"), seed=1)
    assert (result.paraphrase.difference, result.paraphrase.size) == (0, 2)
    assert "other words for the same change a score by 2.00" in reliability_text(result)


def test_each_kind_has_its_tasks():
    assert {one.task for one in PAIRS} <= {path.stem for path in (BENCHMARK / "rubrics").iterdir()}
    tasks = {kind: {one.task for one in pairs} for kind, pairs in BY_KIND.items()}
    assert tasks["generic"] == {"Linguistic Habits", "Expected Action", "Action Justification"}
    assert tasks["toxic"] == {"Toxicity"}
    assert tasks["invented"] == {"Persona Consistency"}
    assert tasks["padded"] == set(TASKS)


def test_personas_are_in_no_other_data():
    samples = [json.loads(line)["persona"] for line in (RESOURCES / "data" / "personas.jsonl").read_text().splitlines()]
    known = {tuple(plain(text)) for text in [*samples, *json.loads((BENCHMARK / "personas.json").read_text())]}
    assert known.isdisjoint(tuple(plain(one.persona)) for one in PAIRS)


@pytest.mark.parametrize("kind", ORDERED)
def test_better_answer_is_shorter_in_half_the_pairs(kind):
    ratios = [len(one.worse) / len(one.better) for one in BY_KIND[kind]]
    assert sum(ratio > 1.2 for ratio in ratios) == sum(ratio < 0.85 for ratio in ratios) == len(ratios) / 2
    assert abs(sum(map(math.log, ratios)) / len(ratios)) < 0.15


def test_padded_answer_contains_the_short_one():
    for one in BY_KIND["padded"]:
        rest = iter(plain(one.worse))
        assert all(word in rest for word in plain(one.better)), one.id
        assert len(one.worse) > 1.5 * len(one.better)


def test_judge_that_is_always_right():
    kinds = [one for kind in ORDERED for one in judged(*[RIGHT] * 9, kind=kind)]
    result = summarize_judge("sage", kinds, seed=1)
    assert result.ordered.pointwise == result.ordered.pairwise == proportion([True] * 36)
    assert result.by_kind["toxic"].pointwise == proportion([True] * 9)
    assert (result.turned.value, result.turned.of, result.first_wins.of) == (0, 36, 0)
    assert reliability_text(result) == (
        "sage: its scores favor the better answer (100 % right, 90 % to 100 %); "
        "its comparisons favor the better answer (100 % right, 90 % to 100 %)."
    )


def test_ties_count_half_and_failures_apart():
    result = summarize_judge("x", judged(RIGHT, RIGHT, WRONG, FIRST, SECOND, FIRST, FAILED), seed=1)
    assert result.ordered.pointwise == result.ordered.pairwise == proportion([1, 1, 0, 0.5, 0.5, 0.5])
    assert result.ordered.pointwise.hits == 3.5
    assert (result.pairs, result.failed_scores, result.failed_verdicts) == (7, 1, 1)
    assert (result.turned.hits, result.turned.of) == (3, 6)
    assert (result.first_wins.hits, result.first_wins.of) == (2, 3)
    text = reliability_text(result)
    assert "its scores are no better than chance (58 % right" in text
    assert "50 % of them change with the order, mostly to the first answer" in text
    assert text.endswith("it failed 2 of 28 times.")


def test_position_bias_is_over_all_kinds():
    result = summarize_judge("x", [*judged(RIGHT), *judged(SECOND, SECOND, kind="padded")], seed=1)
    assert (result.turned.hits, result.turned.of, result.first_wins.hits) == (2, 3, 0)
    assert result.ordered.pairwise.of == 1
    assert set(result.by_kind) == set(ORDERED)


def test_length_bias():
    pairs = ((3.0, 4.0, "worse", "worse"), (3.5, 4.0, "better", "worse"))
    few, result = (summarize_judge("x", judged(*pairs * times, kind="padded"), seed=1) for times in (1, 5))
    bias = result.length_bias
    assert bias.difference == few.length_bias.difference == 0.75
    assert 0 < bias.low < 0.75 < bias.high
    assert few.length_bias.low < 0 < few.length_bias.high  # two pairs say little
    assert (bias.preferred.hits, bias.preferred.of) == (7.5, 10)
    assert "it scores filler 0.75 higher" in reliability_text(result)
    assert math.isnan(result.ordered.pointwise.value)
    assert "its scores show nothing, since none could be parsed" in reliability_text(result)


def test_rounding_is_a_tie():
    assert summarize_judge("x", judged((0.1 + 0.2, 0.3, None, None)), seed=1).ordered.pointwise.value == 0.5


def test_judge_that_is_always_wrong():
    text = reliability_text(summarize_judge("x", judged(*[WRONG] * 10), seed=1))
    assert text.count("favor the worse answer (0 % right, 0 % to 28 %)") == 2


def test_wilson_intervals_by_hand():
    # Center (8 + z²/2) / (10 + z²), half width z / (10 + z²) * sqrt(8 * 2 / 10 + z² / 4), z = 1.95996
    result = proportion([True] * 8 + [False] * 2)
    assert (result.hits, result.of, result.value) == (8, 10, 0.8)
    assert (result.low, result.high) == pytest.approx((0.490162, 0.943318), abs=1e-6)


def test_half_a_hit_widens_the_interval():
    result = proportion([1, 0.5, 0, 0])
    assert result.low == proportion([1, 0, 0, 0]).low
    assert result.high == proportion([1, 1, 0, 0]).high


def test_proportion_of_no_trials():
    result = proportion([])
    assert result.of == 0
    assert math.isnan(result.value)
    assert math.isnan(result.low)


def test_paired_change_by_hand():
    before = [True] * 20 + [True] * 1 + [False] * 7 + [False] * 2
    after = [True] * 20 + [False] * 1 + [True] * 7 + [False] * 2
    result = paired_change(before, after)
    assert (result.gained, result.lost) == (7, 1)
    assert result.change == pytest.approx(6 / 30)
    assert result.p == pytest.approx(2 * (1 + 8) / 2**8)  # both tails of 8 fair coins


def test_no_change_has_p_1():
    assert paired_change([True, False], [True, False]).p == 1
    with pytest.raises(ValueError, match="shorter"):
        paired_change([True, False], [True])


def test_pair_prompt_has_criteria_last():
    given = {"persona": "P", "question": "Q", "reply_a": "{{ a }}", "reply_b": "# system\nB"}
    (system, user), (other, _) = (load_prompt("judge-pair").render(criteria=text, **given) for text in ("one", "two"))
    assert system.content.removesuffix("one") == other.content.removesuffix("two")
    assert re.search(r"<reply_a>\n\{\{ a }}\n</reply_a>\s+<reply_b>\n# system\nB\n</reply_b>$", user.content)


def test_ids_name_the_kinds():
    assert Counter(one.id.split("-")[0] for one in PAIRS) == Counter(one.kind for one in PAIRS)
