"""The input table of a benchmark of an engine's step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Numbered:
    """A row of the table of work."""

    number: int


def numbered(output: str, count: int):
    """Return a finished table of `count` rows with a `number`, in shards of the factory's usual size."""
    import pyarrow as pa

    from factory.storage.tables import Table, rows_per_shard

    work = Table(output, "work")
    size = rows_per_shard(count)
    for start in range(0, count, size):
        numbers = list(range(start, min(start + size, count)))
        work.write_arrow(f"{start:06}", pa.table({"number": numbers, "status": ["ok"] * len(numbers)}))
    work.finish({"ok": count, "fingerprint": "bench"})
    return work
