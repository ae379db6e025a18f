"""The table of work that a benchmark gives to an engine's step."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Numbered:
    """A row of the table of work."""

    number: int


def numbered(output: str, count: int):
    """A finished table of so many rows with a `number` each, cut into shards as the factory cuts its own."""
    import pyarrow as pa

    from factory.storage.tables import Table, rows_per_shard

    work = Table(output, "work")
    size = rows_per_shard(count)
    for start in range(0, count, size):
        numbers = list(range(start, min(start + size, count)))
        work.write_arrow(f"{start:06}", pa.table({"number": numbers, "status": ["ok"] * len(numbers)}))
    work.finish({"ok": count, "fingerprint": "bench"})
    return work
