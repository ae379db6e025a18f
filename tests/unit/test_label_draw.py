"""Which answers people label: a stratified draw by hash, the same whatever the shards."""

import pickle
from collections import Counter

import numpy as np
import pytest

from factory.config import RunConfig
from factory.errors import InputError
from factory.evaluation.evaluation_steps import read_rubrics
from factory.evaluation.labels.label_items import Strata, _gold_items, _sampled_items, _scan, label_groups
from factory.evaluation.labels.strata import difference_bins
from factory.personagym import open_benchmark
from tests.small_run import SmallRun

SHARDS = ("00000", "00001")
RUBRICS = read_rubrics(open_benchmark(None))


def config_of(output: str, **labels) -> RunConfig:
    return SmallRun(output).config(labels={"answers": 8, "gold": 4} | labels)


def drawn(config: RunConfig, shards: tuple[str, ...] = SHARDS) -> list[dict]:
    strata, groups = Strata(config.labels.answers), label_groups(config)
    for shard in shards:
        strata.merge(pickle.loads(_scan(config, groups, {"shard": shard})["strata"]))
    return list(_sampled_items(config, strata, RUBRICS, "frame"))


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> str:
    run = SmallRun(str(tmp_path_factory.mktemp("run")))
    run.evaluation()
    return run.output


def test_draw_does_not_depend_on_the_order_of_shards(output):
    config = config_of(output, answers=4)
    rows = drawn(config)
    assert [row["item_id"] for row in drawn(config, SHARDS[::-1])] == [row["item_id"] for row in rows]
    assert Counter(row["candidates"] for row in rows) == {("base",): 4, ("tuned",): 4}  # two of each stratum
    assert len({row["item_id"] for row in rows}) == len(rows)


def test_item_has_its_chance_of_being_drawn(output):
    for row in drawn(config_of(output, answers=4)):
        assert row["probability"] == row["stratum_drawn"] / row["stratum_rows"]
        assert (row["kind"], row["frame"], row["seed"]) == ("single", "frame", 42)
        assert row["criteria"] == RUBRICS[row["task"]].criteria


def test_all_are_drawn_where_they_are_few(output):
    rows = drawn(config_of(output, answers=100))
    assert len(rows) == 8
    assert {row["probability"] for row in rows} == {1.0}


def test_pair_has_both_answers_to_a_question(output):
    rows = drawn(config_of(output, pair=("tuned", "base")))
    assert len(rows) == 4  # eight answers
    assert {(row["kind"], row["candidates"], len(row["answers"])) for row in rows} == {("pair", ("tuned", "base"), 2)}


def test_unknown_candidate_of_a_pair_is_refused(output):
    with pytest.raises(
        InputError, match=r"labels.pair has 'other', which is none of the candidates \['base', 'tuned'\]"
    ):
        label_groups(config_of(output, pair=("tuned", "other")))


def test_known_answers_are_good_and_bad_in_turn(output):
    rows = list(_gold_items(config_of(output), RUBRICS, "frame"))
    assert Counter(row["candidates"] for row in rows) == {("better",): 2, ("worse",): 2}
    assert {row["probability"] for row in rows} == {None}


def test_parts_keep_no_more_rows_than_are_drawn():
    parts = [Strata(3), Strata(3)]
    for number in range(10):
        parts[number % 2].add((("a",), (0, 0)), (number / 10, f"q{number}", "00000"))
    whole = Strata(3)
    for part in parts:
        whole.merge(part)
    assert whole.counts[("a",), (0, 0)] == 10
    assert [question for _, question, _ in whole.first[("a",), (0, 0)]] == ["q0", "q1", "q2"]


def test_signs_of_differences():
    assert difference_bins(np.array([-0.5, 0, 0.5, np.nan])).tolist() == [0, 1, 2, 3]
