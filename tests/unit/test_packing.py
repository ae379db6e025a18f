"""Packing and the order in which packed sequences are read."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.training.data_order import SampleOrder
from factory.training.packing import find_targets, pack, position_ids
from factory.training.validation_gain import join_validations, loss_change

LENGTHS = st.lists(st.integers(2, 64), max_size=200)


@given(LENGTHS)
def test_each_item_is_packed_once_and_none_too_long(lengths):
    sequences = pack(lengths, 64)
    assert sorted(item for sequence in sequences for item in sequence) == list(range(len(lengths)))
    assert all(sum(lengths[item] for item in sequence) <= 64 for sequence in sequences)


@given(LENGTHS)
def test_no_two_sequences_fit_into_one(lengths):
    sizes = sorted(sum(lengths[item] for item in sequence) for sequence in pack(lengths, 64))
    assert len(sizes) < 2 or sizes[0] + sizes[1] > 64


@pytest.mark.parametrize("middle", [150, 400, 900])
def test_at_least_97_percent_of_tokens_are_real(middle):
    """Return lengths distributed as those of dialogues: log-normal, with a spread of two."""
    lengths = np.random.default_rng(middle).lognormal(np.log(middle), 0.5, 3000).astype(int).clip(20, 4096).tolist()
    assert sum(lengths) / (len(pack(lengths, 4096)) * 4096) >= 0.97


def test_item_longer_than_a_sequence_is_refused():
    with pytest.raises(ValueError, match="65 tokens does not fit a sequence of 64"):
        pack([3, 65], 64)


@given(st.lists(st.integers(2, 9), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_no_target_crosses_dialogues(lengths, random):
    ids = np.arange(sum(lengths))
    mask = np.array([random.random() < 0.7 for _ in ids])
    positions, dialogue = find_targets(ids, mask, lengths)
    starts = np.cumsum([0, *lengths])
    for position, number in zip(positions, dialogue, strict=True):
        assert starts[number] <= position < position + 1 < starts[number + 1]
    inner = [n for n in ids if n not in starts and mask[n]]
    assert (positions + 1).tolist() == inner
    assert position_ids(lengths).tolist() == [n for length in lengths for n in range(length)]


ORDERS = st.builds(
    SampleOrder,
    rows=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    epochs=st.integers(1, 3),
    batch=st.sampled_from([4, 8, 12]),
    seed=st.integers(0, 9),
)


def read(order: SampleOrder, workers: int, first_step: int = 0) -> dict[int, list[tuple[int, int, int]]]:
    """Return what all workers read at each step: epoch, shard, row."""
    steps: dict[int, list[tuple[int, int, int]]] = {}
    for rank in range(workers):
        rows = [
            {"position": position, "sample": (visit.epoch, visit.shard, row)}
            for visit in order.visits()
            for position, row in order.positions(visit, rank, workers, first_step)
        ]
        for step, batch in order.batches(rows, first_step):
            assert len(batch) <= order.batch // workers
            steps.setdefault(step, []).extend(row["sample"] for row in batch)
    return {step: sorted(batch) for step, batch in steps.items()}


@given(ORDERS)
@settings(deadline=None)
def test_each_sequence_is_read_once_per_epoch(order):
    everything = sorted(sample for batch in read(order, 2).values() for sample in batch)
    assert everything == [
        (epoch, shard, row) for epoch in range(order.epochs) for shard, n in enumerate(order.rows) for row in range(n)
    ]


@given(ORDERS)
@settings(deadline=None)
def test_batches_are_independent_of_worker_count(order):
    assert read(order, 1) == read(order, 2) == read(order, 4)


@given(ORDERS, st.integers(0, 20))
@settings(deadline=None)
def test_resumed_run_reads_the_same_batches(order, step):
    step = min(step, order.steps)
    whole = read(order, 2)
    assert read(order, 4, step) == {number: batch for number, batch in whole.items() if number >= step}


def test_epochs_have_different_orders():
    order = SampleOrder([40], 2, 4, 0)
    batches = [[row for _, _, row in batch] for batch in read(order, 1).values()]
    assert batches[:10] != batches[10:]


def test_gain_of_all_dialogues_is_significant():
    before = np.random.default_rng(0).uniform(50, 150, 20)
    found = loss_change(before, before * 0.9, [50] * 20, seed=1)
    assert found.significant
    assert found.low < found.change < found.high < 0
    assert found.change == pytest.approx(found.after - found.before)


def test_random_change_is_no_gain():
    draw = np.random.default_rng(0)
    before = draw.uniform(50, 150, 20)
    assert not loss_change(before, before + draw.normal(0, 5, 20), [50] * 20, seed=1).significant
    assert not loss_change([90.0], [80.0], [50], seed=1).significant


def validation(**losses: float) -> pa.Table:
    return pa.table({"dialogue_id": list(losses), "loss": list(losses.values()), "tokens": [10] * len(losses)})


def test_validations_are_compared_on_common_dialogues():
    both = join_validations(validation(d=4.0, a=1.0, b=2.0), validation(b=1.0, c=9.0, d=3.0))
    assert both.select(["dialogue_id", "loss", "loss_after", "tokens"]).to_pydict() == {
        "dialogue_id": ["b", "d"], "loss": [2.0, 4.0], "loss_after": [1.0, 3.0], "tokens": [10, 10],
    }  # fmt: skip
    assert join_validations(validation(a=1.0), validation(b=1.0)).num_rows == 0


def test_dialogue_that_was_validated_in_part_is_not_compared():
    """With another `validation_sequences`, other segments of it were."""
    before, after = validation(a=1.0, b=2.0), validation(a=1.0, b=1.0)
    part = after.set_column(2, "tokens", pa.array([10, 4]))
    assert join_validations(before, part)["dialogue_id"].to_pylist() == ["a"]


def test_dialogues_are_weighted_by_their_tokens():
    found = loss_change([100, 10], [50, 20], [90, 10], seed=1)
    assert found.before == pytest.approx(1.1)
    assert found.change == pytest.approx(-0.4)
