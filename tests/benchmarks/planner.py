"""The planner's predictions against what runs then take, with real engines on this machine.

A pilot of one config fills all three tables. Three other configs are planned with it, by the planner's own command
line, and then run: profiles alone, twice as many; dialogues that are generated, the longest replies; dialogues
that are rewritten, fewer of them. What is compared is the time from the command to its end.
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
"""The same for the pilot and all runs: a reply that the pilot cut could not tell how long it would have been."""


def config_of(output: str, personas: int, instructions: int = 0, strategies: tuple[str, ...] = ("generate",)) -> dict:
    """A run of the embedded model on vLLM; without instructions it makes profiles alone."""
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
    """The pilot, and the runs that it is to predict."""
    return {
        "pilot": config_of(f"{folder}/pilot", 96, 24, ("generate", "rewrite")),
        "profiles": config_of(f"{folder}/profiles", 200),
        "generate": config_of(f"{folder}/generate", 32, 60),
        "rewrite": config_of(f"{folder}/rewrite", 32, 16, ("rewrite",)),
    }


def job(name: str, *arguments: str) -> tuple[str, float]:
    """What a job printed, and its seconds from the command to its end."""
    start = time.monotonic()
    command = [sys.executable, str(PROJECT / "jobs" / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr)[-3000:])
    return done.stdout, time.monotonic() - start


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """Predicted and measured seconds of each run, and measured over predicted."""
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
