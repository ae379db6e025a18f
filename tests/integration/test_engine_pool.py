"""Pools on a real Ray: the engines are fake, everything around them is what a run has (see `pool_scenarios`)."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.pool_scenarios import SCENARIOS, SLOTS
from tests.integration.runs import PROJECT

ELSEWHERE = ("fill-4096", "room-for-two", "followed")


def run_scenarios(*names: str) -> dict[str, dict[str, Any]]:
    """Return what each scenario found; all of them in one process, because Ray takes seconds to start."""
    command = [sys.executable, "-m", "tests.integration.pool_scenarios", *names]
    done = subprocess.run(command, cwd=PROJECT, env=os.environ, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split(" ", 1) for line in done.stdout.splitlines() if line.partition(" ")[0] in names]
    assert len(lines) == len(names)
    return {name: json.loads(text) for name, text in lines}


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, Any]]:
    return run_scenarios(*(name for name in SCENARIOS if name not in ELSEWHERE))


def test_a_pool_grows_to_three_replicas_at_once(found):
    growth = found["growth"]
    assert (growth["replicas"], growth["whole"]) == (3, True)
    assert min(growth["rows of each"]) > SLOTS


def check_slots(fill: dict[str, Any]) -> None:
    assert (fill["whole"], fill["twice"]) == (True, 0)
    assert fill["busy"] >= 0.95


def test_slots_stay_in_use_with_small_shards(found):
    check_slots(found["fill-16"])


@pytest.mark.slow
def test_slots_stay_in_use_with_large_shards():
    check_slots(run_scenarios("fill-4096")["fill-4096"])


def test_the_requests_of_a_killed_replica_go_to_the_other_at_once(found):
    killed = found["killed"]
    assert (killed["whole"], killed["replicas"]) == (True, 3)
    assert killed["busy until the next is up"] >= 0.9


def test_a_request_that_kills_engines_is_rejected_and_no_other(found):
    assert found["poison"]["wrong"] == [["row 200 with poison", "engine_died"]]
    assert found["poison"]["engines"] <= 2 + 3


def test_the_last_shard_is_spread_over_all_replicas(found):
    assert sorted(found["tail"]["rows of each"]) == [SLOTS] * 3


def test_two_stages_share_the_replicas(found):
    stages = found["two-stages"]
    assert (stages["whole"], stages["engines"], stages["up at the end"]) == (True, 2, 2)


def test_a_replica_that_never_starts_ends_the_run_in_one_line(found):
    assert found["never-starts"]["error"] == (
        "ModelError: engine: cannot start: RuntimeError: no such weights; --verbose shows its full output"
    )


@pytest.mark.slow
def test_of_three_engines_with_room_for_two_the_third_follows():
    room = run_scenarios("room-for-two")["room-for-two"]
    assert room["left"] == 0
    assert room["second before the first ended"]
    assert room["third after the first ended"]
