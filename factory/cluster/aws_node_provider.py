"""EC2 nodes for `ray up`: spot where there is any, on demand where there is none.

Ray's autoscaler forgets a launch that fails at once (a spot request without capacity) and asks for
the same node type again, for as long as it is wanted: its memory for types that cannot be had
(`CloudResourceMonitor`) hears of Kubernetes' pending pods alone. So the fall-back is in the launch.
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
"""What EC2 answers where it has no spot instance to give, or the account may have no more of them.

Ray asks one zone after the other and tells the last one's answer, which is `Unsupported` where that zone does not have
the instance type at all.
"""

logger = logging.getLogger(__name__)


class SpotFirst(AWSNodeProvider):
    """Ray's own provider, which launches on demand what spot does not give."""

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Launch nodes, and return them by id; EC2 may give fewer spot instances than were asked for."""
        if MARKET not in node_config:
            return dict(super().create_node(node_config, tags, count))
        try:
            launched = dict(super().create_node(node_config, tags, count))
        except Exception as problem:  # Ray raises botocore's error, or its own made of it
            if not any(code in f"{problem} {getattr(problem, 'category', '')}" for code in NO_SPOT):
                raise
            logger.warning("no spot instance of %s: %s", node_config.get("InstanceType"), problem)
            launched = {}
        if missing := count - len(launched):
            on_demand = {key: value for key, value in node_config.items() if key != MARKET}
            launched |= super().create_node(on_demand, tags, missing)
        return launched
