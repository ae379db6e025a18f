"""The factory's own metrics, and the load reported by engine replicas."""

import asyncio
import gc
import weakref

import pytest
import ray
from prometheus_client import REGISTRY, Gauge

from factory.inference.engines import engine_metrics
from factory.inference.engines.engine_metrics import Requests, report_periodically, vllm_state
from factory.records import Counts
from factory.runtime import metrics
from factory.runtime.metrics import EngineState


class Recorder:
    """Stands for Ray's metric objects, and records their values."""

    def __init__(self) -> None:
        self.values: list[tuple[str, float, dict[str, str]]] = []

    def __call__(self, metric):
        self._metric = metric
        return self

    def inc(self, value, labels):
        assert self._metric.kind == "counter"
        assert value > 0, "Ray refuses it"
        self._record(value, labels)

    def set(self, value, labels):
        assert self._metric.kind == "gauge"
        self._record(value, labels)

    def _record(self, value, labels):
        assert tuple(sorted(labels)) == tuple(sorted(self._metric.labels)), "Ray refuses a label too many or too few"
        self.values.append((self._metric.name, value, labels))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Metrics of a process in which Ray runs."""
    recorder = Recorder()
    monkeypatch.setattr(metrics, "_ray_runs", lambda: True)
    monkeypatch.setattr(metrics, "_instrument", recorder)
    return recorder


def test_metric_names_and_labels():
    names = [metric.name for metric in metrics.METRICS]
    assert len(set(names)) == len(names)
    assert all(name.startswith("factory_") for name in names)
    labels = {label for metric in metrics.METRICS for label in metric.labels}
    assert labels == {"step", "status", "reason", "model", "kind", "state"}


def test_nothing_is_recorded_without_ray():
    ray.shutdown()  # an earlier test may have joined one
    created = metrics._instrument.cache_info().misses
    metrics.count("profiles", Counts(ok=3, prompt_tokens=5), "model")
    metrics.count_trained(10)
    metrics.set_rows_left("profiles", 3)
    metrics.set_engine_state("model", EngineState(1, 2, 0.5))
    assert metrics._instrument.cache_info().misses == created


def test_rows_and_tokens_are_counted_by_status_and_reason(recorder):
    metrics.count("profiles", Counts(5, {"truncated": 2, "invalid_reply": 1}, 100, 40, 60), "some/model")
    rows = {(n["status"], n["reason"]): value for name, value, n in recorder.values if name == "factory_rows"}
    assert rows == {("ok", ""): 5, ("rejected", "truncated"): 2, ("rejected", "invalid_reply"): 1}
    tokens = {(n["model"], n["kind"]): value for name, value, n in recorder.values if name == "factory_tokens"}
    assert tokens == {("some/model", "prompt"): 100, ("some/model", "output"): 40, ("some/model", "cached"): 60}
    assert {n["step"] for _, _, n in recorder.values} == {"profiles"}


def test_empty_shard_records_nothing(recorder):
    metrics.count("profiles", Counts(), "model")
    assert recorder.values == []


def test_rows_left_may_be_zero(recorder):
    metrics.set_rows_left("profiles", 0)
    assert recorder.values == [("factory_rows_left", 0, {"step": "profiles"})]


def test_engine_without_cache_records_requests_only(recorder):
    metrics.set_engine_state("model", EngineState(3, 1))
    assert [(name, value) for name, value, _ in recorder.values] == [("factory_engine_requests", n) for n in (3, 1)]


def test_requests_over_concurrency_wait():
    assert Requests(at_once=4, open=3).state() == EngineState(3, 0)
    assert Requests(at_once=4, open=9).state() == EngineState(4, 5)


def test_vllm_state_is_read_from_its_gauges():
    assert vllm_state() is None, "no engine has run in this process"
    values = {"vllm:num_requests_running": 7, "vllm:num_requests_waiting": 2, "vllm:kv_cache_usage_perc": 0.25}
    gauges = [Gauge(name, "as vLLM has it", ["model_name", "engine"]) for name in values]
    try:
        assert vllm_state() is None, "the engine has reported nothing yet"
        for gauge, value in zip(gauges, values.values(), strict=True):
            gauge.labels("model", "0").set(value)
        assert vllm_state() == EngineState(7, 2, 0.25)
    finally:
        for gauge in gauges:
            REGISTRY.unregister(gauge)


def test_engine_state_is_reported_periodically(recorder, monkeypatch):
    monkeypatch.setattr(engine_metrics, "INTERVAL_S", 0.01)
    states = iter([None, EngineState(1, 0), EngineState(2, 0), EngineState(3, 0)])

    async def work() -> None:
        watching_it = report_periodically("model", lambda: next(states, EngineState(4, 0)))
        while ("factory_engine_requests", 3, {"model": "model", "state": "running"}) not in recorder.values:
            await asyncio.sleep(0.01)
        assert not watching_it.done()

    asyncio.run(asyncio.wait_for(work(), 10))


def test_reporting_does_not_keep_client_alive():
    """An actor that its own reporting kept alive would never end its engine's processes."""
    from pydantic import SecretStr

    from factory.config import OpenAIEngine
    from factory.inference.engines.openai import OpenAIReplica

    async def work() -> None:
        client = OpenAIReplica(OpenAIEngine(kind="openai", model="m"), SecretStr("none"), 4)
        watching_it = client._watching
        await asyncio.sleep(0)
        gone = weakref.ref(client)
        del client
        gc.collect()
        assert gone() is None
        watching_it.cancel()

    asyncio.run(work())
