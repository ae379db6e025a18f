"""Memory and time of the whole way from file to profiles with the `scripted` engine, and with more replicas of it.

Peak memory is the proportional set size of the job and every process that it started, so that
shared memory counts once.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PROFILE = {
    "name": "Ada Oduya",
    "age": "34",
    "gender": "female",
    "race": "Black",
    "birth_place": "Lagos",
    "appearance": "Tall and broad in the shoulders, with short hair going grey at the temples and an apron that is "
    "never quite clean. She wears her father's watch on the right wrist.",
    "experience": "She grew up behind a fish stall in Lagos and learned baking from an aunt who had worked on ships. "
    "At nineteen she won a place at a cookery school in Accra, and left it after a quarrel over salt. Two loans and a "
    "flood later she opened a shop of her own, which feeds a school, a barracks and half a street. Last winter she "
    "refused to sell it to a chain.",
    "personality": "Patient with dough and short with people, she says what she thinks in few words and regrets it by "
    "evening. She counts under her breath, remembers every debt, and forgives most of them before they are paid.",
}
"""A profile of the size that the paper's have."""


def write_personas(path: Path, count: int) -> None:
    """So many distinct personas of about 120 bytes."""
    with path.open("w") as file:
        for number in range(count):
            sentence = (
                f"A baker, the {number}th of a large family, who counts loaves aloud and never sells the last one."
            )
            file.write(json.dumps({"persona": sentence}) + "\n")


SLOTS, REPLY_S, ROWS = 64, 2.0, 2000
"""Of a replica that takes time: its slots, the mean duration of a reply (lognormal, sigma 0.8), and its rows."""


def run(count: int, **engine: object) -> dict[str, float]:
    """Measure one run over `count` personas: its seconds and peak bytes, and the manifest's figures of its engines."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "personas.jsonl"
        write_personas(source, count)
        config = Path(folder) / "run.json"
        engine = {"kind": "scripted", "default": json.dumps(PROFILE), **engine}
        config.write_text(
            json.dumps({"output": f"{folder}/run", "engine": engine, "personas": {"source": str(source)}})
        )
        figures = run_job("synthesize", config)
        manifest = json.loads((Path(folder) / "run/profiles/.manifest.json").read_text())
        assert manifest["ok"] == count
        engines = {name: manifest[name] for name in ("engines", "engine_seconds", "startup_seconds")}
        return {**figures, **engines, "table_seconds": manifest["seconds"]}


def run_replicas(count: int) -> tuple[float, float]:
    """Return the rows per second of some replicas, and the part of their slots that is in use while they are up."""
    rows = ROWS * count
    timed = {"delay_s": REPLY_S, "delay_sigma": 0.8, "max_concurrency": SLOTS, "replicas": [1, count]}
    made = run(rows, **timed)
    assert made["engines"] == count
    return rows / (made["table_seconds"] - made["startup_seconds"]), rows * REPLY_S / SLOTS / made["engine_seconds"]


def run_job(name: str, config: Path) -> dict[str, float]:
    """Seconds and peak bytes of a job in a process of its own; its end is ours where it fails."""
    job = Path(__file__).parents[2] / "jobs" / f"{name}.py"
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, job, "--config", config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak = watch(process)
    output, _ = process.communicate()
    seconds = time.monotonic() - start
    if process.returncode:
        raise SystemExit(output[-3000:])
    return {"seconds": seconds, "peak_bytes": peak()}


def watch(process: subprocess.Popen):
    """Sample the memory of a process and its descendants; call what is returned for the peak."""
    peak = 0

    def sample() -> None:
        nonlocal peak
        while process.poll() is None:
            total = 0
            for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                try:
                    total += one.memory_full_info().pss
                except psutil.Error:
                    continue
            peak = max(peak, total)
            time.sleep(0.5)

    def guarded() -> None:
        try:
            sample()
        except psutil.NoSuchProcess:
            return

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()

    def result() -> int:
        thread.join()
        return peak

    return result


def measure(say: Callable[[str], None], small: int = 50_000, large: int = 500_000) -> dict[str, float]:
    """Growth of time and memory from the small run to the large one."""
    runs = {}
    for count in (small, large):
        runs[count] = run(count)
        made = runs[count]
        say(f"  {count:,} personas: {made['seconds']:.0f} s, {made['peak_bytes'] / 2**20:,.0f} MiB")
    figures = {
        "time_growth": runs[large]["seconds"] / runs[small]["seconds"],
        "memory_growth": runs[large]["peak_bytes"] / runs[small]["peak_bytes"],
    }
    alone = 0.0
    for count in (1, 2, 4):
        speed, used = run_replicas(count)
        alone = alone or speed
        say(f"  {count} replicas: {speed:.0f} rows/s, {used:.0%} of their slots in use")
        figures |= {f"speedup_{count}": speed / alone, f"slots_used_{count}": used}
    return figures
