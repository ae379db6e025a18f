"""Worker nodes as processes of this machine, for Ray's autoscaler.

Ray's own provider for this (`FakeMultiNodeProvider`) lets all nodes share the head's folder, where
each new node unpacks a job's files again and overwrites those that running tasks use.
"""

import json
import os
import subprocess
import sys
from typing import Any

from ray.autoscaler._private.cli_logger import cli_logger
from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    NODE_KIND_WORKER,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

HEAD_ID = "head"
END_TIMEOUT_S = 15
OPTIONS = {"CPU": "--num-cpus", "GPU": "--num-gpus", "object_store_memory": "--object-store-memory"}


class LocalNodeProvider(NodeProvider):
    """Starts and stops `ray start` processes.

    Settings: `gcs_address` (host:port), `head_type` (the head's node type), and `folder` (for the nodes' files).
    """

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tags = {HEAD_ID: _tags(HEAD_ID, NODE_KIND_HEAD, provider_config["head_type"])}

    @staticmethod
    def bootstrap_config(cluster_config: dict[str, Any]) -> dict[str, Any]:
        """Return the config unchanged."""
        return cluster_config

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        """Return the ids of running nodes with these tags."""
        return [
            name
            for name, tags in list(self._tags.items())
            if self.is_running(name) and tag_filters.items() <= tags.items()
        ]

    def is_running(self, node_id: str) -> bool:
        """Return whether a node's process is running; the head, which calls this, always is."""
        process = self._processes.get(node_id)
        return node_id == HEAD_ID or (process is not None and process.poll() is None)

    def is_terminated(self, node_id: str) -> bool:
        """Return whether a node has ended."""
        return not self.is_running(node_id)

    def node_tags(self, node_id: str) -> dict[str, str]:
        """Return a node's tags."""
        return self._tags[node_id]

    def external_ip(self, node_id: str) -> str:
        """Return loopback for all nodes."""
        return "127.0.0.1"

    def internal_ip(self, node_id: str) -> str:
        """Return loopback for all nodes."""
        return "127.0.0.1"

    def create_node_with_resources_and_labels(
        self,
        node_config: dict[str, Any],
        tags: dict[str, str],
        count: int,
        resources: dict[str, float],
        labels: dict[str, str],
    ) -> None:
        """Start nodes, which join the cluster within seconds."""
        for _ in range(count):
            name = f"worker-{len(self._tags)}"
            kind = tags[TAG_RAY_USER_NODE_TYPE]
            self._processes[name] = self._start(name, kind, dict(resources), labels)
            self._tags[name] = _tags(name, NODE_KIND_WORKER, kind) | tags

    def _start(
        self, name: str, kind: str, resources: dict[str, float], labels: dict[str, str]
    ) -> "subprocess.Popen[bytes]":
        folder = os.path.join(self.provider_config["folder"], name)
        os.makedirs(folder)
        own_options = {option: resources.pop(name) for name, option in OPTIONS.items() if name in resources}
        command = [
            sys.executable, "-m", "factory.runtime.loopback", "start", "--block", "--node-ip-address=127.0.0.1",
            f"--address={self.provider_config['gcs_address']}", f"--temp-dir={folder}",
            "--dashboard-agent-listen-port=0", "--disable-usage-stats", f"--resources={json.dumps(resources)}",
            f"--labels={','.join(f'{key}={value}' for key, value in labels.items())}",
            *(f"{option}={number:.0f}" for option, number in own_options.items()),
        ]  # fmt: skip
        # The autoscaler identifies its nodes by these.
        identity = {"RAY_CLOUD_INSTANCE_ID": name, "RAY_NODE_TYPE_NAME": kind}
        with open(os.path.join(folder, "node.log"), "w") as log:
            return subprocess.Popen(
                command,
                env=os.environ | identity,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def terminate_node(self, node_id: str) -> None:
        """Stop a node with all its processes."""
        process = self._processes.get(node_id)
        if process is None:
            cli_logger.warning("no node {} was started here", node_id)
            return
        process.terminate()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tags(name: str, kind: str, node_type: str) -> dict[str, str]:
    return {
        TAG_RAY_NODE_KIND: kind,
        TAG_RAY_USER_NODE_TYPE: node_type,
        TAG_RAY_NODE_NAME: name,
        TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE,
    }
