"""Generated tokens per second of a job's engine step against bare `vllm.LLM.chat`, on the same prompts.

Each side runs in a process of its own with the same engine settings; all are measured from the
moment that the engine is up, and take turns, so that a noisy machine is noisy for all. `bare` is vLLM
on as many cores as it takes by itself, which is one of two, and `bare_our_cores` on those that our
engines let it take. On a machine with GPUs they take one of them; BENCH_MODEL names another model than
the embedded one, and BENCH_ENGINE_KWARGS further settings of the engine as JSON.
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

from tests.benchmarks.work import Numbered, numbered

MODEL_LEN, REPLY_TOKENS = 2048, 128
MODEL = os.environ.get("BENCH_MODEL", "embedded")
RESULT = "tokens per second:"
SAMPLING = {"temperature": 0.6, "top_p": 1.0, "max_tokens": REPLY_TOKENS}


def engine_kwargs() -> dict:
    """What both sides tell vLLM."""
    return {"max_model_len": MODEL_LEN, **json.loads(os.environ.get("BENCH_ENGINE_KWARGS", "{}"))}


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


def bare_our_cores(count: int) -> float:
    """Return the tokens per second of `LLM.chat` on the cores that our engines take."""
    from factory.inference.engines.vllm_settings import cpu_environment

    os.environ.update(cpu_environment() | os.environ)
    return bare(count)


def bare(count: int) -> float:
    """Return the tokens per second of `LLM.chat`."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    from vllm import LLM, SamplingParams

    from factory.inference import model_files
    from factory.inference.engines.vllm_settings import engine_defaults
    from factory.runtime.ray_session import on_gpu

    chats = [[{"role": m.role, "content": m.content} for m in opening] for opening in prompts(count)]
    kwargs = engine_defaults(on_gpu("auto")) | engine_kwargs()
    llm = LLM(model_files.fetch(MODEL), seed=42, enable_prefix_caching=True, **kwargs)
    start = time.monotonic()
    answers = llm.chat(chats, SamplingParams(**SAMPLING), use_tqdm=False)
    return sum(len(a.outputs[0].token_ids) for a in answers) / (time.monotonic() - start)


def job(count: int) -> float:
    """Return the tokens per second of `run_jobs`, writing a table."""
    from factory.config import Sampling, VllmEngine
    from factory.inference import model_files
    from factory.inference.generation_step import EngineUse, GenerationStep, TableJob
    from factory.inference.run_jobs import run_jobs
    from factory.runtime import ray_session
    from factory.runtime.progress import Progress
    from factory.storage.schemas import PERSONAS
    from factory.storage.tables import Table

    with tempfile.TemporaryDirectory() as output:
        work = numbered(output, count)
        step = GenerationStep(Numbered, PERSONAS, "bench@1", partial(_request, prompts(count)), _parse, _ids)
        engine = VllmEngine(model=MODEL, engine_kwargs=engine_kwargs())
        ray_session.start_ray()
        table = Table(output, "made")
        how = EngineUse(engine, Sampling(**SAMPLING), 42, model_files.locate(MODEL))
        run_jobs([TableJob(step, work, table, {}, how)], Progress())
        manifest = table.manifest()
        assert manifest
        assert manifest["rows_in"] == count
        return manifest["output_tokens_per_second"]


def _request(openings, row):
    from factory.records import Request

    return Request(openings[row.number])


def _parse(row, completion):
    from factory.records import Persona

    return Persona(str(row.number), completion.replies[0])


def _ids(row):
    return {"character_id": str(row.number)}


SIDES = {side.__name__: side for side in (bare, bare_our_cores, job)}


def measure(say: Callable[[str], None], count: int = 256, rounds: int = 2) -> dict:
    """All sides in turn; returns their medians, and the job's over each of the others."""
    speeds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, found in speeds.items():
            command = [sys.executable, "-m", "tests.benchmarks.throughput", side, str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            found.append(float(done.stdout.rpartition(RESULT)[2].split()[0]))
            say(f"  {side}: {found[-1]:.0f} tokens/s")
    medians = {side: statistics.median(found) for side, found in speeds.items()}
    return {**medians, **{f"over_{side}": medians["job"] / medians[side] for side in SIDES if side != "job"}}


if __name__ == "__main__":
    print(RESULT, SIDES[sys.argv[1]](int(sys.argv[2])), flush=True)
