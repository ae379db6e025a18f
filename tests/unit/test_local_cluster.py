"""The local cluster's file, its workers' timeline, and jobs that cannot be sent."""

import pytest

from factory.cluster import jobs, local_cluster
from factory.cluster.timeline import WorkerLifetime, max_concurrent, timeline
from factory.errors import ConfigError
from factory.resources import RESOURCES
from factory.runtime import ray_head

GOOD = local_cluster.FILE.read_text()


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        ("max_workers: 3", "max_workers: 0", r"max_workers: .* greater than or equal to 1 \(it is 0\)"),
        ("max_workers: 3", "most_workers: 3", "max_workers: Field required"),
        ("    min_workers: 0", "    min_workers: none", r"available_node_types.worker.min_workers: .*it is 'none'"),
        ("max_workers: 3", "max_workers: [", "cannot be read"),
    ],
)
def test_wrong_field_of_local_yaml_is_named(line, replacement, message, tmp_path):
    path = tmp_path / "local.yaml"
    path.write_text(GOOD.replace(line, replacement, 1))
    with pytest.raises(ConfigError, match=message):
        local_cluster.read(path)


def test_ray_accepts_the_autoscaling_config():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = local_cluster.autoscaling_config(local_cluster.read(), "127.0.0.1:6379", "/tmp/x")
    validate_config(prepare_config(config))
    head_type = config["available_node_types"][config["head_node_type"]]
    assert head_type["resources"]["CPU"] == 0
    assert all(kind.get("min_workers", 0) == 0 for kind in config["available_node_types"].values())


def test_timeline_shows_workers_and_their_maximum():
    workers = [
        WorkerLifetime("worker 2", 120, 180),
        WorkerLifetime("worker 1", 110, None),
        WorkerLifetime("worker 3", 185, None),
    ]
    assert max_concurrent(workers) == 2
    assert timeline(workers, 100, 200) == [
        "worker      start      end",
        "worker 1     0:10  running  ·····" + "█" * 43,
        "worker 2     0:20     1:20  ··········" + "█" * 28 + "··········",
        "worker 3     1:25  running  " + "·" * 41 + "█" * 7,
        "Maximum: 2 at the same time, over 1:40.",
    ]
    assert timeline([], 100, 200) == ["No workers so far."]


def test_invalid_submissions_fail_without_a_cluster(tmp_path):
    demo = RESOURCES / "jobs/configs/demo.yaml"
    with pytest.raises(ConfigError, match=r"JOB=synthesise: no such job; use one of .*synthesize"):
        jobs.submit("synthesise", demo, [], "http://127.0.0.1:1", print)
    with pytest.raises(ConfigError, match="no such file"):
        jobs.submit("synthesize", tmp_path / "none.yaml", [], "http://127.0.0.1:1", print)
    own = tmp_path / "own.yaml"
    own.write_text("output: x")
    with pytest.raises(ConfigError, match="outside the project"):
        jobs.submit("synthesize", own, [], "http://127.0.0.1:1", print)


def test_missing_local_cluster_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="start it with make cluster-up"):
        local_cluster.running_head()


def test_note_of_an_ended_head_is_ignored(monkeypatch, tmp_path):
    import os

    import psutil

    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path))
    mine = ray_head.Head(os.getpid(), psutil.Process().create_time(), "127.0.0.1:1", "/tmp/none")
    ray_head.save_record("cluster", mine)
    assert ray_head.find_running("cluster") == mine
    ray_head.save_record("cluster", ray_head.Head(mine.pid, mine.started - 1, mine.address, mine.folder))
    assert ray_head.find_running("cluster") is None
    ray_head.delete_record("cluster")
    assert ray_head.find_running("cluster") is None


@pytest.mark.parametrize("overrides", [[], ["output=~/x"], ["--limit", "5"]])
def test_output_on_this_machine_is_not_submitted(overrides):
    demo = RESOURCES / "jobs/configs/demo.yaml"
    with pytest.raises(ConfigError, match=r"output is '(runs/demo|~/x)', .*ARGS=output=s3://bucket/prefix"):
        jobs.submit("synthesize", demo, overrides, "http://127.0.0.1:1", print)
