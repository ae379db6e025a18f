"""The shuffle through files on Ray and S3: each pair of a file and a part costs at most one request."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from werkzeug.serving import WSGIRequestHandler

from factory.runtime.exchange import exchange_shards
from factory.storage.shuffle import MAX_PARTITIONS_OF_ONE_LEVEL, FileShuffle

SCHEMA = pa.schema([("key", pa.int64()), ("text", pa.string())])
FILES, ROWS = 24, 600


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str, str]]:
    """Count the requests to the server, from all processes, by method, path and range of bytes."""
    seen: Counter[tuple[str, str, str]] = Counter()

    def count(handler: WSGIRequestHandler, code: object = "-", size: object = "-") -> None:
        seen[handler.command, handler.path.partition("?")[0], handler.headers.get("Range", "")] += 1

    monkeypatch.setattr(WSGIRequestHandler, "log_request", count)
    return seen


def read_shard(shard: int) -> pa.Table:
    keys = np.arange(shard, FILES * ROWS, FILES)
    return pa.table([keys, [f"text {key}" for key in keys.tolist()]], schema=SCHEMA)


def keys_of(rows: pa.Table) -> np.ndarray:
    return rows["key"].to_numpy()


@pytest.mark.parametrize("partitions", [5, MAX_PARTITIONS_OF_ONE_LEVEL + 17])
def test_collecting_requests_each_range_once(s3, session, requests, partitions):
    shuffle = FileShuffle(f"{s3}/shuffle-{partitions}", partitions, SCHEMA)
    groups = shuffle.groups
    assert (groups > 1) == (partitions > MAX_PARTITIONS_OF_ONE_LEVEL)
    exchanged = exchange_shards(shuffle, range(FILES), FILES * ROWS, read_shard, keys_of, rows_per_spill=ROWS)
    folder = f"/factory-test/shuffle-{partitions}/"
    reads = [key for key in requests if key[0] == "GET" and key[1].startswith(folder)]
    assert len(reads) == (FILES * groups if groups > 1 else 0), "one for each file and group"
    written = {path for method, path, _ in requests if method == "PUT" and path.startswith(folder)}
    requests.clear()

    found = [exchanged.collect(partition) for partition in range(partitions)]
    assert [sorted(rows["key"].to_pylist()) for rows in found] == [
        list(range(partition, FILES * ROWS, partitions)) for partition in range(partitions)
    ]
    assert {method for method, *_ in requests} == {"GET"}, "no HEAD, no listing"
    assert max(requests.values()) == 1
    files = {path for _, path, _ in requests}
    assert files <= written
    pairs = FILES * partitions if groups == 1 else len(files) * shuffle.width
    assert len(files) <= (FILES if groups == 1 else shuffle.regrouping_tasks(FILES))
    assert sum(requests.values()) <= pairs
    if groups > 1:
        assert sum(requests.values()) + len(reads) < FILES * partitions, "less than with one level"
    shuffle.delete()
