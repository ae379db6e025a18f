"""Generated tokens per second of a job's engine step against bare `vllm.LLM.chat`, on the same prompts.

Each side runs in a process of its own with the same engine settings; all are measured from the
moment that the engine is up, and take turns, so that a noisy machine is noisy for all. `bare` is vLLM on the
cores that our engines let it take, and `bare_beside_ray` the same while a Ray idles on the machine. The lengths of
replies are lognormal, with two spreads. On a machine with GPUs all take one of them; BENCH_MODEL names another model
than the embedded one, and BENCH_ENGINE_KWARGS further settings of the engine as JSON.
"""

import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

from tests.benchmarks.work import Numbered, numbered

MODEL_LEN, REPLY_TOKENS = 2048, 96
SLOTS = 16
"""Few, so that a run of few rows keeps them in use."""
MODEL = os.environ.get("BENCH_MODEL", "embedded")
RESULT = "tokens per second:"
SAMPLING = {"temperature": 0.6, "top_p": 1.0}
SIGMAS = (0.3, 0.8)
"""Spreads of the lengths of replies: of one step, and of a corpus of dialogues."""


def engine_kwargs() -> dict:
    """What both sides tell vLLM."""
    return {
        "max_model_len": MODEL_LEN,
        "max_num_seqs": SLOTS,
        **json.loads(os.environ.get("BENCH_ENGINE_KWARGS", "{}")),
    }


def prompts(count: int) -> list:
    """The openings of `count` dialogues: each sample instruction for each sample persona in turn."""
    from factory.inference.prompts import load_prompt
    from factory.resources import RESOURCES

    def rows(name: str) -> list[dict]:
        return [json.loads(line) for line in (RESOURCES / "data" / name).read_text().splitlines()]

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


def lengths(count: int, sigma: float) -> list[int]:
    """Return the most tokens of each reply: lognormal, `REPLY_TOKENS` on average."""
    draw = random.Random(42)
    drawn = (draw.lognormvariate(math.log(REPLY_TOKENS) - sigma**2 / 2, sigma) for _ in range(count))
    return [min(max(1, round(length)), MODEL_LEN // 2) for length in drawn]


def bare_beside_ray(count: int, sigma: float) -> dict[str, float]:
    """Measure `LLM.chat` beside a Ray that idles."""
    from factory.runtime import ray_session

    ray_session.start_ray()
    return bare(count, sigma)


def bare(count: int, sigma: float) -> dict[str, float]:
    """Measure `LLM.chat`."""
    from vllm import LLM, SamplingParams

    from factory.inference import model_files
    from factory.inference.engines.vllm_settings import cpu_environment, engine_defaults
    from factory.runtime.ray_session import on_gpu

    os.environ.update(cpu_environment() | os.environ)
    chats = [[{"role": m.role, "content": m.content} for m in opening] for opening in prompts(count)]
    kwargs = engine_defaults(on_gpu("auto")) | engine_kwargs()
    llm = LLM(model_files.fetch(MODEL), seed=42, enable_prefix_caching=True, **kwargs)
    start = time.monotonic()
    sampling = [SamplingParams(**SAMPLING, max_tokens=length) for length in lengths(count, sigma)]
    answers = llm.chat(chats, sampling, use_tqdm=False)
    return {"speed": sum(len(a.outputs[0].token_ids) for a in answers) / (time.monotonic() - start)}


def job(count: int, sigma: float) -> dict[str, float]:
    """Measure `run_jobs`, writing a table, and the part of slots in use until a fifth of the rows is left."""
    from factory.config import Sampling, VllmEngine
    from factory.inference import model_files
    from factory.inference.generation_step import EngineUse, GenerationStep, TableJob
    from factory.inference.run_jobs import run_jobs
    from factory.runtime import ray_session
    from factory.runtime.progress import Progress
    from factory.storage.schemas import PERSONAS
    from factory.storage.tables import Table

    used = []

    class Watching(Progress):
        def engine_states(self, states):
            used.extend(s.used / s.slots for s in states if s.slots and s.open > count / 5)

    class OfLength(EngineUse):
        def with_sampling(self, request):
            return request

    with tempfile.TemporaryDirectory() as output:
        work = numbered(output, count)
        step = GenerationStep(
            Numbered, PERSONAS, "bench@1", partial(_request, prompts(count), lengths(count, sigma)), _parse, _ids
        )
        engine = VllmEngine(model=MODEL, engine_kwargs=engine_kwargs())
        ray_session.start_ray()
        table = Table(output, "made")
        how = OfLength(engine, Sampling(**SAMPLING), 42, model_files.locate(MODEL))
        run_jobs([TableJob(step, work, table, {}, how)], Watching())
        manifest = table.manifest()
        assert manifest
        assert manifest["rows_in"] == count
        return {"speed": manifest["output_tokens_per_second"], "slots_used": statistics.mean(used)}


def _request(openings, lengths, row):
    from factory.records import Request, TokenSampling

    sampling = TokenSampling(**SAMPLING, max_tokens=lengths[row.number])
    return Request(openings[row.number], sampling=sampling)


def _parse(row, completion):
    from factory.records import Persona

    return Persona(str(row.number), completion.replies[0])


def _ids(row):
    return {"character_id": str(row.number)}


SIDES = {side.__name__: side for side in (bare, bare_beside_ray, job)}


def measure(say: Callable[[str], None], count: int = 96, rounds: int = 1) -> dict:
    """All sides in turn, for each spread; returns medians, and the job's speed over each of the others."""
    figures = {}
    for sigma in SIGMAS:
        found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for side in [*SIDES] * rounds:
            command = [sys.executable, "-m", "tests.benchmarks.throughput", side, str(count), str(sigma)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            found[side].append(json.loads(done.stdout.rpartition(RESULT)[2].splitlines()[0]))
            say(f"  sigma {sigma}, {side}: {found[side][-1]['speed']:.0f} tokens/s")
        speeds = {side: statistics.median(one["speed"] for one in each) for side, each in found.items()}
        figures |= {f"{side}_{sigma}": speed for side, speed in speeds.items()}
        figures |= {f"over_{side}_{sigma}": speeds["job"] / speeds[side] for side in SIDES if side != "job"}
        figures[f"slots_used_{sigma}"] = statistics.median(one["slots_used"] for one in found["job"])
    return figures


if __name__ == "__main__":
    print(RESULT, json.dumps(SIDES[sys.argv[1]](int(sys.argv[2]), float(sys.argv[3]))), flush=True)
