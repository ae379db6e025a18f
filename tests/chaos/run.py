"""Injects faults at seeded random moments, records their cost, and checks that nothing is lost.

python -m tests.chaos.run --seed 7 --faults 20 --scenarios synthesis replicas engine training judging
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
from tests.chaos.faults import Fault, faults_table
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.testbed import Testbed, open_testbed
from tests.integration.runs import Run

S3_OUTAGE_S = 20.0
"""Duration of an outage of the S3 server."""
S3_ERRORS_S = 10.0
"""For how long the S3 server refuses requests."""
PROCESSES = {
    "vLLM engine": "EngineCore",
    "engine replica": "ray::EngineReplica",
    "task": "ray::Map",
    "Serve replica": "ServeReplica",
    "training worker": "RayTrainWorker",
}
"""What the command of a victim contains. Ray kills a task likewise when a node is short of memory."""
STALL_TIMEOUT_S = 600
"""A run without progress for this time hangs."""
WRITE_ONCE = ".parquet"
"""Suffix of files that are written once and must not be written again."""
MAX_ROUNDS = 9
"""Maximum number of runs of a scenario to inject all its faults."""


@dataclass
class Execution:
    """One run of a scenario, from its first start to its end."""

    run: Run
    remaining_kinds: list[str]
    """The kinds of faults left before each is used again; shared by all rounds of a scenario."""
    began: float = field(default_factory=time.monotonic)
    faults: list[Fault] = field(default_factory=list)
    written: dict[str, object] = field(default_factory=dict)
    """Write-once files, with a tag that changes if they are written again."""


def execute(
    scenario: Scenario, testbed: Testbed, execution: Execution, target: int, rng: random.Random, console: Console
) -> None:
    """Run a job to its end while injecting up to `target` faults.

    The time of a fault is drawn while the scenario makes progress: after its first file since the start of
    the job, or since the last fault.
    """
    process = execution.run.start(job=scenario.job)
    seen: set[str] = set()
    while True:
        code = _wait_for_progress(scenario, execution, process, seen)
        if code == 0:
            break
        if code is None:
            _record_recovery(execution, console)
            if len(execution.faults) < target:
                _inject_after(rng.uniform(0, scenario.work_s / target), scenario, execution, testbed, process, rng)
        else:
            _check_restart(scenario, testbed, execution)
            process = execution.run.start(job=scenario.job)
        seen = _work(scenario, execution.run)
    _record_recovery(execution, console)


def _wait_for_progress(
    scenario: Scenario, execution: Execution, process: subprocess.Popen, seen: set[str]
) -> int | None:
    """Wait for a new file of the scenario and return None, or return the exit status of a run that ended."""
    deadline = time.monotonic() + STALL_TIMEOUT_S
    while time.monotonic() < deadline:
        if (code := process.poll()) is not None:
            return code
        with suppress(StorageError):
            if _work(scenario, execution.run) - seen:
                return None
        time.sleep(0.2)
    raise AssertionError(f"no progress in {STALL_TIMEOUT_S} s:\n{execution.run.log()}")


def _check_restart(scenario: Scenario, testbed: Testbed, execution: Execution) -> None:
    """Record that the last fault ended the run; only a killed driver may do so."""
    last = execution.faults[-1] if execution.faults else None
    if last is None or last.kind != "driver" or last.how == "run again":
        cause = f"after {last.kind} ({last.victim}), {last.how}" if last else "by itself"
        raise AssertionError(f"{scenario.name} fails {cause}:\n{execution.run.log()}")
    last.how, last.back_s = "run again", None


def _inject_after(
    seconds: float,
    scenario: Scenario,
    execution: Execution,
    testbed: Testbed,
    process: subprocess.Popen,
    rng: random.Random,
) -> None:
    """Inject a fault after some seconds, unless the run ends before or has no such process."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return
    if not execution.remaining_kinds:
        execution.remaining_kinds += rng.sample(scenario.faults, len(scenario.faults))
    kind = execution.remaining_kinds[-1]
    listed, count = _list_files(execution.run), scenario.in_flight(testbed, execution.run)
    at_s = time.monotonic() - execution.began
    victim = _inject(kind, testbed, process, rng)
    if victim is None:
        return
    execution.remaining_kinds.pop()
    struck = time.monotonic()
    if count is not None:
        count = max(count, scenario.in_flight(testbed, execution.run) or 0)
    execution.written |= {path: tag for path, tag in listed.items() if path.endswith(WRITE_ONCE)}
    execution.faults.append(Fault(kind, scenario.name, at_s, victim, len(listed), struck, count))


