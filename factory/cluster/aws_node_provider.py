"""EC2 nodes for `ray up`: spot instances if available, otherwise on-demand ones.

Ray's autoscaler does not remember a launch that fails at once (a spot request without capacity): it
requests the same node type again for as long as there is demand. Its memory of unavailable types
(`CloudResourceMonitor`) covers only pending pods on Kubernetes. So the launch itself falls back.
"""

import logging
from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

MARKET = "InstanceMarketOptions"
NO_SPOT = (
    "InsufficientInstanceCapacity",
    "UnfulfillableCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "Unsupported",
)
"""EC2's error codes for missing spot capacity or an exhausted spot quota.

Ray tries one zone after the other and reports the error of the last, which is `Unsupported` if that zone does not
offer the instance type at all.
"""

logger = logging.getLogger(__name__)


class SpotFirstAWSNodeProvider(AWSNodeProvider):
    """Ray's provider with a fallback from spot to on-demand instances."""

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Launch nodes and return them by id; EC2 may provide fewer spot instances than requested."""
        if MARKET not in node_config:
            return dict(super().create_node(node_config, tags, count))
        try:
            launched = dict(super().create_node(node_config, tags, count))
        except Exception as problem:  # botocore's error, or Ray's own based on it
            if not any(code in f"{problem} {getattr(problem, 'category', '')}" for code in NO_SPOT):
                raise
            logger.warning("no spot instance of %s: %s", node_config.get("InstanceType"), problem)
            launched = {}
        if missing := count - len(launched):
            on_demand = {key: value for key, value in node_config.items() if key != MARKET}
            launched |= super().create_node(on_demand, tags, missing)
        return launched
