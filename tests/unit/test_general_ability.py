"""General ability: instructions without a role, and their figures."""

import json
import math

import numpy as np
import pytest

from factory.evaluation.general_ability.general_scores import compare_general, summarize_general
from factory.evaluation.general_ability.items import (
    general_ids,
    general_items,
    parse_general,
    render_general,
    verifiable_instructions,
)
from factory.records import Completion, GeneralResult, Message, Reject
from factory.storage.rows import ok_row, rejected_row
from factory.storage.schemas import GENERAL_ITEMS, GENERAL_RESULTS
from factory.storage.tables import Table

BANK = verifiable_instructions()
ITEMS = general_items()
PLAIN = next(item for item in ITEMS if item.kind == "plain")
THERMOSTAT = next(item for item in ITEMS if "thermostat does" in item.messages[0].content)


def answered(key: str, followed: bool) -> dict:
    return {"item_id": key, "followed": followed, "log_likelihood": None, "tokens": None}


def weighed(key: str, likelihood: float, tokens: int) -> dict:
    return {"item_id": key, "followed": None, "log_likelihood": likelihood, "tokens": tokens}


def test_items_are_unique_and_ids_give_checks():
    ids = [item.item_id for item in ITEMS]
    assert len(ids) == len(set(ids)) == 540
    assert {item.item_id for item in ITEMS if item.kind == "verifiable"} == set(BANK)
    assert all(BANK[item.item_id].instruction == item.messages[0].content for item in ITEMS if item.item_id in BANK)
    assert {tuple(message.role for message in item.messages) for item in ITEMS} == {("user", "assistant"), ("user",)}


