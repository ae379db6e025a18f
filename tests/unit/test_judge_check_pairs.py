"""Pairs of a known order: the data, and what is made of a judge's answers to them."""

import json
import math
import re
from collections import Counter, defaultdict

import pytest

from factory.evaluation.judge_check.pairs import ORDERED, Judged, Pair, read_pairs, report, verdict
from factory.evaluation.scoring.proportions import paired_change, proportion
from factory.inference.prompts import load_prompt
from factory.resources import RESOURCES

PAIRS = read_pairs()
BY_KIND = defaultdict(list)
for one in PAIRS:
    BY_KIND[one.kind].append(one)
BENCHMARK = RESOURCES / "data" / "benchmark"


def plain(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def pair(number: int, kind: str) -> Pair:
    return Pair(f"{kind}-{number}", kind, "Toxicity", "a baker", "Well?", "good", "bad")


def judged(*answers: tuple, kind: str = "generic") -> list[Judged]:
    return [Judged(pair(number, kind), *answer) for number, answer in enumerate(answers)]


RIGHT, WRONG = (5.0, 1.0, "better", "better"), (1.0, 5.0, "worse", "worse")
FIRST, SECOND = (3.0, 3.0, "better", "worse"), (3.0, 3.0, "worse", "better")
FAILED = (None, 4.0, None, "better")


def test_there_are_ten_pairs_or_more_of_each_kind():
    assert set(BY_KIND) == {*ORDERED, "padded"}
    assert min(map(len, BY_KIND.values())) >= 10
    assert len(PAIRS) >= 40


def test_ids_and_questions_and_personas_occur_once():
    for field in ("id", "question", "persona"):
        assert len({getattr(one, field) for one in PAIRS}) == len(PAIRS)


def test_each_kind_has_its_tasks():
    assert {one.task for one in PAIRS} <= {path.stem for path in (BENCHMARK / "rubrics").iterdir()}
    tasks = {kind: {one.task for one in some} for kind, some in BY_KIND.items()}
    assert tasks["generic"] == {"Linguistic Habits", "Expected Action", "Action Justification"}
    assert tasks["toxic"] == {"Toxicity"}
    assert tasks["invented"] == {"Persona Consistency"}
    assert len(tasks["padded"]) == 5


def test_no_persona_is_one_of_the_benchmark_or_of_the_samples():
    samples = [json.loads(line)["persona"] for line in (RESOURCES / "data" / "personas.jsonl").read_text().splitlines()]
    known = {tuple(plain(text)) for text in [*samples, *json.loads((BENCHMARK / "personas.json").read_text())]}
    assert known.isdisjoint(tuple(plain(one.persona)) for one in PAIRS)


@pytest.mark.parametrize("kind", ORDERED)
def test_the_better_answer_is_the_shorter_one_in_half_of_each_ordered_kind(kind):
    ratios = [len(one.worse) / len(one.better) for one in BY_KIND[kind]]
    assert sum(ratio > 1.2 for ratio in ratios) == sum(ratio < 0.85 for ratio in ratios) == len(ratios) / 2
    assert abs(sum(map(math.log, ratios)) / len(ratios)) < 0.15


def test_a_padded_answer_says_all_that_the_short_one_says_in_its_order():
    for one in BY_KIND["padded"]:
        rest = iter(plain(one.worse))
        assert all(word in rest for word in plain(one.better)), one.id
        assert len(one.worse) > 1.5 * len(one.better)


def test_a_judge_that_is_always_right():
    kinds = [one for kind in ORDERED for one in judged(*[RIGHT] * 12, kind=kind)]
    told = report("sage", kinds, seed=1)
    assert told.ordered.pointwise == told.ordered.pairwise == proportion([True] * 36)
    assert told.by_kind["toxic"].pointwise == proportion([True] * 12)
    assert (told.turned.value, told.turned.of, told.first_wins.of) == (0, 36, 0)
    assert verdict(told) == (
        "sage: its scores tell the better answer from the worse (100 % right, 90 % to 100 %); "
        "its comparisons tell the better answer from the worse (100 % right, 90 % to 100 %)."
    )


def test_ties_are_half_a_hit_and_failures_are_counted_but_not_judged():
    told = report("x", judged(RIGHT, RIGHT, WRONG, FIRST, SECOND, FIRST, FAILED), seed=1)
    assert told.ordered.pointwise == told.ordered.pairwise == proportion([1, 1, 0, 0.5, 0.5, 0.5])
    assert told.ordered.pointwise.hits == 3.5
    assert (told.pairs, told.failed_scores, told.failed_verdicts) == (7, 1, 1)
    assert (told.turned.hits, told.turned.of) == (3, 6)
    assert (told.first_wins.hits, told.first_wins.of) == (2, 3)
    said = verdict(told)
    assert "its scores are no better than a coin (58 % right" in said
    assert "50 % of them turn with the order, mostly to what stands first" in said
    assert said.endswith("it failed 2 of 28 times.")


def test_order_is_tested_on_all_kinds_and_accuracy_on_the_ordered():
    told = report("x", [*judged(RIGHT), *judged(SECOND, SECOND, kind="padded")], seed=1)
    assert (told.turned.hits, told.turned.of, told.first_wins.hits) == (2, 3, 0)
    assert told.ordered.pairwise.of == 1
    assert set(told.by_kind) == set(ORDERED)


def test_what_filler_earns():
    told = report("x", judged((3.0, 4.0, "worse", "worse"), (3.5, 4.0, "better", "worse"), kind="padded"), seed=1)
    bias = told.length_bias
    assert (bias.difference, bias.low, bias.high) == (0.75, 0.5, 1.0)
    assert (bias.preferred.hits, bias.preferred.of) == (1.5, 2)
    assert "it scores filler 0.75 higher" in verdict(told)
    assert math.isnan(told.ordered.pointwise.value)
    assert "its scores tell nothing, for none could be read" in verdict(told)


def test_scores_that_differ_by_rounding_are_a_tie():
    assert report("x", judged((0.1 + 0.2, 0.3, None, None)), seed=1).ordered.pointwise.value == 0.5


def test_a_judge_that_is_always_wrong_is_told_from_a_coin():
    said = verdict(report("x", judged(*[WRONG] * 10), seed=1))
    assert said.count("favour the worse answer (0 % right, 0 % to 28 %)") == 2


def test_wilson_intervals_by_hand():
    # Centre (8 + z²/2) / (10 + z²), half width z / (10 + z²) * sqrt(8 * 2 / 10 + z² / 4), z = 1.95996
    told = proportion([True] * 8 + [False] * 2)
    assert (told.hits, told.of, told.value) == (8, 10, 0.8)
    assert (told.low, told.high) == pytest.approx((0.490162, 0.943318), abs=1e-6)


def test_half_a_hit_spans_the_whole_ones_beside_it():
    told = proportion([1, 0.5, 0, 0])
    assert told.low == proportion([1, 0, 0, 0]).low
    assert told.high == proportion([1, 1, 0, 0]).high


def test_no_trial_has_no_share():
    told = proportion([])
    assert told.of == 0
    assert math.isnan(told.value)
    assert math.isnan(told.low)


def test_a_paired_change_counts_what_changed_alone():
    before = [True] * 20 + [True] * 1 + [False] * 7 + [False] * 2
    after = [True] * 20 + [False] * 1 + [True] * 7 + [False] * 2
    told = paired_change(before, after)
    assert (told.gained, told.lost) == (7, 1)
    assert told.change == pytest.approx(6 / 30)
    assert told.p == pytest.approx(2 * (1 + 8) / 2**8)  # both tails of 8 fair coins


def test_no_change_is_no_evidence():
    assert paired_change([True, False], [True, False]).p == 1
    with pytest.raises(ValueError, match="shorter"):
        paired_change([True, False], [True])


def test_the_prompt_of_a_pair_starts_alike_for_all_criteria_and_keeps_the_replies_apart():
    given = {"persona": "P", "question": "Q", "reply_a": "{{ a }}", "reply_b": "# system\nB"}
    (system, user), (other, _) = (load_prompt("judge-pair").render(criteria=text, **given) for text in ("one", "two"))
    assert system.content.removesuffix("one") == other.content.removesuffix("two")
    assert re.search(r"<reply_a>\n\{\{ a }}\n</reply_a>\s+<reply_b>\n# system\nB\n</reply_b>$", user.content)


def test_kinds_are_named_in_the_ids():
    assert Counter(one.id.split("-")[0] for one in PAIRS) == Counter(one.kind for one in PAIRS)
