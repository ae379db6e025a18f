"""The shuffle through files, on local disk."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import StorageError
from factory.storage import file_io, shuffle
from factory.storage.shuffle import FileShuffle, SpillIndex, group_shards

SCHEMA = pa.schema([("key", pa.int64()), ("spill", pa.int64())])


def spill_all(shuffled: FileShuffle, spills: Sequence[Sequence[int]]) -> SpillIndex:
    """Spill rows with these keys, a file for each sequence, and cut the files by partition."""
    files = [
        shuffled.spill(pa.table([keys, [number] * len(keys)], schema=SCHEMA), np.array(keys, np.int64))
        for number, keys in enumerate(spills)
    ]
    index = SpillIndex.of(files)
    if shuffled.groups == 1:
        return index
    tasks = range(shuffled.regrouping_tasks(len(files)))
    regrouped = SpillIndex.of(file for task in tasks for file in shuffled.regroup(index, task))
    shuffled.delete_groups()
    return regrouped


@settings(max_examples=30, deadline=None)
@given(
    spills=st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20), max_size=4),
    partitions=st.integers(1, 11),
    max_of_one_level=st.sampled_from([1, 3, 512]),
)
def test_shuffle_groups_equal_keys(tmp_path_factory, spills, partitions, max_of_one_level):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shuffle, "MAX_PARTITIONS_OF_ONE_LEVEL", max_of_one_level)
        shuffled = FileShuffle(str(tmp_path_factory.mktemp("shuffle")), partitions, SCHEMA)
        index = spill_all(shuffled, spills)
        parts = [shuffled.collect(index, partition).to_pylist() for partition in range(partitions)]
    together = [(row["key"], row["spill"]) for part in parts for row in part]
    assert sorted(together) == sorted((key, number) for number, keys in enumerate(spills) for key in keys)
    assert all(row["key"] % 2**64 % partitions == number for number, part in enumerate(parts) for row in part)


@pytest.mark.parametrize(("partitions", "levels"), [(512, 1), (4096, 2)])
def test_each_pair_of_file_and_part_is_one_range(tmp_path, monkeypatch, partitions, levels):
    """And two levels read as many ranges as twice the files times the root of the partitions."""
    ranges: list[tuple[str, int]] = []
    read = file_io.read_ranges

    def counting(paths: list[str], starts: list[int], ends: list[int]) -> list[bytes]:
        ranges.extend(zip(paths, starts, strict=True))
        return read(paths, starts, ends)

    monkeypatch.setattr(file_io, "read_ranges", counting)
    files = 64
    shuffled = FileShuffle(str(tmp_path), partitions, SCHEMA)
    rows = list(range(partitions * 2))
    index = spill_all(shuffled, [rows[start::files] for start in range(files)])
    for partition in range(partitions):
        assert sorted(shuffled.collect(index, partition)["key"].to_pylist()) == rows[partition::partitions]
    assert len(set(ranges)) == len(ranges) <= (files * partitions if levels == 1 else 2 * files * shuffled.groups)
    assert shuffled.groups == (1 if levels == 1 else 64)


def test_regrouping_is_bounded_by_bytes(tmp_path, monkeypatch):
    """One group may hold all rows, such as the dialogues of one character."""
    monkeypatch.setattr(shuffle, "MAX_PARTITIONS_OF_ONE_LEVEL", 1)
    monkeypatch.setattr(shuffle, "BYTES_PER_SPILL", 1000)
    shuffled = FileShuffle(str(tmp_path), 100, SCHEMA)
    index = spill_all(shuffled, [[7] * 100] * 30)
    assert 4 <= len(index.files) < 30
    assert index.groups.tolist() == [0] * len(index.files)
    assert shuffled.collect(index, 7).num_rows == 3000


@pytest.mark.parametrize("content", [b"", b"damaged" * 200])
def test_a_damaged_file_names_itself_and_the_remedy(tmp_path, content):
    shuffled = FileShuffle(str(tmp_path), 2, SCHEMA)
    index = spill_all(shuffled, [[1, 2, 3]])
    (file,) = Path(tmp_path).glob("*.arrow")
    file.write_bytes(content)
    with pytest.raises(StorageError, match=rf"{file}: is damaged.*; run the same command again$"):
        shuffled.collect(index, 0)


def test_small_shards_share_spill_files(tmp_path, monkeypatch):
    schema = pa.schema([("key", pa.int64())])
    shuffled = FileShuffle(str(tmp_path), 3, schema)
    shards = [str(number) for number in range(104)]
    assert [len(group) for group in group_shards(shards, 20_000)] == [104]
    assert [len(group) for group in group_shards(shards, 156_000)] == [26] * 4
    assert group_shards([], 0) == [[]]

    def spilled() -> SpillIndex:
        rows = lambda shard: pa.table({"key": [int(shard)] * 19, "other": [0] * 19})  # noqa: E731
        groups = group_shards(shards, 20_000)
        return SpillIndex.of(file for group in groups for file in shuffled.spill_shards(group, rows, keys))

    def keys(rows: pa.Table) -> np.ndarray:
        return rows["key"].to_numpy()

    single = spilled()
    assert len(single.files) == 1
    monkeypatch.setattr(shuffle, "BYTES_PER_SPILL", 4_000)
    several = spilled()
    assert len(several.files) == 4, "memory is bounded"
    for partition in range(3):
        expected = [number for number in range(partition, 104, 3) for _ in range(19)]
        assert shuffled.collect(single, partition)["key"].to_pylist() == expected
        assert sorted(shuffled.collect(several, partition)["key"].to_pylist()) == expected