def _inject(kind: str, testbed: Testbed, process: subprocess.Popen, rng: random.Random) -> str | None:
    """Inject a fault, and return its victim."""
    if kind == "driver":
        process.send_signal(signal.SIGKILL)
        process.wait()
        testbed.api.wait_until_idle()
        return f"pid {process.pid}"
    if kind == "node":
        return testbed.kill_node(rng)
    if kind == "S3 outage":
        return testbed.stop_bucket(S3_OUTAGE_S)
    if kind == "S3 errors":
        return testbed.disturb_bucket(rng, S3_ERRORS_S)
    if kind == "clock":
        return testbed.shift_clock(rng)
    if kind == "clock forward":
        return testbed.advance_clock(rng)
    return testbed.kill(rng, PROCESSES[kind])


def _record_recovery(execution: Execution, console: Console) -> None:
    if execution.faults and execution.faults[-1].back_s is None:
        last = execution.faults[-1]
        last.back_s = time.monotonic() - last.struck
        console.print(f"  {last.kind} ({last.victim}) at {last.at_s:.0f} s: back after {last.back_s:.0f} s, {last.how}")


def _list_files(run: Run) -> dict[str, object]:
    """Return a run's files by path, with a tag that changes if a file is written again."""
    fs, name = file_io.filesystem(run.output)
    with file_io.storage_errors(run.output):
        found = fs.find(name, detail=True)
    paths = {path.removeprefix(f"{name}/"): info for path, info in found.items()}
    own = {path: info for path, info in paths.items() if "/_" not in f"/{path}"}  # without locks and temporary files
    return {path: info.get("ETag") or info.get("mtime") for path, info in own.items()}


def _work(scenario: Scenario, run: Run) -> set[str]:
    return {path for path in _list_files(run) if re.fullmatch(scenario.work, path)}


def check(scenario: Scenario, testbed: Testbed, execution: Execution) -> dict[str, int]:
    """Assert that files written before a fault are unchanged, and the scenario's own conditions."""
    current = _list_files(execution.run)
    changed = [path for path, tag in execution.written.items() if current.get(path) != tag]
    assert not changed, f"{scenario.name}: written again or lost: {changed[:5]}"
    return scenario.check(testbed, execution.run, execution.faults)


def chaos(folder: Path, seed: int, target: int, names: list[str], console: Console) -> list[Fault]:
    """Run the scenarios until all faults are injected, and print the table of faults in any case.

    Raises:
        AssertionError: something was lost, duplicated, written again, or repeated although it was not in flight; a
            run hangs; or the faults of a scenario could not be injected in `MAX_ROUNDS` runs.
    """
    model_files.fetch("embedded")  # converted before the first fault
    rng = random.Random(seed)
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in names]
    faults: list[Fault] = []
    try:
        with open_testbed(folder) as testbed:
            for number, scenario in enumerate(scenarios):
                share = (target - len(faults)) // (len(scenarios) - number)
                _run_until(scenario, testbed, share, rng, console, faults)
    finally:
        console.print(faults_table(faults))
    return faults


def _run_until(
    scenario: Scenario, testbed: Testbed, target: int, rng: random.Random, console: Console, faults: list[Fault]
) -> None:
    """Run a scenario repeatedly until `target` faults are injected, which are added to `faults`."""
    left = target
    remaining_kinds: list[str] = []
    for again in range(1, MAX_ROUNDS + 1):
        if not left:
            return
        console.print(f"{scenario.name}: {left} faults")
        execution = Execution(scenario.make(testbed, f"{scenario.name}-{again}"), remaining_kinds)
        try:
            execute(scenario, testbed, execution, left, rng, console)
        finally:
            faults += execution.faults
            for process in execution.run.processes:
                if process.poll() is None:  # it hangs
                    process.kill()
        left -= len(execution.faults)
        console.print(f"{scenario.name}: nothing lost, nothing twice; {check(scenario, testbed, execution)}")
    if left:
        raise AssertionError(f"{scenario.name}: only {target - left} of {target} faults struck in {MAX_ROUNDS} rounds")


def main() -> None:
    """Run the chaos test."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--faults", type=int, default=20)
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenarios", nargs="+", choices=names, default=names)
    arguments = parser.parse_args()
    console = Console(file=os.fdopen(os.dup(1), "w"), width=132)  # `quiet` redirects the output of libraries
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    console.print(f"Logs in {folder}")
    with quiet(verbose=False):
        chaos(folder, arguments.seed, arguments.faults, arguments.scenarios, console)


if __name__ == "__main__":
    main()
