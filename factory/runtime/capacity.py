"""Checks that the cluster can satisfy a step's resource request, before the step waits for it.

A step requests bundles, each of which must fit on one node. If the current nodes are too small or too few,
a placement group that is removed again queries the cluster's autoscaler: only the autoscaler has the node
types without a node yet. (Ray's `get_max_resources_from_cluster_config` does not: the open-source autoscaler
reports nothing there.)
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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

ACCELERATOR = "ray.io/accelerator-type"
"""The label that Ray gives a node for its kind of GPU, such as H100."""
FIELDS = {"pool": "pool", ACCELERATOR: "accelerator_type"}
"""Labels, and the fields of a config that ask for them."""
GPU_DOMAINS = ("GB200", "GB300")
"""Kinds whose placement groups Ray puts into one NVLink domain."""


@dataclass(frozen=True)
class Bundle:
    """What a step needs of one node: resources by name, and the node's labels."""

    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)

    def fits_labels(self, node: Mapping[str, Any]) -> bool:
        """Return whether a node, as `ray.nodes()` returns it, has the labels."""
        return all(node["Labels"].get(name) == value for name, value in self.labels.items())


IO_TASK = Bundle({"CPU": IO_TASK_CPUS})
"""Reads and writes the rows of a step: without it, the engines would wait forever."""


def check_capacity(bundles: Sequence[Bundle], what: str) -> None:
    """Check that this machine or cluster can satisfy a step's resource request, now or after scaling up.

    Args:
        bundles: what the step needs.
        what: the field that requests them; the fields that request labels are next to it.

    Raises:
        ConfigError: it cannot; with what is needed and what there is.
    """
    nodes = _nodes()
    shortage = find_shortage(bundles, nodes)
    if shortage is None:
        return
    on_cluster = bool(os.environ.get("RAY_ADDRESS"))
    if on_cluster and not _is_refused(bundles):
        return
    for name, value in sorted({item for bundle in bundles for item in bundle.labels.items()}):
        if not any(node["Labels"].get(name) == value for node in nodes):
            raise ConfigError(
                f"{what.rpartition('.')[0]}.{FIELDS[name]} {value!r}: {_no_such_label(name, nodes, on_cluster)}"
            )
    where = "the cluster can provide" if on_cluster else "this machine has"
    raise ConfigError(f"{what} needs {shortage[0]}, {where} {shortage[1]}; {_remedy(on_cluster)}")


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _no_such_label(name: str, nodes: Sequence[Mapping[str, Any]], on_cluster: bool) -> str:
    values = sorted({node["Labels"][name] for node in nodes if name in node["Labels"]})
    if not on_cluster:
        has = f"this machine has {', '.join(values)}" if values else "this machine has no such label"
        return f"{has}; leave it out, or set RAY_ADDRESS to a cluster"
    others = f"its nodes have {', '.join(values)}" if values else f"none of its nodes has a label `{name}`"
    return f"no node of the cluster has this label `{name}`, nor has a node type that could be added; {others}"


def _remedy(on_cluster: bool) -> str:
    remedy = "lower it, or set RAY_ADDRESS to a larger cluster"
    return f"and no node type that could be added has more; {remedy}" if on_cluster else remedy


def find_shortage(bundles: Sequence[Bundle], nodes: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Return what is needed and what there is, if these nodes cannot provide it even when idle.

    It only compares the sum of each resource, in all and by labels, and whether some node can hold each bundle, so
    that no request is refused that might fit when packed well.

    Args:
        bundles: what is needed.
        nodes: as `ray.nodes()` returns them.
    """
    for bundle in bundles:
        usable = [node["Resources"] for node in nodes if bundle.fits_labels(node)]
        if not any(all(node.get(name, 0) >= needed for name, needed in bundle.resources.items()) for node in usable):
            largest = {name: max((node.get(name, 0) for node in usable), default=0) for name in bundle.resources}
            return f"{_describe(bundle.resources)} on one node{_with(bundle)}", f"at most {_describe(largest)} there"
    names = sorted({name for bundle in bundles for name in bundle.resources})
    labeled = {tuple(bundle.labels.items()) for bundle in bundles if bundle.labels}
    for group in (Bundle({}, dict(labels)) for labels in [(), *sorted(labeled)]):
        wanted = [bundle.resources for bundle in bundles if group.labels.items() <= bundle.labels.items()]
        usable = [node["Resources"] for node in nodes if group.fits_labels(node)]
        for name in names:
            needed, total = (sum(resources.get(name, 0) for resources in each) for each in (wanted, usable))
            if needed > total:
                return f"{needed:g} {name}{_with(group)}", f"{total:g}"
    return None


def _with(bundle: Bundle) -> str:
    labels = " and ".join(f"{FIELDS.get(name, name)} {value}" for name, value in sorted(bundle.labels.items()))
    return labels and f" with {labels}"


def _describe(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{number:g} {name}" for name, number in sorted(resources.items()) if number) or "nothing"


def _is_refused(bundles: Sequence[Bundle]) -> bool:
    """Return whether the cluster's autoscaler cannot add such nodes, or there is none.

    A refusal does not count while nodes for other jobs are being launched. Ray's first autoscaler, which a head
    without a cluster file has, reports nothing.
    """
    if not is_autoscaler_v2(fetch_from_server=True):
        return True
    if any(bundle.labels.get(ACCELERATOR) in GPU_DOMAINS for bundle in bundles):
        return False  # a placement group over several domains, as replicas may be, would be refused
    group = placement_group(
        [dict(bundle.resources) for bundle in bundles],
        bundle_label_selector=[dict(bundle.labels) for bundle in bundles],
    )
    started = time.monotonic()
    requested_at = None
    try:
        while time.monotonic() < started + LAUNCH_TIMEOUT_S:
            if find_shortage(bundles, _nodes()) is None:
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
