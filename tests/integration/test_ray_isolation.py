"""Nothing here starts or joins a Ray by accident."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.runs import PROJECT

LEFT_BEHIND = "127.0.0.1:9"  # nothing listens there
FIND = "import factory, ray; ray.get_runtime_context().get_node_id()"


@pytest.mark.parametrize("call", [FIND, "import factory, ray; ray.put(1)", "import factory, ray; ray.nodes()"])
def test_an_accidental_start_of_ray_is_an_error(call, tmp_path):
    """Also where a killed head left its address: Ray would wait 10 minutes for it."""
    note = tmp_path / "ray" / "ray_current_cluster"
    note.parent.mkdir()
    note.write_text(LEFT_BEHIND)
    environment = {**os.environ, "RAY_TMPDIR": str(tmp_path)}
    environment.pop("RAY_ENABLE_AUTO_CONNECT")  # the product's own guard, without that of the tests
    ended = subprocess.run(
        [sys.executable, "-c", call], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "has not been" in ended.stderr.splitlines()[-1]


def test_tests_have_no_cluster_and_no_ray_folder_of_the_machine():
    assert "RAY_ADDRESS" not in os.environ
    assert os.environ["RAY_ENABLE_AUTO_CONNECT"] == "0"
    assert Path(os.environ["RAY_TMPDIR"]) != Path("/tmp")