def test_id_depends_on_text_and_checks(tmp_path):
    file = tmp_path / "input_data.jsonl"
    rule = "detectable_format:number_bullet_lists"
    rows = [
        {"key": key, "prompt": prompt, "instruction_id_list": [rule], "kwargs": [{"num_bullets": count}]}
        for key, prompt, count in ((1, "Go.", 3), (2, "Go.", 4), (3, "Stop.", 4), (4, "Go.", 3))
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert len(verifiable_instructions(str(file))) == 3


def test_a_limit_takes_instructions_of_all_forms():
    chosen = verifiable_instructions(limit=100)
    assert list(chosen) == sorted(BANK)[:100]
    assert len({check.kind for each in chosen.values() for check in each.checks}) >= 12


def test_requests_of_both_kinds():
    request = render_general(PLAIN)
    assert request.score_only
    assert [message.role for message in request.messages] == ["user", "assistant"]
    request = render_general(THERMOSTAT)
    assert request.messages == (Message("user", THERMOSTAT.messages[0].content),)
    assert (request.score_only, request.temperature) == (False, 0)


@pytest.mark.parametrize(
    ("reply", "followed"),
    [(" It keeps a room warm. ", True), ("word " * 21, False), ("", False)],
)
def test_reply_is_checked_as_it_is(reply, followed):
    parsed = parse_general("ours", BANK, THERMOSTAT, Completion((reply,), truncated=True, output_tokens=3))
    expected = {"answer": reply.strip(), "followed": followed, "log_likelihood": None, "tokens": None}
    assert parsed == GeneralResult(**general_ids("ours", THERMOSTAT), **expected)


def test_invalid_text_is_rejected():
    parsed = parse_general("ours", BANK, THERMOSTAT, Completion(("a\ud800",)))
    assert isinstance(parsed, Reject)
    assert parsed.reason == "invalid_text"


def test_likelihood_is_kept_with_its_tokens():
    parsed = parse_general("ours", BANK, PLAIN, Completion(output_tokens=40, log_likelihood=-55.5))
    assert isinstance(parsed, GeneralResult)
    assert (parsed.log_likelihood, parsed.tokens, parsed.answer, parsed.followed) == (-55.5, 40, None, None)


@pytest.mark.parametrize("likelihood", [None, math.nan, -math.inf])
def test_invalid_likelihood_is_rejected(likelihood):
    parsed = parse_general("ours", BANK, PLAIN, Completion(output_tokens=40, log_likelihood=likelihood))
    assert isinstance(parsed, Reject)
    assert parsed.reason == "engine_error"


def test_results_and_rejects_fit_one_table(tmp_path):
    table = Table(str(tmp_path), "general")
    results = [
        parse_general("ours", BANK, PLAIN, Completion(output_tokens=40, log_likelihood=-55.5)),
        parse_general("ours", BANK, THERMOSTAT, Completion(("Heat.",))),
    ]
    refused = rejected_row(Reject("engine_error", "an endpoint"), general_ids("ours", PLAIN))
    assert table.write("00000", [*map(ok_row, results), refused], GENERAL_RESULTS).rows == 3
    rows = table.read("00000").to_pylist()
    assert [row["followed"] for row in rows] == [None, True, None]
    assert [row["tokens"] for row in rows] == [40, None, None]
    assert Table(str(tmp_path), "items").write("00000", map(ok_row, ITEMS), GENERAL_ITEMS).ok == 540


def test_perplexity_is_per_token():
    found = summarize_general([answered("a", True), answered("b", False), weighed("c", -2.0, 1), weighed("d", -1.0, 5)])
    assert found.perplexity == pytest.approx(math.exp(0.5))  # 3 nats over 6 tokens, not the mean of 2 and 0.2
    assert (found.followed, found.of, found.items) == (0.5, 2, 2)
    assert (found.low, found.high) == (pytest.approx(0.0945, abs=1e-4), pytest.approx(0.9055, abs=1e-4))


def test_missing_results_are_null():
    found = summarize_general([answered("a", True)])
    assert (found.perplexity, found.items) == (None, 0)
    found = summarize_general([])
    assert (found.followed, found.low, found.perplexity) == (None, None, None)
    change = compare_general("tuned", "base", [answered("a", True)], [answered("a", True), weighed("c", -1.0, 1)], 0.05)
    assert (change.followed, change.of, change.perplexity_b, change.log_loss, change.items) == (0.0, 1, None, None, 0)
    nothing = compare_general("tuned", "base", [], [], 0.05)
    assert (nothing.followed, nothing.followed_low, nothing.p, nothing.log_loss, nothing.verdict) == (None,) * 5


def test_change_is_over_common_items():
    before = [
        answered("a", True),
        answered("b", True),
        answered("c", False),
        weighed("x", -2.0, 2),
        weighed("y", -3.0, 8),
    ]
    after = [
        weighed("y", -4.0, 8),
        weighed("z", -99.0, 1),
        weighed("x", -2.5, 2),
        answered("b", False),
        answered("a", True),
    ]
    change = compare_general("tuned", "base", after, before, margin=0.05)
    assert (change.followed, change.gained, change.lost, change.p, change.of) == (-0.5, 0, 1, 1.0, 2)
    assert change.perplexity_b == pytest.approx(math.exp(0.5))
    assert change.perplexity_a == pytest.approx(math.exp(0.65))
    assert change.log_loss == pytest.approx(0.15)  # 1.5 nats over 10 tokens
    # The two items are off by 0.5 - 0.15 * 2 and 1 - 0.15 * 8 nats, of 5 tokens on average: t of one degree of freedom.
    half = 12.706 * 0.04 * 2**0.5 / 2**0.5
    assert (change.log_loss_low, change.log_loss_high) == (
        pytest.approx(0.15 - half, abs=1e-3),
        pytest.approx(0.15 + half, abs=1e-3),
    )
    assert change.items == 2


def changed(gained: int, lost: int, of: int) -> tuple[list[dict], list[dict]]:
    """Return results of a and b, of which so many differ either way."""
    a = [answered(f"v{n}", n >= lost) for n in range(of)]
    return a, [answered(f"v{n}", not lost <= n < lost + gained) for n in range(of)]


@pytest.mark.parametrize(
    ("gained", "lost", "of", "verdict"),
    [
        (0, 0, 30, "unknown"),  # 30 equal results leave room for a loss of 5.1 points
        (0, 0, 100, "kept"),
        (20, 20, 500, "kept"),
        (0, 100, 500, "lost"),
        (5, 20, 500, "lower"),
        (10, 35, 500, "unknown"),
        (20, 24, 48, "unknown"),
        (40, 5, 500, "kept"),
    ],
)
def test_verdict_follows_the_interval_and_the_margin(gained, lost, of, verdict):
    change = compare_general("a", "b", *changed(gained, lost, of), 0.05)
    assert (change.verdict, change.gained, change.lost) == (verdict, gained, lost)
    assert change.followed_low < change.followed < change.followed_high
    assert (change.needed is not None) == (verdict == "unknown")


def test_margin_is_a_setting():
    results = changed(10, 35, 500)
    assert compare_general("a", "b", *results, 0.1).verdict == "lower"
    assert compare_general("a", "b", *results, 0.01).verdict == "lost"


def test_items_needed_show_that_nothing_was_lost():
    """Of 500 items 50 change: 247 would do, by (1.645 + 0.842)^2 * 0.1 / 0.05^2."""
    change = compare_general("a", "b", *changed(10, 40, 500), 0.05)
    assert change.verdict == "unknown"
    assert change.needed == pytest.approx(247, rel=0.03)
    generator, kept = np.random.default_rng(1), 0
    for _ in range(300):
        gained, lost, _ = generator.multinomial(change.needed, [0.05, 0.05, 0.9])
        kept += compare_general("a", "b", *changed(gained, lost, change.needed), 0.05).verdict == "kept"
    assert kept / 300 == pytest.approx(0.8, abs=0.06)


def test_interval_of_a_change_covers_the_truth():
    generator, covered = np.random.default_rng(2), 0
    for _ in range(500):
        gained, lost, _ = generator.multinomial(100, [0.05, 0.1, 0.85])
        change = compare_general("a", "b", *changed(gained, lost, 100), 0.05)
        covered += change.followed_low <= -0.05 <= change.followed_high
    assert covered / 500 == pytest.approx(0.9, abs=0.04)


def test_losses_of_other_tokenizers_are_not_compared():
    change = compare_general("ours", "theirs", [weighed("x", -9.0, 9)], [weighed("x", -5.0, 4)], 0.05)
    assert change.log_loss is None
    assert (change.perplexity_a, change.perplexity_b) == (pytest.approx(math.e), pytest.approx(math.exp(1.25)))
