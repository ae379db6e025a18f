"""Faults at seeded random moments, each followed by a look at what it cost, and a check that nothing is lost.

python -m tests.chaos.run --seed 7 --faults 20 --acts synthesis engine training judging
"""

import argparse
import random
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from factory import models, storage
from factory.errors import StorageError
from tests.chaos.acts import ACTS, Act
from tests.chaos.stage import Stage, staged
from tests.integration.runs import Run

AWAY_S = 20.0
"""How long the S3 server is away."""
PATIENCE_S = 600
"""A run that makes no headway for so long hangs."""
SETTLED = ".parquet"
"""Files that are written once: nothing may write them again."""


@dataclass
class Fault:
    """What was done to a run, and how it came back."""

    kind: str
    act: str
    at_s: float
    """Seconds since the act began."""
    victim: str
    files: int
    """What had been written by then."""
    struck: float
    """On the monotonic clock."""
    back_s: float | None = None
    """Seconds until the next file."""
    how: str = "by itself"


@dataclass
class Played:
    """One act, from its first start to its end."""

    run: Run
    began: float = field(default_factory=time.monotonic)
    faults: list[Fault] = field(default_factory=list)
    bag: list[str] = field(default_factory=list)
    """The kinds that are still to come, before each comes again."""
    written: dict[str, object] = field(default_factory=dict)
    """What must stay as it is: the settled files, with what tells whether they were written again."""


def play(act: Act, stage: Stage, name: str, wanted: int, draw: random.Random, console: Console) -> Played:
    """Run a job to its end through some faults; as few as fit in where it ends before."""
    played = Played(act.make(stage, name))
    process = played.run.start(job=act.job)
    quiet_s = act.calm_s / (2 * max(1, wanted))
    mark = 0
    while True:
        now = _wait_for_headway(played, process, mark)
        if now is None:
            code = process.wait()
            if code == 0:
                break
            if not played.faults:
                raise AssertionError(f"{act.name} fails by itself:\n{played.run.log()}")
            if played.faults[-1].how == "run again":
                raise AssertionError(f"{act.name} cannot be run again:\n{played.run.log()}")
            played.faults[-1].how, played.faults[-1].back_s = "run again", None
            mark = _files(played.run)[0]
            process = played.run.start(job=act.job)
            continue
        _note_recovery(played, console)
        if len(played.faults) < wanted:
            time.sleep(draw.uniform(0, 2 * quiet_s))
            if process.poll() is None:
                _strike(act, played, stage, process, draw)
        mark = now if process.poll() is not None else _files(played.run)[0]
    _note_recovery(played, console)
    return played


def _strike(act: Act, played: Played, stage: Stage, process: subprocess.Popen, draw: random.Random) -> None:
    """Do one fault; none where the process that it is for is not there at this moment."""
    played.bag = played.bag or draw.sample(act.faults, len(act.faults))
    kind = played.bag.pop()
    files, settled = _files(played.run)
    at_s = time.monotonic() - played.began
    victim: str | None
    if kind == "driver":
        process.send_signal(signal.SIGKILL)
        process.wait()
        victim = f"pid {process.pid}"
    elif kind == "node":
        victim = stage.kill_node(draw)
    elif kind == "S3 away":
        victim = stage.stop_bucket(AWAY_S)
    else:
        named = {"vLLM engine": "EngineCore", "Serve replica": "ServeReplica", "training worker": "RayTrainWorker"}
        victim = stage.kill(draw, named[kind])
    if victim is None:
        return
    played.written |= settled
    played.faults.append(Fault(kind, act.name, at_s, victim, files, time.monotonic()))


def _note_recovery(played: Played, console: Console) -> None:
    if played.faults and played.faults[-1].back_s is None:
        last = played.faults[-1]
        last.back_s = time.monotonic() - last.struck
        console.print(f"  {last.kind} ({last.victim}) at {last.at_s:.0f} s: back after {last.back_s:.0f} s, {last.how}")


def _wait_for_headway(played: Played, process: subprocess.Popen, mark: int) -> int | None:
    """The number of files once it is above the mark; None once the process has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return None
        with suppress(StorageError):
            files, _ = _files(played.run)
            if files > mark:
                return files
        time.sleep(0.2)
    raise AssertionError(f"no headway in {PATIENCE_S} s:\n{played.run.log()}")


def _files(run: Run) -> tuple[int, dict[str, object]]:
    """How many files a run has written, and those of them that are written once."""
    fs, name = storage.filesystem(run.output)
    with storage.storage_errors(run.output):
        found = fs.find(name, detail=True)
    own = {path: info for path, info in found.items() if "/_" not in path.removeprefix(name)}  # no lease, no scratch
    settled = {path: info.get("ETag") or info.get("mtime") for path, info in own.items() if path.endswith(SETTLED)}
    return len(own), settled


def check(act: Act, stage: Stage, played: Played) -> dict[str, int]:
    """Assert that what was written before a fault is still the same, and what the act says."""
    _, settled = _files(played.run)
    changed = [path for path, tag in played.written.items() if settled.get(path) != tag]
    assert not changed, f"{act.name}: written again or lost: {changed[:5]}"
    return act.check(stage, played.run)


def shown(faults: list[Fault]) -> Table:
    """The table of faults and recoveries."""
    table = Table("no.", "act", "fault", "whom", "at", "files there", "back after", "how", title="Faults")
    for number, fault in enumerate(faults, 1):
        when, back = f"{fault.at_s:.0f} s", f"{fault.back_s or 0:.0f} s"
        table.add_row(str(number), fault.act, fault.kind, fault.victim, when, str(fault.files), back, fault.how)
    return table


def chaos(folder: Path, seed: int, wanted: int, names: list[str], console: Console) -> list[Fault]:
    """Play the acts until there were so many faults.

    Raises:
        AssertionError: something was lost, came twice, was written again or hangs.
    """
    models.fetch("embedded")  # made here, before the first fault
    draw = random.Random(seed)
    acts = [act for act in ACTS if act.name in names]
    faults: list[Fault] = []
    with staged(folder) as stage:
        for number, act in enumerate(acts):
            left = (wanted - len(faults)) // (len(acts) - number)
            goal = len(faults) + left
            for again in range(1, 10):
                if len(faults) >= goal:
                    break
                console.print(f"{act.name}: {goal - len(faults)} faults")
                played = play(act, stage, f"{act.name}-{again}", goal - len(faults), draw, console)
                faults += played.faults
                figures = check(act, stage, played)
                console.print(f"{act.name}: nothing lost, nothing twice; {figures}")
    return faults


def main() -> None:
    """Play, and print the table."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--acts", nargs="+", choices=[act.name for act in ACTS], default=[act.name for act in ACTS])
    asked = parser.parse_args()
    console = Console(width=120)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    console.print(f"Logs in {folder}")
    console.print(shown(chaos(folder, asked.seed, asked.faults, asked.acts, console)))


if __name__ == "__main__":
    main()
