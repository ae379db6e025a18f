"""What a cluster is doing, asked of its dashboard: nodes, their timeline, and jobs."""

import time
from typing import Any

from factory.cluster.dashboard_client import reached
from factory.cluster.timeline import Life, timeline

NODES = 10_000
JOBS_SHOWN = 10
COMMAND_SHOWN = 80
READY, STOP = "ready-", "stop-"
"""How the small jobs' names begin that ask whether a cluster takes jobs, and one to stop."""


def look(address: str) -> list[str]:
    """Lines on a cluster's nodes and jobs.

    Args:
        address: its dashboard's URL.

    Raises:
        UnreachableError: it does not answer, or does not take the token.
    """
    nodes, jobs = _ask(address)
    heads = [node for node in nodes if node.is_head_node]
    workers = [node for node in nodes if not node.is_head_node]
    alive = [node for node in workers if node.state == "ALIVE"]
    total: dict[str, float] = {}
    for node in alive:
        for name in ("CPU", "GPU"):
            total[name] = total.get(name, 0) + node.resources_total.get(name, 0)
    has = ", ".join(f"{number:g} {name}" for name, number in total.items() if number) or "none"
    began = min((node.start_time_ms for node in heads), default=0) / 1000
    lines = [
        f"{len(alive)} workers there ({has})",
        "",
        *timeline([_life(node) for node in workers], began, time.time()),
    ]
    return [*lines, "", *_jobs(jobs)]


def _ask(address: str) -> tuple[list[Any], list[Any]]:
    from ray.job_submission import JobSubmissionClient
    from ray.util.state import list_nodes

    with reached(address):
        return list_nodes(address=address, limit=NODES, detail=True), JobSubmissionClient(address).list_jobs()


def _life(node: Any) -> Life:
    went = node.end_time_ms / 1000 if node.state == "DEAD" and node.end_time_ms else None
    return Life(f"worker {node.node_id[-4:]}", node.start_time_ms / 1000, went)


def _jobs(jobs: list[Any]) -> list[str]:
    sent = sorted(
        (job for job in jobs if job.submission_id and not job.submission_id.startswith((READY, STOP))),
        key=lambda job: job.start_time or 0,
    )
    if not sent:
        return ["No job was sent yet."]
    lines = [f"{job.submission_id}  {job.status:<9}  {_short(job.entrypoint)}" for job in sent[-JOBS_SHOWN:]]
    earlier = len(sent) - len(lines)
    return ["Jobs:", *lines, *([f"and {earlier:,} before these"] if earlier else [])]


def _short(command: str) -> str:
    return command if len(command) <= COMMAND_SHOWN else command[: COMMAND_SHOWN - 1] + "…"
