"""Training speed: packed against padded sequences, and our loop against the transformers Trainer and TRL's SFTTrainer.

The dialogues are the sample ones with a system prompt of the paper's size. All sides train the
embedded model on one CPU worker with all cores, or on one GPU, and count real tokens, not padding.
Our loop and the others run at the same time and take turns, one step each: the speed of a shared
machine changes twofold within seconds, so runs one after the other would compare the machine with itself.
BENCH_MODEL names another model, and BENCH_TRAINING further settings of our loop as JSON.
"""

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil

from tests.benchmarks.training_sides import RESULT, STEP, STEPS, packed_rows, size, write_curated

OTHERS = ("trainer", "trl")


class Side:
    """A training in its own process, paused except for one step at a time; the first one is done."""

    def __init__(self, name: str, output: str) -> None:
        self.log = Path(output, f"{name}.log")
        with self.log.open("w") as log:
            self.child = subprocess.Popen(_command(name, output), stdout=subprocess.PIPE, stderr=log, text=True)
        self._hear()
        root = psutil.Process(self.child.pid)
        workers = [child for child in root.children(recursive=True) if child.name().startswith("ray::RayTrain")]
        self.trains = workers or [root]
        self._signal(signal.SIGSTOP)

    def step(self) -> float:
        """Run one step, and return its seconds; what runs before the pause is missing from the next one's."""
        started = time.monotonic()
        self._signal(signal.SIGCONT)
        self._hear()
        self._signal(signal.SIGSTOP)
        return time.monotonic() - started

    def close(self) -> None:
        """Let it run to its end."""
        with suppress(psutil.NoSuchProcess):
            self._signal(signal.SIGCONT)
        self.child.communicate()

    def _hear(self) -> None:
        assert self.child.stdout
        if not any(STEP in line for line in self.child.stdout):
            raise SystemExit(f"{self.log.stem} ended: {self.log.read_text()[-3000:]}")

    def _signal(self, which: signal.Signals) -> None:
        for process in self.trains:
            process.send_signal(which)


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """Return tokens per second of our loop over each other's, and of packed over padded.

    Of the pairs of steps in each turn: the median, and its 95 % interval.
    """
    with tempfile.TemporaryDirectory() as output:
        write_curated(output)
        # Ours packs, and so is first; one that fails must not leave the others standing still.
        with ExitStack() as stack:
            sides = [stack.enter_context(closing(Side(name, output))) for name in ("ours", *OTHERS)]
            seconds = [[side.step() for side in sides] for _ in range(STEPS)]
        # A step's on average: packed sequences are full but for a few hundredths.
        own = size().batch * statistics.mean(len(row["input_ids"]) for row in packed_rows(output))
        tokens = {"ours": own, "trainer": own, "trl": float(Path(output, "trl.tokens").read_text())}
        rates = {name: [tokens[name] / turn[number] for turn in seconds] for number, name in enumerate(tokens)}
        figures = {}
        for name, speeds in rates.items():
            say(f"  {name}: {statistics.median(speeds):,.1f} tokens/s")
        for name in OTHERS:
            ratios = [mine / theirs for mine, theirs in zip(rates["ours"], rates[name], strict=True)]
            low, high = median_interval(ratios)
            figures |= {f"ours over {name}": statistics.median(ratios), f"ours over {name}, at least": low}
            say(f"  ours over {name}: {statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}], {STEPS} pairs")
        return figures | {"packed over padded": _padding(output)}


def median_interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of a median, from the order of the values alone."""
    from scipy.stats import quantile_test

    interval = quantile_test(values, p=0.5).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def _padding(output: str) -> float:
    done = subprocess.run(_command("padding", output), capture_output=True, text=True, check=False)
    if RESULT not in done.stdout:
        raise SystemExit(f"padding: {done.stdout[-1000:]} {done.stderr[-3000:]}")
    return float(done.stdout.split(RESULT)[1].split()[0])


def _command(name: str, output: str) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.training_sides", name, output]
