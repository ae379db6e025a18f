"""Requests per second through the fleet's endpoint by the number of its ingresses, with replicas that answer at once.

Everything but the engines is real: Serve, its proxy, the ingresses with prefix-aware routing, our client. On few
cores all of these share them, so that more ingresses are not faster there. What tells how many a large fleet needs is
the CPU time per request in each kind of process: each runs on one core, so its inverse is the most that one can do.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

INGRESSES = (1, 2, 4)
REPLICAS, CONCURRENCY = 2, 64
RESULT = "figures:"
KINDS = {
    "Ingress": "ingress", "ProxyActor": "proxy", "Judge:": "replica", "PrefixTree": "prefix tree",
    "Controller": "controller",
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


def serve(count: int, ingresses: int) -> dict[str, float]:
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
            replica = OpenAIReplica(client.config, SecretStr("none"), REPLICAS * CONCURRENCY)
            prepared = [replace(request, sampling=sampling) for request in requests(number)]
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


def measure(say: Callable[[str], None], count: int = 600) -> dict[str, float]:
    """Measure each number of ingresses in a process of its own; returns ratios to one ingress, and to all of it."""
    found: dict[int, dict[str, float]] = {}
    for number in INGRESSES:
        command = [sys.executable, "-m", "tests.benchmarks.ingress", str(count), str(number)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        found[number] = json.loads(done.stdout.rpartition(RESULT)[2].splitlines()[0])
        say(f"  {number} ingresses: " + ", ".join(f"{name} {value:.2f}" for name, value in found[number].items()))
    one, cpu = found[1], {number: _cpu(figures) for number, figures in found.items()}
    return {
        "requests per second, 2 ingresses over 1": found[2]["requests per second"] / one["requests per second"],
        "requests per second, 4 ingresses over 1": found[4]["requests per second"] / one["requests per second"],
        "CPU time per request, 2 ingresses over 1": cpu[2] / cpu[1],
        "CPU time per request, 4 ingresses over 1": cpu[4] / cpu[1],
        "share of an ingress in the CPU time per request": one["ms of ingress"] / cpu[1],
        "CPU time of an ingress over that of the proxy": one["ms of ingress"] / one["ms of proxy"],
        "CPU time of an ingress over that of the client": one["ms of ingress"] / one["ms of client"],
    }


def _cpu(figures: dict[str, float]) -> float:
    return sum(value for name, value in figures.items() if name.startswith("ms of "))


if __name__ == "__main__":
    print(RESULT, json.dumps(serve(int(sys.argv[1]), int(sys.argv[2]))), flush=True)
