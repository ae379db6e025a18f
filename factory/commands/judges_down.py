"""Stop the persistent fleet of judges: its head on this machine, or its deployments on RAY_ADDRESS.

character-factory judges-down
"""

from factory.cli import Parser
from factory.serving.persistent_fleet import bring_down


def run() -> None:
    """Run the command."""
    Parser(__doc__).parse_args()
    print(bring_down())
