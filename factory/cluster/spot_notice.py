"""What a spot machine does when its cloud says that it will be taken away: it has Ray drain its node.

A draining node is given no more work. The autoscaler brings another one for what comes, Ray Serve
starts the node's replicas elsewhere before it ends these, and a training saves a checkpoint. Every
worker of a `ray up` cluster runs this beside Ray; pods are sent SIGTERM by Kubernetes instead.

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
"""Where a machine asks its cloud about itself, on AWS and GCP alike: an address within the host."""
LOOK_EVERY_S = 5
"""AWS advises so; of its two minutes as few as that are lost."""
GCP_NOTICE_S = 30
"""So long after the notice Compute Engine stops a machine."""
TOKEN_S = 21600
TIMEOUT_S = 2
HEAR_S = 10


def seconds_left(cloud: str, metadata: str) -> float | None:
    """How long this machine has left; None where nobody has said that it will be taken away.

    Args:
        cloud: `aws` or `gcp`.
        metadata: the URL of the cloud's metadata server.

    Raises:
        OSError: the metadata server does not answer.
    """
    return _aws(metadata) if cloud == "aws" else _gcp(metadata)


def _aws(metadata: str) -> float | None:
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
    token = _ask(f"{metadata}/latest/api/token", lifetime, "PUT")
    notice = _ask(f"{metadata}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token or ""})
    if notice is None:
        return None
    when = datetime.strptime(json.loads(notice)["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _gcp(metadata: str) -> float | None:
    told = _ask(f"{metadata}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    return GCP_NOTICE_S if told == "TRUE" else None


def _ask(url: str, headers: Mapping[str, str], method: str = "GET") -> str | None:
    """What is said at a URL; None where there is no such thing, which is how AWS says that there is no notice."""
    request = urllib.request.Request(url, headers=dict(headers), method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return str(answer.read().decode()).strip()
    except urllib.error.HTTPError as problem:
        if problem.code == 404:
            return None
        raise


def drain(head: str, seconds: float) -> None:
    """Have the Ray node of this machine drained, by the one way that Ray has.

    Args:
        head: host:port of the cluster's control store.
        seconds: until the machine is gone.

    Raises:
        RuntimeError: Ray refuses, or has no node here.
    """
    import ray
    from ray.core.generated.autoscaler_pb2 import (  # type: ignore[attr-defined]  # generated
        DRAIN_NODE_REASON_PREEMPTION,
    )
    from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]  # generated

    raylet: Any = ray._raylet
    client = raylet.GcsClient(address=head)
    mine = {address.address for found in psutil.net_if_addrs().values() for address in found}
    here = [
        node_id.hex()
        for node_id, node in client.get_all_node_info(timeout=HEAR_S).items()
        if node.state == GcsNodeInfo.ALIVE and node.node_manager_address in mine
    ]
    if not here:
        raise RuntimeError(f"Ray's head at {head} knows no node with an address of this machine")
    deadline_ms = int((time.time() + seconds) * 1000)
    for node_id in here:
        why = "the cloud takes this spot machine away"
        done, refusal = client.drain_node(node_id, DRAIN_NODE_REASON_PREEMPTION, why, deadline_ms)
        if not done:
            raise RuntimeError(f"Ray does not drain the node {node_id}: {refusal}")
        print(f"notice: the node {node_id} is drained", flush=True)


def watch(cloud: str, metadata: str, act: Callable[[float], None], every_s: float = LOOK_EVERY_S) -> None:
    """Wait for a notice, and act on it once."""
    while True:
        try:
            left = seconds_left(cloud, metadata)
        except (OSError, ValueError, LookupError) as problem:
            print(f"notice: {metadata}: {problem}", flush=True)
            left = None
        if left is not None:
            print(f"notice: this machine is taken away in {left:.0f} s", flush=True)
            act(left)
            return
        time.sleep(every_s)


def main(cloud: str, head: str, metadata: str = METADATA) -> None:
    """Watch until the end of this machine."""
    watch(cloud, metadata, lambda left: drain(head, left))


if __name__ == "__main__":
    main(*sys.argv[1:])
