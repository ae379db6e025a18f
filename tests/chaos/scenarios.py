"""The jobs that the faults are done to, and what must hold of each in the end."""

import json
import socket
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from factory.personagym import TASKS
from factory.runtime import ray_head
from factory.storage import file_io
from tests.chaos.faults import Fault, in_flight
from tests.chaos.stage import NODE_CPUS, Stage
from tests.integration import small_training
from tests.integration.runs import Run

PROFILE_REPLY_S = 0.5
PERSONAS = 1200
SPOILT = 7
"""Every so many personas, one whose reply by the API is no profile."""


@dataclass(frozen=True)
class Act:
    """A job, the faults that are done to it, and the check of what it leaves."""

    name: str
    job: str
    faults: tuple[str, ...]
    make: Callable[[Stage, str], Run]
    in_flight: Callable[[Stage, Run], int | None]
    """See `Fault`."""
    check: Callable[[Stage, Run, list[Fault]], dict[str, int]]
    """Asserts that nothing is lost or there twice, nor more done again than was in flight; figures worth printing."""
    work: str
    """The files that show that the act's own work is being done, as a pattern of their paths in the output."""
    work_s: float
    """About how long that work takes if it is left alone: faults are spread over it."""


def _run(stage: Stage, name: str, personas: list[str], **settings: object) -> Run:
    folder = stage.folder / name
    folder.mkdir()
    source = folder / "personas.jsonl"
    source.write_text("".join(json.dumps({"persona": persona}) + "\n" for persona in personas))
    base = {"output": f"{stage.bucket}/{name}", "personas": {"source": str(source)}, "engine": {"kind": "scripted"}}
    config = {**base, **settings}
    return Run(folder, config, environment=dict(stage.environment))


def _bakers(number: int) -> list[str]:
    return [f"a baker, number {n}" for n in range(number)]


def _counted(run: Run, name: str, column: str) -> list[dict]:
    """A finished table's rows, each there once and all in the manifest."""
    rows = run.rows(name)
    ids = [row[column] for row in rows]
    assert len(set(ids)) == len(ids), f"{name}: {len(ids) - len(set(ids))} rows are there twice"
    manifest = run.table(name).manifest()
    assert manifest, f"{name}: no manifest"
    assert manifest["rows_in"] == manifest["ok"] + sum(manifest["rejected"].values()) == len(rows), name
    return rows


def _bounded(name: str, again: int, faults: list[Fault]) -> dict[str, int]:
    """What was done again, which is at most what was in flight."""
    flying = in_flight(faults)
    assert again <= flying, f"{name}: {again} done again, but only {flying} were in flight at the faults"
    return {"done again": again, "in flight at the faults": flying}


def _unknown(_stage: Stage, _run: Run) -> None:
    """Requests to vLLM pass nobody who could count them."""


def _synthesis(stage: Stage, name: str) -> Run:
    """Profiles by an API that answers after a while, so that what is asked twice can be counted."""
    stage.api.rule(delay_s=PROFILE_REPLY_S)
    engine = {
        "kind": "openai", "base_url": stage.api.base_url, "model": "small-chat", "max_concurrency": 24,
        "api_key_env": "FACTORY_TEST_KEY",
    }  # fmt: skip
    personas = [f"{baker} [[no-json]]" if n % SPOILT == 0 else baker for n, baker in enumerate(_bakers(PERSONAS))]
    return _run(stage, name, personas, engine=engine)


def _asked(stage: Stage) -> Counter[str]:
    """How often each persona was asked for."""
    return Counter(request["messages"][-1]["content"] for request in stage.api.requests("a baker, number"))


def _asked_and_not_written(stage: Stage, run: Run) -> int:
    written = len(run.rows("profiles"))  # before the other, which grows: the sum may only be too large
    return len(_asked(stage)) - written


def _synthesised(stage: Stage, run: Run, faults: list[Fault]) -> dict[str, int]:
    rows = _counted(run, "profiles", "character_id")
    assert len(rows) == PERSONAS
    spoilt = len(range(0, PERSONAS, SPOILT))
    assert run.reasons("profiles") == {"ok": PERSONAS - spoilt, "invalid_reply": spoilt}
    asked = _asked(stage)
    assert len(asked) == PERSONAS
    return {"asked": asked.total(), **_bounded("synthesis", asked.total() - PERSONAS, faults)}


EMBEDDED = 64
KILLS_OF_THE_GUILTY = 3
"""A request that was alone in an engine when that died for the third time is taken for the cause (`quarantine`)."""


def _engine(stage: Stage, name: str) -> Run:
    """Profiles by the embedded model, a shard at a time, so that there is always one to come."""
    kwargs = {"max_model_len": 4096, "max_num_seqs": 16}
    engine = {"kind": "vllm", "model": "embedded", "device": "cpu", "engine_kwargs": kwargs}
    profiles = {"sampling": {"temperature": 0.6, "top_p": 1.0, "max_tokens": 384}}
    return _run(stage, name, _bakers(EMBEDDED), engine=engine, profiles=profiles)


