"""The state of a cluster, from its dashboard: nodes, their timeline, and jobs."""

import time
from typing import Any

from factory.cluster.dashboard_client import dashboard_errors
from factory.cluster.timeline import WorkerLifetime, timeline

MAX_NODES = 10_000
JOBS_SHOWN = 10
COMMAND_SHOWN = 80
READY_PREFIX, STOP_PREFIX = "ready-", "stop-"
"""Prefixes of the names of small internal jobs: one checks that a cluster accepts jobs, the other stops a job."""


def show_status(address: str) -> list[str]:
    """Return lines about a cluster's nodes and jobs.

    Args:
        address: the URL of its dashboard.

    Raises:
        UnreachableError: it does not respond, or rejects the token.
    """
    nodes, jobs = _fetch(address)
    heads = [node for node in nodes if node.is_head_node]
    workers = [node for node in nodes if not node.is_head_node]
    alive = [node for node in workers if node.state == "ALIVE"]
    total: dict[str, float] = {}
    for node in alive:
        for name in ("CPU", "GPU"):
            total[name] = total.get(name, 0) + node.resources_total.get(name, 0)
    resources = ", ".join(f"{number:g} {name}" for name, number in total.items() if number) or "no resources"
    began = min((node.start_time_ms for node in heads), default=0) / 1000
    lines = [
        f"{len(alive)} workers running ({resources})",
        "",
        *timeline([_lifetime(node) for node in workers], began, time.time()),
    ]
    return [*lines, "", *_jobs(jobs)]


def _fetch(address: str) -> tuple[list[Any], list[Any]]:
    from ray.job_submission import JobSubmissionClient
    from ray.util.state import list_nodes

    with dashboard_errors(address):
        return list_nodes(address=address, limit=MAX_NODES, detail=True), JobSubmissionClient(address).list_jobs()


def _lifetime(node: Any) -> WorkerLifetime:
    end = node.end_time_ms / 1000 if node.state == "DEAD" and node.end_time_ms else None
    return WorkerLifetime(f"worker {node.node_id[-4:]}", node.start_time_ms / 1000, end)


def _jobs(jobs: list[Any]) -> list[str]:
    submitted = sorted(
        (job for job in jobs if job.submission_id and not job.submission_id.startswith((READY_PREFIX, STOP_PREFIX))),
        key=lambda job: job.start_time or 0,
    )
    if not submitted:
        return ["No jobs yet."]
    lines = [f"{job.submission_id}  {job.status:<9}  {_shorten(job.entrypoint)}" for job in submitted[-JOBS_SHOWN:]]
    earlier = len(submitted) - len(lines)
    return ["Jobs:", *lines, *([f"and {earlier:,} earlier ones"] if earlier else [])]


def _shorten(command: str) -> str:
    return command if len(command) <= COMMAND_SHOWN else command[: COMMAND_SHOWN - 1] + "…"
