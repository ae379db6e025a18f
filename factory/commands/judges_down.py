"""End the fleet of judges that `judges_up.py` left: its head on this machine, or its deployments on RAY_ADDRESS.

character-factory judges-down
"""

import argparse

from factory.serving.persistent_fleet import bring_down


def run() -> None:
    """Run the command."""
    formatter = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=formatter).parse_args()
    print(bring_down())
