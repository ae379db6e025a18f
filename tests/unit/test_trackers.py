"""Where metrics go: each tracker by the calls that its package gets, which a stand-in writes down."""

import json
import sys
import uuid
from pathlib import Path

import pytest

from factory.config import Training
from factory.errors import ConfigError
from factory.storage import file_io
from factory.training.dry_run import check_trackers
from factory.training.metrics_log import MetricsLog
from factory.training.trackers import PROJECT, TRACKERS, Sink, start_trackers

STAND_IN = """
import json
class Any:
    def __getattr__(self, name):
        def call(*given, **named):
            with open({calls!r}, "a") as file:
                file.write(json.dumps([name, given, named]) + chr(10))
            if name == {fails!r}:
                raise OSError("the server is" + chr(10) + "away")
            return [] if name == "search_runs" else Any()
        return call
    @property
    def info(self):
        return self
    run_id = experiment_id = "7"
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return lambda *given, **named: getattr(Any(), name)(*given, **named) if name != "MlflowClient" else Any()
"""
STEP = {
    "kind": "step", "step": 3, "loss": 2.5, "learning_rate": 1e-5, "grad_norm": None, "tokens": 9, "seconds": 1.0,
    "tokens_per_second": 9.0,
}  # fmt: skip
VALUES = {"step/loss": 2.5, "step/learning_rate": 1e-5, "step/tokens_per_second": 9.0}


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Return a function that puts a stand-in in the place of a package, and one that reads what was called."""
    monkeypatch.syspath_prepend(tmp_path)
    written = tmp_path / "calls.jsonl"

    def install(name: str, fails: str = "") -> None:
        (tmp_path / f"{name}.py").write_text(STAND_IN.format(calls=str(written), fails=fails))
        monkeypatch.delitem(sys.modules, name, raising=False)

    def read() -> list:
        return [json.loads(line) for line in written.read_text().splitlines()]

    yield install, read
    for name in TRACKERS:
        sys.modules.pop(name, None)


def log_a_step(folder: Path, *names: str) -> list[str]:
    said: list[str] = []
    log = MetricsLog(str(folder), start_trackers(names, str(folder), "run7", {"epochs": 3}, said.append))
    log.add(STEP)
    log.add({"kind": "settings", "step": 1, "learning_rate": 1e-5})
    log.close()
    return said


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_run_is_resumed_by_its_name_and_gets_the_numbers(tmp_path, calls, name):
    install, read = calls
    install(name)
    assert log_a_step(tmp_path / "run", name) == []
    (_, _, begun), *_ = found = read()
    assert (begun["project"], begun["name"], begun["resume"]) == (PROJECT, "run7", "allow")
    assert begun["config"] == {"epochs": 3}
    logged = [[*given, named] for call, given, named in found if call == "log"]
    assert logged == [[VALUES | {"training_step": 3}, {}] if name == "wandb" else [VALUES, {"step": 3}]]
    assert found[-1][0] == "finish"


def test_mlflow_gets_the_numbers(tmp_path, calls):
    install, read = calls
    install("mlflow")
    assert log_a_step(tmp_path / "run", "mlflow") == []
    found = read()
    assert ["log_param", ["7", "epochs", 3], {}] in found
    assert [given[1:] for call, given, _ in found if call == "log_metric"] == [[*item] for item in VALUES.items()]
    assert found[-1][0] == "set_terminated"


def test_tracker_that_fails_is_left_out_and_the_others_go_on(tmp_path, calls):
    install, read = calls
    install("wandb", fails="log")
    install("trackio")
    (line,) = log_a_step(tmp_path / "run", "wandb", "trackio")
    assert line == "training: wandb gets no more metrics until the next start (OSError: the server is away)"
    assert [call for call, _, _ in read()].count("finish") == 1
    assert json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[1]) == STEP


def test_tracker_that_does_not_start_is_refused(tmp_path, calls):
    install, _ = calls
    install("trackio", fails="init")
    with pytest.raises(ConfigError, match=r"training.trackers: trackio does not start \(OSError: the server is away\)"):
        log_a_step(tmp_path, "trackio")


def test_missing_package_is_named():
    with pytest.raises(ConfigError, match="mlflow needs the package mlflow, which is not installed; install it, or"):
        check_trackers(Training(trackers=("mlflow",)))
    check_trackers(Training())


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_tensorboard_writes_beside_the_checkpoints(tmp_path, kind):
    folder = str(tmp_path / "run") if kind == "local" else f"memory://{uuid.uuid4().hex}/run"
    log = MetricsLog(folder, start_trackers(("tensorboard",), folder, "run7", {}, print))
    log.add(STEP)
    log.close()
    (name,) = file_io.list_names(f"{folder}/tensorboard", "")
    content = file_io.read_bytes(f"{folder}/tensorboard/{name}")
    assert b"step/loss" in content
    assert b"grad_norm" not in content


def test_without_trackers_metrics_are_written_all_the_same(tmp_path):
    log = MetricsLog(str(tmp_path), Sink({}, print))
    log.add(STEP)
    log.write()
    assert (tmp_path / "metrics.jsonl").exists()
