"""The jobs into which faults are injected, and the conditions that each must meet in the end."""

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
from tests.chaos.testbed import NODE_CPUS, Testbed
from tests.integration import small_training
from tests.integration.runs import GOOD_PROFILE, Run

PROFILE_REPLY_S = 0.5
PERSONAS = 1200
INVALID_EVERY = 7
"""One of so many personas gets an invalid reply."""


@dataclass(frozen=True)
class Scenario:
    """A job, its kinds of faults, and the check of its output."""

    name: str
    job: str
    faults: tuple[str, ...]
    make: Callable[[Testbed, str], Run]
    in_flight: Callable[[Testbed, Run], int | None]
    """See `Fault`."""
    check: Callable[[Testbed, Run, list[Fault]], dict[str, int]]
    """Asserts that nothing is lost, duplicated, or repeated without having been in flight; returns figures."""
    work: str
    """Pattern of the paths of files that show progress."""
    work_s: float
    """Approximate duration of that work without faults, over which faults are spread."""


def _run(testbed: Testbed, name: str, personas: list[str], **settings: object) -> Run:
    folder = testbed.folder / name
    folder.mkdir()
    source = folder / "personas.jsonl"
    source.write_text("".join(json.dumps({"persona": persona}) + "\n" for persona in personas))
    base = {"output": f"{testbed.bucket}/{name}", "personas": {"source": str(source)}, "engine": {"kind": "scripted"}}
    config = {**base, **settings}
    return Run(folder, config, environment=dict(testbed.environment))


def _bakers(number: int) -> list[str]:
    return [f"a baker, number {n}" for n in range(number)]


def _complete_rows(run: Run, name: str, column: str) -> list[dict]:
    """Return a finished table's rows; assert that they are unique and match the manifest."""
    rows = run.rows(name)
    ids = [row[column] for row in rows]
    assert len(set(ids)) == len(ids), f"{name}: {len(ids) - len(set(ids))} duplicate rows"
    manifest = run.table(name).manifest()
    assert manifest, f"{name}: no manifest"
    assert manifest["rows_in"] == manifest["ok"] + sum(manifest["rejected"].values()) == len(rows), name
    return rows


def _check_repeats(name: str, again: int, faults: list[Fault]) -> dict[str, int]:
    """Assert that no more was repeated than was in flight."""
    count = in_flight(faults)
    assert again <= count, f"{name}: {again} repeated, but only {count} were in flight at the faults"
    return {"repeated": again, "in flight at the faults": count}


def _unknown(_testbed: Testbed, _run: Run) -> None:
    """Return None: requests to vLLM cannot be counted."""


def _synthesis(testbed: Testbed, name: str) -> Run:
    """Profiles from an API with a delay, which counts repeated requests."""
    testbed.api.rule(delay_s=PROFILE_REPLY_S)
    engine = {
        "kind": "openai", "base_url": testbed.api.base_url, "model": "small-chat", "max_concurrency": 24,
        "api_key_env": "FACTORY_TEST_KEY",
    }  # fmt: skip
    bakers = enumerate(_bakers(PERSONAS))
    personas = [f"{baker} [[no-json]]" if n % INVALID_EVERY == 0 else baker for n, baker in bakers]
    return _run(testbed, name, personas, engine=engine)


def _requests_per_persona(testbed: Testbed) -> Counter[str]:
    """Count the requests per persona."""
    return Counter(request["messages"][-1]["content"] for request in testbed.api.requests("a baker, number"))


def _requested_not_written(testbed: Testbed, run: Run) -> int:
    written = len(run.rows("profiles"))  # first, since requests grow meanwhile: the difference may only be too large
    return len(_requests_per_persona(testbed)) - written


def _check_synthesis(testbed: Testbed, run: Run, faults: list[Fault]) -> dict[str, int]:
    rows = _complete_rows(run, "profiles", "character_id")
    assert len(rows) == PERSONAS
    invalid = len(range(0, PERSONAS, INVALID_EVERY))
    assert run.reasons("profiles") == {"ok": PERSONAS - invalid, "invalid_reply": invalid}
    requests = _requests_per_persona(testbed)
    assert len(requests) == PERSONAS
    return {"requests": requests.total(), **_check_repeats("synthesis", requests.total() - PERSONAS, faults)}


def _replicas(testbed: Testbed, name: str) -> Run:
    """Profiles from two or three scripted replicas on both nodes."""
    engine = {
        "kind": "scripted", "default": json.dumps(GOOD_PROFILE), "delay_s": PROFILE_REPLY_S, "delay_sigma": 0.8,
        "max_concurrency": 8, "replicas": [2, 3], "num_cpus": 1, "start_s": 2,
    }  # fmt: skip
    return _run(testbed, name, _bakers(PERSONAS), engine=engine)


def _check_replicas(_testbed: Testbed, run: Run, _faults: list[Fault]) -> dict[str, int]:
    assert len(_complete_rows(run, "profiles", "character_id")) == PERSONAS
    reasons = run.reasons("profiles")
    assert reasons == {"ok": PERSONAS}
    return reasons


EMBEDDED = 64
KILLS_UNTIL_BLAMED = 3
"""A request that was alone in an engine at its third death is taken for the cause (see `engine_pool.quarantine`)."""


