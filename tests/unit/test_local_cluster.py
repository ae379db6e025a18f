"""The local cluster's file, its workers' timeline, and jobs that cannot be sent."""

import pytest

from factory.cluster import jobs, local_cluster
from factory.cluster.timeline import Life, most_at_once, timeline
from factory.errors import ConfigError
from factory.resources import RESOURCES
from factory.runtime import ray_head

GOOD = local_cluster.FILE.read_text()


@pytest.mark.parametrize(
    ("line", "instead", "told"),
    [
        ("max_workers: 3", "max_workers: 0", r"max_workers: .* greater than or equal to 1 \(it is 0\)"),
        ("max_workers: 3", "most_workers: 3", "max_workers: Field required"),
        ("    min_workers: 0", "    min_workers: none", r"available_node_types.worker.min_workers: .*it is 'none'"),
        ("max_workers: 3", "max_workers: [", "cannot be read"),
    ],
)
def test_a_wrong_line_of_the_local_clusters_file_is_named(line, instead, told, tmp_path):
    path = tmp_path / "local.yaml"
    path.write_text(GOOD.replace(line, instead, 1))
    with pytest.raises(ConfigError, match=told):
        local_cluster.read(path)


def test_rays_own_check_of_a_cluster_file_takes_what_the_autoscaler_is_given():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = local_cluster.autoscaling_config(local_cluster.read(), "127.0.0.1:6379", "/tmp/x")
    validate_config(prepare_config(config))
    head_type = config["available_node_types"][config["head_node_type"]]
    assert head_type["resources"]["CPU"] == 0
    assert all(kind.get("min_workers", 0) == 0 for kind in config["available_node_types"].values())


def test_a_timeline_shows_who_came_and_went_and_how_many_there_were():
    lives = [Life("worker 2", 120, 180), Life("worker 1", 110, None), Life("worker 3", 185, None)]
    assert most_at_once(lives) == 2
    assert timeline(lives, 100, 200) == [
        "worker       came     went",
        "worker 1     0:10    there  ·····" + "█" * 43,
        "worker 2     0:20     1:20  ··········" + "█" * 28 + "··········",
        "worker 3     1:25    there  " + "·" * 41 + "█" * 7,
        "At most 2 at once, over 1:40.",
    ]
    assert timeline([], 100, 200) == ["No worker has come yet."]


def test_what_cannot_be_sent_is_told_before_a_cluster_is_asked(tmp_path):
    demo = RESOURCES / "jobs/configs/demo.yaml"
    with pytest.raises(ConfigError, match=r"JOB=synthesise: there is no such job; there are .*synthesize"):
        jobs.submit("synthesise", demo, [], "http://127.0.0.1:1", print)
    with pytest.raises(ConfigError, match="there is no such file"):
        jobs.submit("synthesize", tmp_path / "none.yaml", [], "http://127.0.0.1:1", print)
    own = tmp_path / "own.yaml"
    own.write_text("output: x")
    with pytest.raises(ConfigError, match="outside the project"):
        jobs.submit("synthesize", own, [], "http://127.0.0.1:1", print)


def test_without_a_local_cluster_one_is_told_how_to_have_one(monkeypatch, tmp_path):
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="make cluster-up starts one"):
        local_cluster.standing()


def test_a_note_of_a_head_that_is_gone_or_whose_number_another_process_has_counts_for_nothing(monkeypatch, tmp_path):
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
def test_an_output_that_another_machine_would_look_for_elsewhere_is_not_sent(overrides):
    demo = RESOURCES / "jobs/configs/demo.yaml"
    with pytest.raises(ConfigError, match=r"output is '(runs/demo|~/x)', .*ARGS=output=s3://bucket/prefix"):
        jobs.submit("synthesize", demo, overrides, "http://127.0.0.1:1", print)
