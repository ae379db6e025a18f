"""Generated tokens a second of a job's engine step against bare `vllm.LLM.chat`, on the same prompts.

Each side runs in a process of its own with the same engine settings; both are measured from the
moment that the engine is up, and take turns, so that a noisy machine is noisy for both. On a machine
with GPUs they take one of them; BENCH_MODEL names another model than the embedded one, and
BENCH_ENGINE_KWARGS further settings of the engine as JSON.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

from tests.benchmarks.work import numbered

MODEL_LEN, REPLY_TOKENS = 2048, 128
MODEL = os.environ.get("BENCH_MODEL", "embedded")
RESULT = "tokens a second:"
SAMPLING = {"temperature": 0.6, "top_p": 1.0, "max_tokens": REPLY_TOKENS}


def engine_kwargs() -> dict:
    """What both sides tell vLLM."""
    return {"max_model_len": MODEL_LEN, **json.loads(os.environ.get("BENCH_ENGINE_KWARGS", "{}"))}


def prompts(count: int) -> list:
    """The openings of `count` dialogues: each sample instruction for each sample persona in turn."""
    from factory.prompts import load_prompt
    from factory.storage import PROJECT

    def rows(name: str) -> list[dict]:
        return [json.loads(line) for line in (PROJECT / "data" / name).read_text().splitlines()]

    prompt = load_prompt("dialogue-generate")
    personas, instructions = rows("personas.jsonl"), rows("instructions.jsonl")
    return [
        prompt.render(
            persona=(persona := personas[n % len(personas)]["persona"]),
            profile=f"Name: Number {n}\nGeneral Experience: {persona}",
            user_turn=instructions[n % len(instructions)]["messages"][0]["content"],
        )
        for n in range(count)
    ]


def bare(count: int) -> float:
    """Tokens a second of `LLM.chat`."""
    from factory import models
    from factory.engine.vllm import cpu_environment, engine_defaults
    from factory.runtime import on_gpu

    os.environ.update(cpu_environment() | os.environ)  # before vLLM is imported
    from vllm import LLM, SamplingParams

    chats = [[{"role": m.role, "content": m.content} for m in opening] for opening in prompts(count)]
    kwargs = engine_defaults(on_gpu("auto")) | engine_kwargs()
    llm = LLM(models.fetch(MODEL), seed=42, enable_prefix_caching=True, **kwargs)
    start = time.monotonic()
    answers = llm.chat(chats, SamplingParams(**SAMPLING), use_tqdm=False)
    return sum(len(a.outputs[0].token_ids) for a in answers) / (time.monotonic() - start)


def job(count: int) -> float:
    """Tokens a second of `run_lanes`, writing a table."""
    from factory import models, runtime
    from factory.config import Sampling, VllmEngine
    from factory.engine.steps import Engine, Lane, Step, run_lanes
    from factory.progress import Progress
    from factory.tables import PERSONAS, Table

    with tempfile.TemporaryDirectory() as output:
        work = numbered(output, count)
        step = Step(PERSONAS, "bench@1", partial(_request, prompts(count)), _parse, _ids)
        engine = VllmEngine(model=MODEL, engine_kwargs=engine_kwargs())
        runtime.start()
        table = Table(output, "made")
        how = Engine(engine, Sampling(**SAMPLING), 42, models.locate(MODEL))
        run_lanes([Lane(step, work, table, {}, how)], Progress())
        manifest = table.manifest()
        assert manifest
        assert manifest["rows_in"] == count
        return manifest["output_tokens_per_second"]


def _request(openings, row):
    from factory.records import Request

    return Request(openings[row["number"]])


def _parse(row, completion):
    from factory.records import Persona

    return Persona(str(row["number"]), completion.replies[0])


def _ids(row):
    return {"character_id": str(row["number"])}


def measure(say: Callable[[str], None], count: int = 256, rounds: int = 2) -> dict:
    """Both sides in turn; returns their medians and the ratio."""
    speeds: dict[str, list[float]] = {"bare": [], "job": []}
    for _ in range(rounds):
        for side, found in speeds.items():
            command = [sys.executable, "-m", "tests.benchmarks.throughput", side, str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            found.append(float(done.stdout.rpartition(RESULT)[2].split()[0]))
            say(f"  {side}: {found[-1]:.0f} tokens/s")
    medians = {side: statistics.median(found) for side, found in speeds.items()}
    return {**medians, "ratio": medians["job"] / medians["bare"]}


if __name__ == "__main__":
    print(RESULT, {"bare": bare, "job": job}[sys.argv[1]](int(sys.argv[2])), flush=True)