def _engine(testbed: Testbed, name: str) -> Run:
    """Profiles from the embedded model on one node or both, in small shards, so that progress is continuous."""
    kwargs = {"max_model_len": 4096, "max_num_seqs": 16}
    engine = {"kind": "vllm", "model": "embedded", "device": "cpu", "engine_kwargs": kwargs, "replicas": [1, 2]}
    profiles = {"sampling": {"temperature": 0.6, "top_p": 1.0, "max_tokens": 384}}
    return _run(testbed, name, _bakers(EMBEDDED), engine=engine, profiles=profiles)


def _check_engine(_testbed: Testbed, run: Run, faults: list[Fault]) -> dict[str, int]:
    rows = _complete_rows(run, "profiles", "character_id")
    assert len(rows) == EMBEDDED
    reasons = run.reasons("profiles")
    assert set(reasons) <= {"ok", "truncated", "invalid_reply", "empty_field", "engine_died"}, reasons
    kills = sum(fault.kind == "vLLM engine" for fault in faults)
    assert reasons.get("engine_died", 0) <= max(0, kills + 1 - KILLS_UNTIL_BLAMED), reasons
    return reasons


TRAINED = 600
"""Number of dialogues."""
CHECKPOINT_EVERY = 5


def _training(testbed: Testbed, name: str) -> Run:
    """Training of a small model on two workers, with frequent checkpoints."""
    tiny = testbed.folder / "tiny"
    if not tiny.exists():
        small_training.save_tiny(str(tiny))
    settings = small_training.settings_of(str(tiny), save_steps=CHECKPOINT_EVERY, eval_steps=20, max_failures=20)
    run = _run(testbed, name, _bakers(1), training=settings)
    for split, count in (("train", TRAINED), ("validation", 20)):
        small_training.write_dialogues(run.output, split, count)
    return run


def _since_the_checkpoint(_testbed: Testbed, _run: Run) -> int:
    """Return the maximum: while a checkpoint is written the steps go on, but no further than to the next one."""
    return 2 * CHECKPOINT_EVERY


def _check_training(testbed: Testbed, run: Run, faults: list[Fault]) -> dict[str, int]:
    curve = small_training.curve(run)
    calm = testbed.folder / "calm-curve.json"
    if not calm.exists():
        undisturbed = _training(testbed, "calm-training")
        undisturbed.finish(job="train")
        calm.write_text(json.dumps(small_training.curve(undisturbed)))
    expected = {int(step): loss for step, loss in json.loads(calm.read_text()).items()}
    assert curve.keys() == expected.keys(), "the loss curve has gaps"
    difference = max(abs(curve[step] - expected[step]) for step in curve)
    assert difference < 2e-3, f"the loss curve is {difference:.4f} from the undisturbed one"
    return {"steps": len(curve), **_check_repeats("training", _steps_again(run), faults)}


def _steps_again(run: Run) -> int:
    """Count steps that occur repeatedly in TensorBoard's files; a killed driver did not record its last ones."""
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


def _judging(testbed: Testbed, name: str) -> Run:
    """Judgments from a fleet of one judge on Ray Serve, one shard at a time."""
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
    return _run(testbed, name, _bakers(1), evaluation=evaluation)


def _check_judging(_testbed: Testbed, run: Run, _faults: list[Fault]) -> dict[str, int]:
    rows = _complete_rows(run, "evaluation/one/judgments/judge", "question_id")
    assert len(rows) == JUDGED * len(TASKS)
    assert {row["reason"] for row in rows} <= {None, "judge_failed"}
    scored = [row for row in rows if row["status"] == "ok"]
    assert scored
    assert all(row["score"] in range(1, 6) for row in scored)
    with socket.socket() as client:
        port = run.config["evaluation"]["fleet"]["port"]
        assert client.connect_ex(("127.0.0.1", port)), "the fleet of the ended run is still running"
    return {"scored": len(scored), "judge_failed": len(rows) - len(scored)}


SCENARIOS = (
    Scenario(
        "synthesis", "synthesize", ("node", "driver", "S3 outage", "S3 errors", "task", "clock"),
        _synthesis, _requested_not_written, _check_synthesis, r"profiles/[^/]+\.parquet", 25,
    ),
    Scenario(
        "replicas", "synthesize", ("engine replica", "node", "driver", "S3 errors", "task", "clock"),
        _replicas, _unknown, _check_replicas, r"profiles/[^/]+\.parquet", 25,
    ),
    Scenario(
        "engine", "synthesize", ("vLLM engine", "node", "driver", "S3 errors", "clock"),
        _engine, _unknown, _check_engine, r"profiles/[^/]+\.parquet", 120,
    ),
    Scenario(
        "training", "train", ("training worker", "node", "driver", "S3 outage", "S3 errors", "clock"),
        _training, _since_the_checkpoint, _check_training, r"checkpoints/step-\d+/checkpoint\.json", 15,
    ),
    Scenario(
        "judging", "evaluate", ("Serve replica", "vLLM engine", "node", "driver", "clock forward"),
        _judging, _unknown, _check_judging, r"evaluation/(benchmark/examples|one/judgments)/judge/[^/]+\.parquet", 120,
    ),
)  # fmt: skip
assert NODE_CPUS >= 4, "a training of two workers and a fleet must each fit on the remaining node"
