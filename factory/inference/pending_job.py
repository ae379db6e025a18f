"""A job whose table is not finished, and what is left of it."""

from dataclasses import dataclass

from factory.config import TokenPrices
from factory.inference.accept_quota import AcceptQuota
from factory.inference.generation_step import TableJob
from factory.inference.spending import OpenWork
from factory.records import Counts
from factory.storage import file_io


@dataclass(frozen=True)
class PendingJob:
    """A job whose table is not finished, with its finished and its pending shards."""

    job: TableJob
    fingerprint: str
    rows_in: int
    done: list[str]
    pending: list[str]
    """`_count_done` adds finished shards that cannot be read; those of a wave that is written move to `done`."""
    prices: TokenPrices | None
    """Of the engine's tokens; None if they are not known."""
    quota: AcceptQuota

    def rows_of(self, shards: int, written: Counts) -> float:
        """Return how many rows pending shards have, on average."""
        return (self.rows_in - written.rows) * shards / max(1, len(self.pending))

    def work(self, written: Counts) -> OpenWork:
        """Return what is left to do, as far as it is known to be needed, for the budget."""
        sampling = self.job.engine.sampling
        shards = self.quota.next_wave(len(self.pending), self.rows_of(1, written), written.rows)
        return OpenWork(shards, self.rows_of(1, written), sampling.max_tokens, self.prices, written)

    def short(self, written: Counts) -> str:
        """Return how many accepted rows there are, in words, as long as more are needed."""
        return "" if self.quota.goal is None or self.quota.is_reached else self.quota.text(self.job.table.name, written)

    @property
    def state(self) -> str:
        """The folder for what its engine must find again after a kill."""
        return file_io.join(self.job.table.temporary_folder, self.fingerprint)
