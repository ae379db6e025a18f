"""The tables of example replies: each judge writes those of a share of the questions, and all are read as one.

A question has the examples of one judge, which all judges of all candidates are shown. A judge that is added to a run
writes none, since other examples would make all judgments stale. Those of a frozen benchmark are in its folder, for all
runs on it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa

from factory.config import RunConfig
from factory.personagym import Benchmark
from factory.run_output import layout
from factory.storage.bucket_keys import MAX_CONCURRENCY
from factory.storage.joined_table import JoinedTable
from factory.storage.tables import Table, compute_fingerprint


@dataclass(frozen=True)
class QuestionShare(Table):
    """The shards of a table of questions whose numbers leave a remainder."""

    remainder: int
    divisor: int

    def shards(self) -> list[str]:
        """Return the sorted names of the share's shards."""
        return [shard for shard in super().shards() if int(shard) % self.divisor == self.remainder]

    def manifest(self) -> dict[str, Any] | None:
        """Return the table's manifest, with the rows of the share and a fingerprint of its own."""
        whole = super().manifest()
        if whole is None:
            return None
        share = {"whole": whole["fingerprint"], "share": [self.remainder, self.divisor]}
        rows = _count_rows(Table(self.output, self.name), tuple(self.shards()), whole["fingerprint"])
        return whole | {"ok": rows, "rows_in": rows, "fingerprint": compute_fingerprint(share)}


@lru_cache(maxsize=256)
def _count_rows(table: Table, shards: tuple[str, ...], _fingerprint: str) -> int:
    with ThreadPoolExecutor(MAX_CONCURRENCY) as pool:
        return sum(pool.map(lambda shard: table.read(shard, ["status"]).num_rows, shards))


@dataclass(frozen=True)
class SplitTable(Table):
    """Tables that together have the shards of one, in turn; it has no files of its own."""

    parts: tuple[Table, ...]

    def manifest(self) -> dict[str, Any] | None:
        """Return the accepted rows of all parts, with a fingerprint of all; None while one is not finished."""
        manifests = [manifest for part in self.parts if (manifest := part.manifest()) is not None]
        if len(manifests) < len(self.parts):
            return None
        made = [[manifest["fingerprint"], manifest["finished"]] for manifest in manifests]
        rows = sum(manifest["ok"] for manifest in manifests)
        return {"fingerprint": compute_fingerprint({"parts": made}), "finished": None, "ok": rows}

    def shards(self) -> list[str]:
        """Return the sorted names of the shards of all parts."""
        return sorted(shard for part in self.parts for shard in part.shards())

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of a shard."""
        return self.parts[int(shard) % len(self.parts)].read(shard, columns)


def example_writers(config: RunConfig) -> list[str]:
    """Return the sorted names of the judges that write examples.

    They are those that have begun to, or all in a new run, but no more than the questions have shards.
    """
    if config.evaluation.example_writer:
        return [config.evaluation.example_writer]
    names = [judge.name for judge in config.evaluation.judges]
    begun = [name for name in names if layout.SCORE_EXAMPLES.table(config.output, judge=name).inputs() is not None]
    shards = len(layout.BENCHMARK_QUESTIONS.table(config.output).shards())
    return sorted(begun) or sorted(names)[: max(1, shards)]


def question_shares(config: RunConfig, benchmark: Benchmark) -> dict[str, Table]:
    """Return the questions to which each judge writes the examples; none where the benchmark has them."""
    if benchmark.frozen:
        return {}
    writers, questions = example_writers(config), layout.BENCHMARK_QUESTIONS.table(config.output)
    if len(writers) == 1:
        return {writers[0]: questions}
    return {
        name: QuestionShare(questions.output, questions.name, number, len(writers))
        for number, name in enumerate(writers)
    }


def all_examples(config: RunConfig, benchmark: Benchmark) -> Table:
    """Return the examples of all questions as one table."""
    frozen = benchmark.frozen
    output, writers = (benchmark.folder, frozen.writers) if frozen else (config.output, example_writers(config))
    tables = [layout.SCORE_EXAMPLES.table(output, judge=name) for name in writers]
    return tables[0] if len(tables) == 1 else SplitTable(output, layout.SCORE_EXAMPLES.glob, tuple(tables))


def count_examples(config: RunConfig, benchmark: Benchmark) -> int:
    """Return how many of a run's questions have examples."""
    examples, questions = all_examples(config, benchmark), layout.BENCHMARK_QUESTIONS.table(config.output)
    if not benchmark.frozen or config.evaluation.limit is None:
        return int((examples.manifest() or {})["ok"])
    joined = JoinedTable.of(questions, examples, "question_id", "examples")
    return sum(len(rows) - rows["examples"].null_count for rows in map(joined.read, joined.shards()))
