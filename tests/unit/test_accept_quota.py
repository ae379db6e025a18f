"""Which shards are generated for N accepted rows, and how N is divided among tables."""

import random

import pytest

from factory.config.accept import Accept
from factory.errors import ConfigError
from factory.inference.accept_quota import AcceptQuota
from factory.records import Counts
from factory.storage import archive
from factory.storage.schemas import PROFILES
from factory.storage.tables import Table
from factory.synthesis.accept_goals import accept_lines, dialogues_to_accept, profiles_to_accept

SHARD_ROWS = 16
NAMES = [f"{n:05}" for n in range(200)]


def generate(goal: int, share: float, seed: int, replicas: int) -> tuple[dict[str, int], int, int]:
    """Run waves whose shards come back in any order; return what is kept, the rows generated, and the waves."""
    replies = random.Random(seed)
    yields = {name: sum(replies.random() < share for _ in range(SHARD_ROWS)) for name in NAMES}
    order, quota, rows, waves = random.Random(replicas), AcceptQuota(goal, NAMES), 0, 0
    while True:
        pending = [name for name in NAMES if name not in quota.accepted]
        wave = quota.next_wave(len(pending), SHARD_ROWS, rows)
        if not wave:
            break
        waves += 1
        begun = pending[:wave]
        order.shuffle(begun)
        lost = len(begun) // 3 if waves < replicas else 0  # a kill
        for name in begun[lost:]:
            quota.add(name, Counts(yields[name], {"truncated": SHARD_ROWS - yields[name]}))
            rows += SHARD_ROWS
    kept = dict(quota.accepted)
    for change in quota.changes():
        kept[change["shard"]] = change["keep"]
    return {name: keep for name, keep in sorted(kept.items()) if keep}, rows, waves


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_kills_and_order_keep_the_same_rows(share):
    results = [generate(200, share, seed=1, replicas=replicas) for replicas in (1, 2, 3)]
    assert results[0][0] == results[1][0] == results[2][0]
    assert sum(results[0][0].values()) == 200


def test_waves_are_few_and_hardly_exceed_the_need():
    for seed in range(50):
        _, rows, waves = generate(500, 0.6, seed, replicas=1)
        assert rows <= 1.12 * 500 / 0.6 + SHARD_ROWS
        assert waves <= 6


def test_gap_that_a_kill_left_is_not_skipped():
    quota = AcceptQuota(10, NAMES[:4])
    for name in NAMES[1:3]:
        quota.add(name, Counts(10))
    assert not quota.is_reached
    assert quota.next_wave(2, 10, 20) == 1
    quota.add(NAMES[0], Counts(3, {"truncated": 7}))
    assert quota.is_reached
    assert quota.changes() == [{"shard": NAMES[1], "keep": 7}, {"shard": NAMES[2], "keep": 0}]


def test_source_without_enough_rows_is_used_up():
    quota = AcceptQuota(50, NAMES[:2])
    quota.add(NAMES[0], Counts(1, {"truncated": 15}))
    assert quota.next_wave(1, SHARD_ROWS, 16) == 1
    quota.add(NAMES[1], Counts(2, {"empty_reply": 14}))
    assert quota.next_wave(0, SHARD_ROWS, 32) == 0
    assert not quota.is_reached
    written = Counts(3, {"empty_reply": 14, "truncated": 15})
    assert quota.text("profiles", written) == (
        "profiles has 3 of 50 accepted rows (yield 9% of 32 rows, truncated 15, empty_reply 14)"
    )


def test_removed_number_lets_marked_rows_count_again():
    quota = AcceptQuota(None, NAMES[:2])
    quota.add(NAMES[0], Counts(16))
    quota.add(NAMES[1], Counts(4, {"not_needed": 12}))
    assert quota.changes() == [{"shard": NAMES[1], "keep": 16}]


def test_number_of_a_run_is_divided_by_rows():
    rows = {"generate-a": 100, "generate-b": 50, "rewrite-a": 100}
    shares = dialogues_to_accept(Accept(dialogues=101), rows)
    assert shares == {"generate-a": 41, "generate-b": 20, "rewrite-a": 40}
    assert dialogues_to_accept(Accept(dialogues={"generate-b": 7}), rows) == {**dict.fromkeys(rows), "generate-b": 7}
    assert dialogues_to_accept(Accept(), rows) == dict.fromkeys(rows)


def test_more_given_profiles_than_accepted_are_refused():
    assert profiles_to_accept(Accept(profiles=16), 16) == 16
    with pytest.raises(ConfigError, match=r"accept\.profiles is 15, but profiles\.source gives 16"):
        profiles_to_accept(Accept(profiles=15), 16)


@pytest.mark.parametrize(
    ("accept", "tables", "has_personas", "message"),
    [
        (Accept(profiles=9), [], False, "accept.profiles needs personas"),
        (Accept(profiles=2), ["generate-a"], True, "accept.profiles is 2, and dialogues.characters_per_instruction 3"),
        (Accept(dialogues=9), [], True, "there are no instructions"),
        (Accept(dialogues={"generate-b": 9}), ["generate-a", "rewrite-a"], True, "names 'generate-b'; the run has gen"),
    ],
)
def test_contradictions_are_one_line(accept, tables, has_personas, message):
    problem = accept.problem(tables, has_personas, 3 if tables else 0)
    assert message in problem
    assert "\n" not in problem


def test_a_number_of_dialogues_and_the_best_of_several_are_not_both_possible():
    assert "dialogues.candidates is 3" in Accept(dialogues=9).problem(["generate-a"], True, 1, candidates=3)
    assert Accept(profiles=9).problem(["generate-a"], True, 1, candidates=3) is None


@pytest.mark.parametrize("dialogues", [0, "many", {"generate-a": 0}, 1.5, True])
def test_number_that_is_none_is_one_error(dialogues):
    with pytest.raises(ValueError, match="give a whole number above 0") as problem:
        Accept(dialogues=dialogues)
    assert problem.value.error_count() == 1


def test_reopened_table_keeps_its_shards(tmp_path):
    table, inputs = Table(str(tmp_path), "profiles"), {"seed": 1}
    table.begin("same", inputs)
    table.write("00000", [], PROFILES)
    table.finish({"fingerprint": "same", "ok": 0, "rows_in": 0, "finished": "now"})
    with archive.rehearsing() as rehearsal:
        table.begin("same", inputs)
        assert rehearsal.all_finished
        table.reopen()
    assert not rehearsal.all_finished
    assert rehearsal.changes == []
    assert table.manifest()  # a rehearsal changes nothing
    table.reopen()
    table.begin("same", inputs)
    assert table.manifest() is None
    assert table.shards() == ["00000"]


def test_plan_names_the_numbers():
    assert accept_lines(Accept()) == []
    (line,) = accept_lines(Accept(profiles=1000, dialogues={"generate-a": 50}))
    assert line.startswith("Accept: 1,000 profiles, 50 generate-a. ")
    assert "yield is unknown before the first wave" in line
