"""A few faults at random moments; `make chaos` makes more of them, of every kind."""

import pytest
from rich.console import Console

from tests.chaos.run import chaos

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("act", ["synthesis", "replicas", "training"])
def test_nothing_is_lost_and_nothing_twice_whatever_fails(tmp_path, act):
    assert len(chaos(tmp_path, seed=3, target=4, names=[act], console=Console())) == 4
