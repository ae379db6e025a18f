"""The metrics of a training survive its driver."""

import json

from factory.training.metrics_log import METRICS, MetricsLog, write_part


def step(number: int, loss: float) -> dict:
    return {"kind": "step", "step": number, "loss": loss}


def test_steps_that_workers_wrote_are_read(tmp_path):
    (tmp_path / METRICS).write_text(json.dumps(step(1, 3.0)) + "\n")
    write_part(str(tmp_path), 2, [step(1, 3.0), step(2, 2.5)])
    write_part(str(tmp_path), 4, [step(3, 2.0), step(4, 1.5)])
    log = MetricsLog(str(tmp_path))
    assert [row["loss"] for row in log.rows("step")] == [3.0, 2.5, 2.0, 1.5]


def test_repeated_step_replaces_the_first(tmp_path):
    write_part(str(tmp_path), 4, [step(n, float(n)) for n in range(1, 5)])
    log = MetricsLog(str(tmp_path))
    log.forget_after(2)
    log.add(step(3, 9.0))
    log.close()
    written = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in written] == [(1, 1.0), (2, 2.0), (3, 9.0)]
    assert (tmp_path / "loss.svg").exists()
