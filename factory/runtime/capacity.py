"""Whether the cluster can ever give what a step needs, found out before the step waits for it.

A step asks for bundles, each of which must fit on one node. Where the nodes that are there are too
small or too few, the cluster's autoscaler is asked, by a placement group that is taken back: it
alone knows the node types that no node is of yet. (Ray's `get_max_resources_from_cluster_config`
does not: its open-source autoscaler tells nothing there.)
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

HEAR_S = 30
"""An autoscaler that lives tells of itself every few seconds."""
LAUNCH_S = 900
"""So long nodes that are being launched may change the autoscaler's mind."""
LOOK_EVERY_S = 0.5

Bundle = Mapping[str, float]
IO_TASK: Bundle = {"CPU": IO_TASK_CPUS}
"""What reads and writes the rows of a step: without it, what answers them would wait for ever."""


def check_capacity(bundles: Sequence[Bundle], what: str, pool: str | None = None) -> None:
    """Fail at once where this machine or cluster can never give what a step needs.

    Args:
        bundles: resources by name, each bundle for one node.
        what: the field that asks for them.
        pool: only nodes with this value of the label `pool` will do; the field beside `what` asks for it.

    Raises:
        ConfigError: with what was asked for and what there is.
    """
    nodes = _nodes()
    problem = shortage(bundles, nodes, pool)
    if problem is None:
        return
    on_cluster = bool(os.environ.get("RAY_ADDRESS"))
    if on_cluster and not _is_refused(bundles, pool):
        return
    if pool and not any(node["Labels"].get("pool") == pool for node in nodes):
        raise ConfigError(f"{what.rpartition('.')[0]}.pool {pool!r}: {_no_such_pool(nodes, on_cluster)}")
    where = "the cluster can give" if on_cluster else "this machine has"
    raise ConfigError(f"{what} asks for {problem[0]}, {where} {problem[1]}; {_way_out(on_cluster)}")


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _no_such_pool(nodes: Sequence[Mapping[str, Any]], on_cluster: bool) -> str:
    there = sorted({node["Labels"]["pool"] for node in nodes if "pool" in node["Labels"]})
    if not on_cluster:
        return "the nodes of a cluster have such a label, this machine has none; leave it out, or name a cluster"
    told = f"its nodes have {', '.join(there)}" if there else "none of its nodes has a label `pool`"
    return f"no node of the cluster has this label `pool`, and no node type that could come; {told}"


def _way_out(on_cluster: bool) -> str:
    if on_cluster:
        return "and no node type that could come gives more; lower it, or name a larger cluster in RAY_ADDRESS"
    return "lower it, or name a larger cluster in RAY_ADDRESS"


def shortage(bundles: Sequence[Bundle], nodes: Sequence[Mapping[str, Any]], pool: str | None) -> tuple[str, str] | None:
    """What is asked for and what there is, where these nodes could not give it even if nothing else ran on them.

    Enough of everything in all, and a node for the largest bundle of each kind: no more is looked
    at, so that nothing is refused which might be packed well.

    Args:
        bundles: resources by name, each bundle for one node.
        nodes: as `ray.nodes()` tells of them.
        pool: the label that a node must have.
    """
    usable = [node["Resources"] for node in nodes if pool in (None, node["Labels"].get("pool"))]
    for bundle in bundles:
        if not any(all(node.get(name, 0) >= asked for name, asked in bundle.items()) for node in usable):
            largest = {name: max((node.get(name, 0) for node in usable), default=0) for name in bundle}
            return f"{_told(bundle)} on one node", f"at most {_told(largest)} there"
    for name in sorted({name for bundle in bundles for name in bundle}):
        asked, there = (sum(one.get(name, 0) for one in several) for several in (bundles, usable))
        if asked > there:
            return f"{asked:g} {name}", f"{there:g}"
    return None


def _told(resources: Bundle) -> str:
    return " and ".join(f"{number:g} {name}" for name, number in sorted(resources.items()) if number) or "nothing"


def _is_refused(bundles: Sequence[Bundle], pool: str | None) -> bool:
    """Whether the cluster's autoscaler knows no way to such nodes, or there is none that could.

    What it refuses only because other jobs' nodes are on their way is not refused. Ray's first autoscaler, which a
    head without cluster file has, tells nothing that could be asked for.
    """
    if not is_autoscaler_v2(fetch_from_server=True):
        return True
    group = placement_group([dict(one) for one in bundles], bundle_label_selector=_selectors(len(bundles), pool))
    begun = time.monotonic()
    asked_at = None
    try:
        while time.monotonic() < begun + LAUNCH_S:
            if shortage(bundles, _nodes(), pool) is None:
                return False
            told = _status()
            if asked_at is None:
                asked_at = _version_with(told, group)
            elif not told.HasField("autoscaling_state") and time.monotonic() > begun + HEAR_S:
                return True
            elif told.autoscaling_state.last_seen_cluster_resource_state_version >= asked_at:
                if not _is_in(told.autoscaling_state.infeasible_gang_resource_requests, group):
                    return False
                if not (told.autoscaling_state.pending_instance_requests or told.autoscaling_state.pending_instances):
                    return True
            time.sleep(LOOK_EVERY_S)
        return False
    finally:
        remove_placement_group(group)


def _selectors(number: int, pool: str | None) -> list[dict[str, str]] | None:
    return [{"pool": pool}] * number if pool else None


def _status() -> Any:
    """A `GetClusterStatusReply`: the cluster as it is, and what the autoscaler last said of it."""
    raylet: Any = ray._raylet
    told = GetClusterStatusReply()
    address = ray.get_runtime_context().gcs_address
    told.ParseFromString(raylet.GcsClient(address=address).get_cluster_status(timeout_s=HEAR_S))
    return told


def _version_with(told: Any, group: Any) -> int | None:
    """The number of the cluster's state, if the request is in it."""
    state = told.cluster_resource_state
    return state.cluster_resource_state_version if _is_in(state.pending_gang_resource_requests, group) else None


def _is_in(requests: Sequence[Any], group: Any) -> bool:
    return any(group.id.hex() in request.details for request in requests)
