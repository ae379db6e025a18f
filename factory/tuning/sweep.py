"""Which settings to try: one after the other, each from the best of those before it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Settings = Mapping[str, Any]
"""vLLM's, by their names in `engine_kwargs`."""

MIN_GAIN = 0.05
"""By how much better a setting must be: two trials of the same engine differ by 2 to 8 percent."""
PARALLEL = (1, 2, 4, 8)
BATCHED_TOKENS = (4096, 8192, 16_384)
NGRAM = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_min": 2, "prompt_lookup_max": 4}
SUFFIX = {"method": "suffix", "num_speculative_tokens": 16}
NAMES = ("tensor_parallel_size", "max_num_seqs", "max_num_batched_tokens", "speculative_config")
"""In the order in which they are tried: how many rows fit follows from the GPUs of a replica."""


@dataclass(frozen=True)
class SweepLimits:
    """What limits the settings."""

    gpus: int
    """Of a node; 0 on a CPU."""
    has_suffix: bool
    """Whether the package is installed without which vLLM cannot speculate by suffixes."""


@dataclass(frozen=True)
class Trial:
    """A small run with changed settings."""

    changes: Settings
    """From the config's own."""
    tokens_per_second: float = 0.0
    """Of one replica."""
    cost: float = float("inf")
    """Of the whole run: seconds of one GPU, or of one replica on a CPU."""
    problem: str = ""
    """Why there is no cost."""

    @property
    def title(self) -> str:
        """What it tries, in words."""
        parts = (f"{name} {_words(value)}" for name, value in self.changes.items())
        return ", ".join(parts) or "the config's settings"


def _words(value: Any) -> str:
    return str(value.get("method")) if isinstance(value, dict) else f"{value:,}" if isinstance(value, int) else "off"


def sweep(
    names: tuple[str, ...],
    values_of: Callable[[Settings], Settings],
    limits: SweepLimits,
    run: Callable[[Settings], Trial],
) -> Iterator[tuple[Trial, Trial]]:
    """Yield each trial with the best one so far; the first is that of the config's own settings.

    Args:
        names: those of `NAMES` to change.
        values_of: returns the values that an engine gets with some changes, given or by default.
        limits: of the settings.
        run: tries changes.
    """
    best = run({})
    yield best, best
    for name in (name for name in NAMES if name in names):
        before = best
        for values in _directions(name, values_of(best.changes).get(name), limits):
            for value in values:
                trial = run({**best.changes, name: value})
                is_better = trial.cost < best.cost * (1 - MIN_GAIN)
                best = trial if is_better else best
                yield trial, best
                if not is_better:
                    break
            if best is not before:
                break


def _directions(name: str, now: Any, limits: SweepLimits) -> list[list[Any]]:
    """Return lists of values; one is left at the first value that is no better, and the next begun if none was."""
    if name == "max_num_seqs":
        return [[now * 2, now * 4], [now // 2] if now > 1 else []]
    if name == "speculative_config":
        return [[None]] if now else [[SUFFIX] if limits.has_suffix else [], [NGRAM]]
    if not limits.gpus:
        return []
    known = [value for value in PARALLEL if value <= limits.gpus] if name == "tensor_parallel_size" else BATCHED_TOKENS
    return [[value for value in known if value > now], [value for value in reversed(known) if value < now]]
