"""Predictions of the planner against measured times, with real engines on this machine.

A pilot of one config fills all three tables. Three other configs are planned with it, by the planner's own command
line, and then run: profiles alone, twice as many; generated dialogues, which have the longest replies; fewer
rewritten dialogues. Compared is the time from the start of the command to its end.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).parents[2]
REPLY_TOKENS = 384
"""The same for the pilot and all runs: a reply that the pilot truncates does not show its full length."""


def build_config(
    output: str, personas: int, instructions: int = 0, strategies: tuple[str, ...] = ("generate",)
) -> dict:
    """Return the config of a run of the embedded model on vLLM; without instructions it generates profiles alone."""
    source = {"corpus": "samples", "source": "data/instructions.jsonl", "limit": instructions}
    sampling = {"temperature": 0.6, "top_p": 1.0, "max_tokens": REPLY_TOKENS}
    return {
        "output": output,
        "engine": {"kind": "vllm", "model": "embedded", "device": "cpu", "engine_kwargs": {"max_model_len": 4096}},
        "personas": {"source": "data/personas.jsonl", "limit": personas},
        "instructions": [source] if instructions else [],
        "profiles": {"sampling": {**sampling, "max_tokens": 1024}},
        "dialogues": {
            "strategies": list(strategies),
            "characters_per_instruction": 3,
            "sampling": {**sampling, "frequency_penalty": 0.5},
        },
    }


def configs(folder: str) -> dict[str, dict]:
    """Return the configs of the pilot and of the runs that it predicts."""
    return {
        "pilot": build_config(f"{folder}/pilot", 96, 24, ("generate", "rewrite")),
        "profiles": build_config(f"{folder}/profiles", 200),
        "generate": build_config(f"{folder}/generate", 32, 60),
        "rewrite": build_config(f"{folder}/rewrite", 32, 16, ("rewrite",)),
    }


def job(name: str, *arguments: str) -> tuple[str, float]:
    """Run a job, and return its output and its seconds from the start of the command to its end."""
    start = time.monotonic()
    command = [sys.executable, str(PROJECT / "jobs" / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr)[-3000:])
    return done.stdout, time.monotonic() - start


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """Return predicted and measured seconds of each run, and their ratio."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, config in configs(folder).items():
            paths[name] = str(Path(folder) / f"{name}.yaml")
            Path(paths[name]).write_text(json.dumps(config))
        _, seconds = job("synthesize", "--config", paths.pop("pilot"))
        say(f"  the pilot took {seconds:.0f} s")
        for name, path in paths.items():
            output, _ = job("plan", "--config", path, "--pilot", f"{folder}/pilot", "--json")
            predicted = json.loads(output)["summary"]["seconds"]
            _, seconds = job("synthesize", "--config", path)
            say(
                f"  {name}: predicted {predicted['point']:.0f} s ({predicted['low']:.0f} to {predicted['high']:.0f}), "
                f"took {seconds:.0f} s"
            )
            figures |= {f"{name}_predicted": predicted["point"], f"{name}_measured": seconds}
            figures[f"{name}_ratio"] = seconds / predicted["point"]
    ratios = [value for name, value in figures.items() if name.endswith("_ratio")]
    return {**figures, "furthest_off": max(abs(ratio - 1) for ratio in ratios)}
