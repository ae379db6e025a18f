"""Faults at seeded random moments, each followed by a look at what it cost, and a check that nothing is lost.

python -m tests.chaos.run --seed 7 --faults 20 --acts synthesis engine training judging
"""

import argparse
import os
import random
import re
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from factory.cli import quiet
from factory.errors import StorageError
from factory.inference import model_files
from factory.storage import file_io
from tests.chaos.acts import ACTS, Act
from tests.chaos.faults import Fault, shown
from tests.chaos.stage import Stage, staged
from tests.integration.runs import Run

AWAY_S = 20.0
"""How long the S3 server is away."""
PATIENCE_S = 600
"""A run that makes no headway for so long hangs."""
SETTLED = ".parquet"
"""Files that are written once: nothing may write them again."""
ROUNDS = 9
"""How often an act is played, each time anew, until it had its faults."""


@dataclass
class Played:
    """One act, from its first start to its end."""

    run: Run
    bag: list[str]
    """The act's kinds that are still to come, before each comes again; all rounds of an act share it."""
    began: float = field(default_factory=time.monotonic)
    faults: list[Fault] = field(default_factory=list)
    written: dict[str, object] = field(default_factory=dict)
    """What must stay as it is: the settled files, with what tells whether they were written again."""


def play(act: Act, stage: Stage, played: Played, wanted: int, draw: random.Random, console: Console) -> None:
    """Run a job to its end through some faults; as few as fit in where it ends before.

    The moment of a fault is drawn while the act's own work goes on: after the first of its files
    since the job was started, or since the last fault.
    """
    process = played.run.start(job=act.job)
    seen: set[str] = set()
    while True:
        code = _headway_or_end(act, played, process, seen)
        if code == 0:
            break
        if code is None:
            _note_recovery(played, console)
            if len(played.faults) < wanted:
                _strike_in(draw.uniform(0, act.work_s / wanted), act, played, stage, process, draw)
        else:
            _must_be_run_again(act, stage, played)
            process = played.run.start(job=act.job)
        seen = _work(act, played.run)
    _note_recovery(played, console)


def _headway_or_end(act: Act, played: Played, process: subprocess.Popen, seen: set[str]) -> int | None:
    """None once there is a new file of the act's work; the status of a run that has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (code := process.poll()) is not None:
            return code
        with suppress(StorageError):
            if _work(act, played.run) - seen:
                return None
        time.sleep(0.2)
    raise AssertionError(f"no headway in {PATIENCE_S} s:\n{played.run.log()}")


def _must_be_run_again(act: Act, stage: Stage, played: Played) -> None:
    """Note that the last fault ended the run, which only the death of its driver may."""
    last = played.faults[-1] if played.faults else None
    if last is None or last.kind != "driver" or last.how == "run again":
        cause = f"after {last.kind} ({last.victim}), {last.how}" if last else "by itself"
        raise AssertionError(f"{act.name} fails {cause}:\n{played.run.log()}")
    last.how, last.back_s = "run again", None


def _strike_in(
    seconds: float, act: Act, played: Played, stage: Stage, process: subprocess.Popen, draw: random.Random
) -> None:
    """Do one fault after a while; none where the run ends before, or has no such process at that moment."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return
    if not played.bag:
        played.bag += draw.sample(act.faults, len(act.faults))
    kind = played.bag[-1]
    listed, flying = _listed(played.run), act.in_flight(stage, played.run)
    at_s = time.monotonic() - played.began
    victim = _do(kind, stage, process, draw)
    if victim is None:
        return
    played.bag.pop()
    struck = time.monotonic()
    if flying is not None:
        flying = max(flying, act.in_flight(stage, played.run) or 0)
    played.written |= {path: tag for path, tag in listed.items() if path.endswith(SETTLED)}
    played.faults.append(Fault(kind, act.name, at_s, victim, len(listed), struck, flying))


