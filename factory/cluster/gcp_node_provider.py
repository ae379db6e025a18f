"""Compute Engine nodes for `ray up`: spot machines if available, otherwise on-demand ones; see `aws_node_provider`."""

import logging
from typing import Any

from ray.autoscaler._private.gcp.node_provider import GCPNodeProvider

SPOT_ONLY = ("provisioningModel", "instanceTerminationAction")
NO_SPOT = ("ZONE_RESOURCE_POOL_EXHAUSTED", "QUOTA_EXCEEDED", "quotaExceeded", "resourceNotAvailable")
"""Compute Engine's error codes for missing spot capacity or an exhausted quota."""

logger = logging.getLogger(__name__)


class SpotFirstGCPNodeProvider(GCPNodeProvider):
    """Ray's provider with a fallback from spot to on-demand machines."""

    def create_node(self, base_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Launch nodes one by one, since an error does not name the failed machine, and return them by name."""
        if base_config.get("scheduling", {}).get("provisioningModel") != "SPOT":
            return dict(super().create_node(base_config, tags, count))
        launched: dict[str, Any] = {}
        for _ in range(count):
            launched |= self._create_one(base_config, tags)
        return launched

    def _create_one(self, base_config: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
        try:
            return dict(super().create_node(base_config, tags, 1))
        except Exception as problem:  # Ray raises a bare Exception
            if not any(code in str(problem) for code in NO_SPOT):
                raise
            logger.warning("no spot machine of %s: %s", base_config.get("machineType"), problem)
        scheduling = {key: value for key, value in base_config["scheduling"].items() if key not in SPOT_ONLY}
        return dict(super().create_node({**base_config, "scheduling": scheduling}, tags, 1))
