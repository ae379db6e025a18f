"""Checks that the cluster can satisfy a step's resource request, before the step waits for it.

A step requests bundles, each of which must fit on one node. If the current nodes are too small or too few,
a placement group that is removed again queries the cluster's autoscaler: only the autoscaler has the node
types without a node yet. (Ray's `get_max_resources_from_cluster_config` does not: the open-source autoscaler
reports nothing there.)
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply  # type: ignore[attr-defined]  # generated
from ray.util.placement_group import placement_group, remove_placement_group

from factory.errors import ConfigError
from factory.runtime.ray_session import IO_TASK_CPUS

REPORT_TIMEOUT_S = 30
"""A live autoscaler reports every few seconds."""
LAUNCH_TIMEOUT_S = 900
"""How long to wait for nodes that are being launched."""
POLL_S = 0.5

Bundle = Mapping[str, float]
IO_TASK: Bundle = {"CPU": IO_TASK_CPUS}
"""Reads and writes the rows of a step: without it, the engines would wait forever."""


def check_capacity(bundles: Sequence[Bundle], what: str, pool: str | None = None) -> None:
    """Check that this machine or cluster can satisfy a step's resource request, now or after scaling up.

    Args:
        bundles: resources by name, each bundle for one node.
        what: the field that requests them.
        pool: the value of the label `pool` that nodes must have; the field next to `what` sets it.

    Raises:
        ConfigError: it cannot; with what is needed and what there is.
    """
    nodes = _nodes()
    shortage = find_shortage(bundles, nodes, pool)
    if shortage is None:
        return
    on_cluster = bool(os.environ.get("RAY_ADDRESS"))
    if on_cluster and not _is_refused(bundles, pool):
        return
    if pool and not any(node["Labels"].get("pool") == pool for node in nodes):
        raise ConfigError(f"{what.rpartition('.')[0]}.pool {pool!r}: {_no_such_pool(nodes, on_cluster)}")
    where = "the cluster can provide" if on_cluster else "this machine has"
    raise ConfigError(f"{what} needs {shortage[0]}, {where} {shortage[1]}; {_remedy(on_cluster)}")


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _no_such_pool(nodes: Sequence[Mapping[str, Any]], on_cluster: bool) -> str:
    pools = sorted({node["Labels"]["pool"] for node in nodes if "pool" in node["Labels"]})
    if not on_cluster:
        return "only nodes of a cluster have such a label; leave it out, or set RAY_ADDRESS to a cluster"
    others = f"its nodes have {', '.join(pools)}" if pools else "none of its nodes has a label `pool`"
    return f"no node of the cluster has this label `pool`, nor has a node type that could be added; {others}"


def _remedy(on_cluster: bool) -> str:
    remedy = "lower it, or set RAY_ADDRESS to a larger cluster"
    return f"and no node type that could be added has more; {remedy}" if on_cluster else remedy


def find_shortage(
    bundles: Sequence[Bundle], nodes: Sequence[Mapping[str, Any]], pool: str | None
) -> tuple[str, str] | None:
    """Return what is needed and what there is, if these nodes cannot provide it even when idle.

    It only compares the sum of each resource, and whether some node can hold each bundle, so that no request is
    refused that might fit when packed well.

    Args:
        bundles: resources by name, each bundle for one node.
        nodes: as `ray.nodes()` returns them.
        pool: the label that a node must have.
    """
    usable = [node["Resources"] for node in nodes if pool in (None, node["Labels"].get("pool"))]
    for bundle in bundles:
        if not any(all(node.get(name, 0) >= needed for name, needed in bundle.items()) for node in usable):
            largest = {name: max((node.get(name, 0) for node in usable), default=0) for name in bundle}
            return f"{_describe(bundle)} on one node", f"at most {_describe(largest)} there"
    for name in sorted({name for bundle in bundles for name in bundle}):
        needed, total = (sum(resources.get(name, 0) for resources in group) for group in (bundles, usable))
        if needed > total:
            return f"{needed:g} {name}", f"{total:g}"
    return None


def _describe(resources: Bundle) -> str:
    return " and ".join(f"{number:g} {name}" for name, number in sorted(resources.items()) if number) or "nothing"


def _is_refused(bundles: Sequence[Bundle], pool: str | None) -> bool:
    """Return whether the cluster's autoscaler cannot add such nodes, or there is none.

    A refusal does not count while nodes for other jobs are being launched. Ray's first autoscaler, which a head
    without a cluster file has, reports nothing.
    """
    if not is_autoscaler_v2(fetch_from_server=True):
        return True
    group = placement_group([dict(bundle) for bundle in bundles], bundle_label_selector=_selectors(len(bundles), pool))
    started = time.monotonic()
    requested_at = None
    try:
        while time.monotonic() < started + LAUNCH_TIMEOUT_S:
            if find_shortage(bundles, _nodes(), pool) is None:
                return False
            status = _cluster_status()
            if requested_at is None:
                requested_at = _version_with(status, group)
            elif not status.HasField("autoscaling_state") and time.monotonic() > started + REPORT_TIMEOUT_S:
                return True
            elif status.autoscaling_state.last_seen_cluster_resource_state_version >= requested_at:
                if not _is_in(status.autoscaling_state.infeasible_gang_resource_requests, group):
                    return False
                if not (
                    status.autoscaling_state.pending_instance_requests or status.autoscaling_state.pending_instances
                ):
                    return True
            time.sleep(POLL_S)
        return False
    finally:
        remove_placement_group(group)


def _selectors(number: int, pool: str | None) -> list[dict[str, str]] | None:
    return [{"pool": pool}] * number if pool else None


def _cluster_status() -> Any:
    """Return a `GetClusterStatusReply`: the state of the cluster, and the last report of the autoscaler."""
    raylet: Any = ray._raylet
    status = GetClusterStatusReply()
    address = ray.get_runtime_context().gcs_address
    status.ParseFromString(raylet.GcsClient(address=address).get_cluster_status(timeout_s=REPORT_TIMEOUT_S))
    return status


def _version_with(status: Any, group: Any) -> int | None:
    """Return the version of the cluster's state, if the request is in it."""
    state = status.cluster_resource_state
    return state.cluster_resource_state_version if _is_in(state.pending_gang_resource_requests, group) else None


def _is_in(requests: Sequence[Any], group: Any) -> bool:
    return any(group.id.hex() in request.details for request in requests)
