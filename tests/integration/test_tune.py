"""`tune` with a real engine: more rows at a time are faster than one, and the config says so afterwards."""

import json
import signal

import pytest

from factory.storage import file_io

ENGINE = {
    "kind": "vllm",
    "model": "embedded",
    "device": "cpu",
    "engine_kwargs": {"max_model_len": 1024, "max_num_seqs": 1},
}
SHORT = {"temperature": 0.6, "max_tokens": 48}
TRIALS = ("--only", "max_num_seqs", "--rows", "8")


def trials(run) -> list[str]:
    folder = f"{run.output}-tuning"
    if not file_io.exists(folder):
        return []
    return [path for path in file_io.sizes(folder) if path.endswith("profiles/.manifest.json")]


@pytest.mark.slow
def test_more_rows_at_a_time_get_into_the_config(make_run):
    run = make_run("mine", personas=64, engine=ENGINE, profiles={"sampling": SHORT})
    process = run.start_until(lambda: trials(run), *TRIALS, job="tune")
    process.send_signal(signal.SIGKILL)
    process.wait()
    (first,) = trials(run)
    before = file_io.read_bytes(f"{run.output}-tuning/{first}")
    said = run.finish(*TRIALS, job="tune", timeout=500)
    print(said)
    assert file_io.read_bytes(f"{run.output}-tuning/{first}") == before  # a finished trial stays
    kwargs = json.loads((run.folder / "config.json").read_text())["engine"]["engine_kwargs"]
    assert kwargs["max_num_seqs"] in (2, 4)
    assert kwargs["max_model_len"] == 1024
    assert "times as fast (best)" in said
    assert not file_io.exists(f"{run.output}/profiles")
    pilot = said.splitlines()[-1].rpartition(" ")[2]
    assert "profiles" in run.finish("--pilot", pilot, job="plan")


@pytest.mark.parametrize(
    ("arguments", "engine", "message"),
    [
        ((), {"kind": "scripted"}, "engine.kind is scripted; only vllm has settings to tune"),
        (("--rows", "-1"), ENGINE, "--rows is -1; it must be at least 1"),
        (("--only", "dtype"), ENGINE, "argument --only: invalid choice: 'dtype'"),
    ],
)
def test_what_cannot_be_tuned_is_refused_in_one_line(make_run, arguments, engine, message):
    run = make_run("mine", engine=engine)
    assert run.start(*arguments, job="tune").wait(100) == 2
    assert run.log().startswith(f"error: {message}")
    assert len(run.log().splitlines()) == 1
