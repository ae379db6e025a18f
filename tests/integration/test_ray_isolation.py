"""Neither the factory nor its tests start or join a Ray by accident."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.runs import PROJECT

LEFT_BEHIND = "127.0.0.1:9"  # nothing listens there
FIND = "import factory, ray; ray.get_runtime_context().get_node_id()"


@pytest.mark.parametrize("call", [FIND, "import factory, ray; ray.put(1)", "import factory, ray; ray.nodes()"])
def test_accidental_ray_start_is_an_error(call, tmp_path):
    """Also if a killed head left its address: Ray would wait 10 minutes for it."""
    address_file = tmp_path / "ray" / "ray_current_cluster"
    address_file.parent.mkdir()
    address_file.write_text(LEFT_BEHIND)
    environment = {**os.environ, "RAY_TMPDIR": str(tmp_path)}
    environment.pop("RAY_ENABLE_AUTO_CONNECT")  # the factory's own guard, without that of the tests
    process = subprocess.run(
        [sys.executable, "-c", call], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 1
    assert "has not been" in process.stderr.splitlines()[-1]


def test_tests_use_their_own_ray_folder():
    assert "RAY_ADDRESS" not in os.environ
    assert os.environ["RAY_ENABLE_AUTO_CONNECT"] == "0"
    assert Path(os.environ["RAY_TMPDIR"]) != Path("/tmp")
