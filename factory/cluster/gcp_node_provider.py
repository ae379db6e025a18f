"""Compute Engine nodes for `ray up`: spot where there is any, on demand where there is none; see `aws`."""

import logging
from typing import Any

from ray.autoscaler._private.gcp.node_provider import GCPNodeProvider

SPOT_ONLY = ("provisioningModel", "instanceTerminationAction")
NO_SPOT = ("ZONE_RESOURCE_POOL_EXHAUSTED", "QUOTA_EXCEEDED", "quotaExceeded", "resourceNotAvailable")
"""What Compute Engine answers where the zone has no spot machine to give, or the project may have no more of them."""

logger = logging.getLogger(__name__)


class SpotFirst(GCPNodeProvider):
    """Ray's own provider, which launches on demand what spot does not give."""

    def create_node(self, base_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Launch nodes, and return them by name: one by one, since a failure tells not which of many it was."""
        if base_config.get("scheduling", {}).get("provisioningModel") != "SPOT":
            return dict(super().create_node(base_config, tags, count))
        launched: dict[str, Any] = {}
        for _ in range(count):
            launched |= self._one(base_config, tags)
        return launched

    def _one(self, base_config: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
        try:
            return dict(super().create_node(base_config, tags, 1))
        except Exception as problem:  # Ray raises the operation's errors as a bare Exception
            if not any(code in str(problem) for code in NO_SPOT):
                raise
            logger.warning("no spot machine of %s: %s", base_config.get("machineType"), problem)
        left = {key: value for key, value in base_config["scheduling"].items() if key not in SPOT_ONLY}
        return dict(super().create_node({**base_config, "scheduling": left}, tags, 1))