def _generated(_stage: Stage, run: Run, faults: list[Fault]) -> dict[str, int]:
    rows = _counted(run, "profiles", "character_id")
    assert len(rows) == EMBEDDED
    reasons = run.reasons("profiles")
    assert set(reasons) <= {"ok", "truncated", "invalid_reply", "engine_died"}, reasons
    kills = sum(fault.kind == "vLLM engine" for fault in faults)
    assert reasons.get("engine_died", 0) <= max(0, kills + 1 - KILLS_OF_THE_GUILTY), reasons
    return reasons


TRAINED = 600
"""Dialogues."""
CHECKPOINT_EVERY = 5


def _training(stage: Stage, name: str) -> Run:
    """A small model over two workers, with a checkpoint every few steps."""
    tiny = stage.folder / "tiny"
    if not tiny.exists():
        small_training.save_tiny(str(tiny))
    settings = small_training.settings_of(str(tiny), save_steps=CHECKPOINT_EVERY, eval_steps=20, max_failures=20)
    run = _run(stage, name, _bakers(1), training=settings)
    for split, count in (("train", TRAINED), ("validation", 20)):
        small_training.write_dialogues(run.output, split, count)
    return run


def _since_the_checkpoint(_stage: Stage, _run: Run) -> int:
    """The most that they can be: the driver writes what it was told of steps with the checkpoint."""
    return CHECKPOINT_EVERY


def _trained(stage: Stage, run: Run, faults: list[Fault]) -> dict[str, int]:
    told = small_training.curve(run)
    calm = stage.folder / "calm-curve.json"
    if not calm.exists():
        undisturbed = _training(stage, "calm-training")
        undisturbed.finish(job="train")
        calm.write_text(json.dumps(small_training.curve(undisturbed)))
    expected = {int(step): loss for step, loss in json.loads(calm.read_text()).items()}
    assert told.keys() == expected.keys(), "the loss curve has gaps"
    apart = max(abs(told[step] - expected[step]) for step in told)
    assert apart < 2e-3, f"the loss curve is {apart:.4f} from the undisturbed one"
    return {"steps": len(told), **_bounded("training", _steps_again(run), faults)}


def _steps_again(run: Run) -> int:
    """Steps that TensorBoard's files have more than once; a killed driver did not write the last ones down."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = file_io.join(run.output, "checkpoints/tensorboard")
    steps: list[int] = []
    for name in file_io.list_names(board, ""):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, name).write_bytes(file_io.read_bytes(file_io.join(board, name)))
            events = EventAccumulator(folder, {"scalars": 0}, purge_orphaned_data=False)
            events.Reload()
        if "step/loss" in events.Tags()["scalars"]:
            steps += [scalar.step for scalar in events.Scalars("step/loss")]
    return len(steps) - len(set(steps))


JUDGED = 12


def _judging(stage: Stage, name: str) -> Run:
    """Judgments by a fleet of one judge on Ray Serve, a shard at a time."""
    judge = {
        "name": "judge", "model": "embedded", "device": "cpu", "max_concurrency": 16,
        "engine_kwargs": {"max_model_len": 4096},
    }  # fmt: skip
    evaluation = {
        "protocol": "light", "limit": JUDGED, "general": False,
        "candidates": [{"name": "one", "kind": "scripted", "default": "I mend nets, and I mind my own business."}],
        "judges": [judge], "example_sampling": {"top_p": 1.0, "max_tokens": 384}, "judge_sampling": {"max_tokens": 128},
        "fleet": {"port": ray_head.free_port()},
    }  # fmt: skip
    return _run(stage, name, _bakers(1), evaluation=evaluation)


def _judged(_stage: Stage, run: Run, _faults: list[Fault]) -> dict[str, int]:
    rows = _counted(run, "evaluation/one/judgments/judge", "question_id")
    assert len(rows) == JUDGED * len(TASKS)
    assert {row["reason"] for row in rows} <= {None, "judge_failed"}
    scored = [row for row in rows if row["status"] == "ok"]
    assert scored
    assert all(row["score"] in range(1, 6) for row in scored)
    with socket.socket() as door:
        port = run.config["evaluation"]["fleet"]["port"]
        assert door.connect_ex(("127.0.0.1", port)), "the fleet of a run that is over still stands"
    return {"scored": len(scored), "judge_failed": len(rows) - len(scored)}


ACTS = (
    Act(
        "synthesis", "synthesize", ("node", "driver", "S3 away"),
        _synthesis, _asked_and_not_written, _synthesised, r"profiles/[^/]+\.parquet", 25,
    ),
    Act(
        "engine", "synthesize", ("vLLM engine", "node", "driver"),
        _engine, _unknown, _generated, r"profiles/[^/]+\.parquet", 120,
    ),
    Act(
        "training", "train", ("training worker", "node", "driver", "S3 away"),
        _training, _since_the_checkpoint, _trained, r"checkpoints/step-\d+/checkpoint\.json", 15,
    ),
    Act(
        "judging", "evaluate", ("Serve replica", "vLLM engine", "node", "driver"),
        _judging, _unknown, _judged, r"evaluation/(benchmark/examples|one/judgments/judge)/[^/]+\.parquet", 120,
    ),
)  # fmt: skip
assert NODE_CPUS >= 4, "a training of two workers and a fleet must each fit on what is left when a node is gone"
