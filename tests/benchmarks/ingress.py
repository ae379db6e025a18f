"""Requests per second through the fleet's endpoint by the number of its ingresses, with replicas that answer at once.

Everything but the engines is real: Serve, its proxy, the ingresses with prefix-aware routing, our client. On few
cores all of these share them, so that more ingresses are not faster there. What tells how many a large fleet needs is
the CPU time per request in each kind of process: each runs on one core, so its inverse is the most that one can do.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

INGRESSES = (1, 2, 4)
REPLICAS, CONCURRENCY = 2, 64
RESULT = "figures:"
KINDS = {
    "OpenAiIngress": "ingress", "FastAPIWrapper": "ingress", "ProxyActor": "proxy", "Judge:": "replica",
    "PrefixTree": "prefix tree", "Controller": "controller",
}  # fmt: skip


def cpu_seconds() -> Counter[str]:
    """Return the CPU seconds so far of this process, and of Serve's processes by kind."""
    import psutil

    found: Counter[str] = Counter(client=time.process_time())
    for process in psutil.Process().children(recursive=True):
        title, times = " ".join(process.cmdline()), process.cpu_times()
        kind = next((kind for part, kind in KINDS.items() if part in title), "others")
        found[kind] += times.user + times.system
    return found


def serve(count: int, ingresses: int, logprobs: bool) -> dict[str, float]:
    """Return requests per second, and milliseconds of CPU time per request in each kind of process."""
    from pydantic import SecretStr

    import factory.serving.llm_server
    from factory.config import Fleet, ServedModel
    from factory.evaluation.judge_clients import open_judges
    from factory.inference.engines.openai import OpenAIReplica
    from factory.records import TokenSampling
    from factory.runtime import ray_session
    from factory.runtime.progress import Progress
    from factory.serving.fleet import fleet_for_run
    from tests.benchmarks.judging import REPLY_TOKENS, requests, settings
    from tests.integration.instant_engine import InstantServer

    factory.serving.llm_server.ModelServer = InstantServer  # type: ignore[misc]
    judge = ServedModel(
        name="judge", model="embedded", device="cpu", replicas=(REPLICAS, REPLICAS), max_concurrency=CONCURRENCY
    )
    config = settings(judge)
    ray_session.start_ray(local_cpus=8)
    fleet = Fleet(port=0, ingresses=ingresses)
    with fleet_for_run(fleet, [judge], Progress()) as url:
        (client,) = open_judges(config, url)
        sampling = TokenSampling(temperature=0, max_tokens=REPLY_TOKENS)

        async def ask(number: int) -> Counter[str]:
            replica = OpenAIReplica(
                client.config.model_copy(update={"logprobs": logprobs}), SecretStr("none"), REPLICAS * CONCURRENCY
            )
            prepared = [client.engine(config.evaluation.judge_sampling, 42).with_sampling(r) for r in requests(number)]
            replies = await asyncio.gather(*map(replica.complete, prepared))
            assert not any(completion.error for completion in replies), replies[0]
            return Counter(json.loads(completion.replies[0])["reasoning"].split()[1] for completion in replies)

        asyncio.run(ask(min(count, 200)))  # its start is not what is measured
        before, start = cpu_seconds(), time.monotonic()
        by_replica = asyncio.run(ask(count))
        seconds = time.monotonic() - start
        used = cpu_seconds() - before
    return {
        "requests per second": count / seconds,
        "requests of the busiest replica": max(by_replica.values()) / count,
        **{f"ms of {kind}": 1000 * used[kind] / count for kind in sorted(used)},
    }


def measure(say: Callable[[str], None], count: int = 2000) -> dict[str, float]:
    """Measure each number of ingresses in a process of its own; returns the ratios to one ingress."""
    found: dict[int, dict[str, float]] = {}
    for number in INGRESSES:
        command = [sys.executable, "-m", "tests.benchmarks.ingress", str(count), str(number), "logprobs"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        found[number] = json.loads(done.stdout.rpartition(RESULT)[2])
        say(f"  {number} ingresses: " + ", ".join(f"{name} {value:.2f}" for name, value in found[number].items()))
    return {}


if __name__ == "__main__":
    count, number = map(int, sys.argv[1:3])
    print(RESULT, json.dumps(serve(count, number, "logprobs" in sys.argv)), flush=True)