def _do(kind: str, stage: Stage, process: subprocess.Popen, draw: random.Random) -> str | None:
    """Do a fault, and say to whom."""
    if kind == "driver":
        process.send_signal(signal.SIGKILL)
        process.wait()
        stage.api.wait_until_idle()
        return f"pid {process.pid}"
    if kind == "node":
        return stage.kill_node(draw)
    if kind == "S3 away":
        return stage.stop_bucket(AWAY_S)
    named = {"vLLM engine": "EngineCore", "Serve replica": "ServeReplica", "training worker": "RayTrainWorker"}
    return stage.kill(draw, named[kind])


def _note_recovery(played: Played, console: Console) -> None:
    if played.faults and played.faults[-1].back_s is None:
        last = played.faults[-1]
        last.back_s = time.monotonic() - last.struck
        console.print(f"  {last.kind} ({last.victim}) at {last.at_s:.0f} s: back after {last.back_s:.0f} s, {last.how}")


def _listed(run: Run) -> dict[str, object]:
    """The files that a run has written, by their paths in its output, with what tells that one was written again."""
    fs, name = file_io.filesystem(run.output)
    with file_io.storage_errors(run.output):
        found = fs.find(name, detail=True)
    paths = {path.removeprefix(f"{name}/"): info for path, info in found.items()}
    own = {path: info for path, info in paths.items() if "/_" not in f"/{path}"}  # no lease, no scratch
    return {path: info.get("ETag") or info.get("mtime") for path, info in own.items()}


def _work(act: Act, run: Run) -> set[str]:
    return {path for path in _listed(run) if re.fullmatch(act.work, path)}


def check(act: Act, stage: Stage, played: Played) -> dict[str, int]:
    """Assert that what was written before a fault is still the same, and what the act says."""
    there = _listed(played.run)
    changed = [path for path, tag in played.written.items() if there.get(path) != tag]
    assert not changed, f"{act.name}: written again or lost: {changed[:5]}"
    return act.check(stage, played.run, played.faults)


def chaos(folder: Path, seed: int, wanted: int, names: list[str], console: Console) -> list[Fault]:
    """Play the acts until there were so many faults, and print the table of them whatever comes.

    Raises:
        AssertionError: something was lost, came twice, was written again, was done again though it was not in
            flight, or hangs; or an act was over too soon for its faults, however often it was played.
    """
    model_files.fetch("embedded")  # made here, before the first fault
    draw = random.Random(seed)
    acts = [act for act in ACTS if act.name in names]
    faults: list[Fault] = []
    try:
        with staged(folder) as stage:
            for number, act in enumerate(acts):
                share = (wanted - len(faults)) // (len(acts) - number)
                _play_until(act, stage, share, draw, console, faults)
    finally:
        console.print(shown(faults))
    return faults


def _play_until(
    act: Act, stage: Stage, wanted: int, draw: random.Random, console: Console, faults: list[Fault]
) -> None:
    """Play an act again and again until it had so many faults, which are added to those of the other acts."""
    left = wanted
    bag: list[str] = []
    for again in range(1, ROUNDS + 1):
        if not left:
            return
        console.print(f"{act.name}: {left} faults")
        played = Played(act.make(stage, f"{act.name}-{again}"), bag)
        try:
            play(act, stage, played, left, draw, console)
        finally:
            faults += played.faults
            for process in played.run.processes:
                if process.poll() is None:  # what hangs
                    process.kill()
        left -= len(played.faults)
        console.print(f"{act.name}: nothing lost, nothing twice; {check(act, stage, played)}")
    if left:
        raise AssertionError(f"{act.name}: only {wanted - left} of {wanted} faults struck in {ROUNDS} rounds")


def main() -> None:
    """Play."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--acts", nargs="+", choices=[act.name for act in ACTS], default=[act.name for act in ACTS])
    asked = parser.parse_args()
    console = Console(file=os.fdopen(os.dup(1), "w"), width=132)  # what libraries write goes elsewhere (`quiet`)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    console.print(f"Logs in {folder}")
    with quiet(verbose=False):
        chaos(folder, asked.seed, asked.faults, asked.acts, console)


if __name__ == "__main__":
    main()
