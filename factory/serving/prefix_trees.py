"""Where routers remember the prompts of each replica: actors on Ray's head."""

from collections.abc import Sequence

import ray

NAME = "LlmPrefixTreeActor"
"""Ray's own, by which its routers look for the actor."""
HEAD = {"node:__internal_head__": 0.001}


def start_prefix_trees(app: str, deployments: Sequence[str]) -> None:
    """Start the actor of each deployment's routers on Ray's head, where the controller of Serve is.

    By itself the first router starts it on any node. If that one is lost, each request waits for the actor in its
    router's event loop, which then learns of no new replica either: judging stood still until the run ended.

    Args:
        app: the Serve application.
        deployments: names of its deployments with `PrefixCacheAffinityRouter`.
    """
    from ray.llm._internal.serve.routing_policies.prefix_aware.prefix_tree import PrefixTreeActor
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

    controller = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    for deployment in deployments:
        tree = PrefixTreeActor.options(  # type: ignore[attr-defined]  # an actor class
            name=NAME,
            namespace="::".join([SERVE_NAMESPACE, app, deployment]),
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            resources=HEAD,
        ).remote()
        ray.get(controller._register_shutdown_cleanup_actor.remote(tree))
