"""Watches for a spot machine's interruption notice, and has Ray drain its node.

A draining node gets no more work. The autoscaler starts another one if needed, Ray Serve starts the
node's replicas elsewhere before it stops them, and a training saves a checkpoint. Each worker of a
`ray up` cluster runs this next to Ray; on Kubernetes, pods get SIGTERM instead.

python -m factory.cluster.spot_notice aws HEAD:6379
"""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import psutil

METADATA = "http://169.254.169.254"
"""The metadata server of AWS and GCP, a link-local address."""
POLL_S = 5
"""As AWS recommends; it leaves almost all of the two minutes' notice."""
GCP_NOTICE_S = 30
"""Time from the notice until Compute Engine stops a machine."""
TOKEN_LIFETIME_S = 21600
TIMEOUT_S = 2
GCS_TIMEOUT_S = 10


def seconds_left(cloud: str, metadata: str) -> float | None:
    """Return the time until this machine is interrupted; None without a notice.

    Args:
        cloud: `aws` or `gcp`.
        metadata: the URL of the cloud's metadata server.

    Raises:
        OSError: the metadata server does not respond.
    """
    return _aws(metadata) if cloud == "aws" else _gcp(metadata)


def _aws(metadata: str) -> float | None:
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_LIFETIME_S)}
    token = _get(f"{metadata}/latest/api/token", lifetime, "PUT")
    notice = _get(f"{metadata}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token or ""})
    if notice is None:
        return None
    when = datetime.strptime(json.loads(notice)["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _gcp(metadata: str) -> float | None:
    preempted = _get(f"{metadata}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    return GCP_NOTICE_S if preempted == "TRUE" else None


def _get(url: str, headers: Mapping[str, str], method: str = "GET") -> str | None:
    """Return the text at a URL; None for status 404, which on AWS means that there is no notice."""
    request = urllib.request.Request(url, headers=dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return str(answer.read().decode()).strip()
    except urllib.error.HTTPError as problem:
        if problem.code == 404:
            return None
        raise


def drain(head: str, seconds: float) -> None:
    """Drain the Ray nodes of this machine, through the only interface that Ray has for it.

    Args:
        head: host:port of the cluster's control store (GCS).
        seconds: time until the machine is interrupted.

    Raises:
        RuntimeError: Ray refuses, or has no node on this machine.
    """
    import ray
    from ray.core.generated.autoscaler_pb2 import (  # type: ignore[attr-defined]  # generated
        DRAIN_NODE_REASON_PREEMPTION,
    )
    from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]  # generated

    raylet: Any = ray._raylet
    client = raylet.GcsClient(address=head)
    own_addresses = {address.address for interface in psutil.net_if_addrs().values() for address in interface}
    own_nodes = [
        node_id.hex()
        for node_id, node in client.get_all_node_info(timeout=GCS_TIMEOUT_S).items()
        if node.state == GcsNodeInfo.ALIVE and node.node_manager_address in own_addresses
    ]
    if not own_nodes:
        raise RuntimeError(f"Ray's head at {head} has no node with an address of this machine")
    deadline_ms = int((time.time() + seconds) * 1000)
    for node_id in own_nodes:
        reason = "the cloud is interrupting this spot machine"
        accepted, refusal = client.drain_node(node_id, DRAIN_NODE_REASON_PREEMPTION, reason, deadline_ms)
        if not accepted:
            raise RuntimeError(f"Ray does not drain the node {node_id}: {refusal}")
        print(f"notice: draining the node {node_id}", flush=True)


def watch(cloud: str, metadata: str, on_notice: Callable[[float], None], poll_s: float = POLL_S) -> None:
    """Wait for a notice, and call `on_notice` once with the seconds left."""
    while True:
        try:
            left = seconds_left(cloud, metadata)
        except (OSError, ValueError, LookupError) as problem:
            print(f"notice: {metadata}: {problem}", flush=True)
            left = None
        if left is not None:
            print(f"notice: this machine will be interrupted in {left:.0f} s", flush=True)
            on_notice(left)
            return
        time.sleep(poll_s)


def main(cloud: str, head: str, metadata: str = METADATA) -> None:
    """Wait for the notice of this machine, and drain its nodes."""
    watch(cloud, metadata, lambda left: drain(head, left))


if __name__ == "__main__":
    main(*sys.argv[1:])
