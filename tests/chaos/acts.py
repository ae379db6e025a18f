"""The jobs that the faults are done to, and what must hold of each in the end."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from factory import head
from factory.benchmark import TASKS
from tests.chaos.stage import BUCKET, NODE_CPUS, Stage
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
    check: Callable[[Stage, Run], dict[str, int]]
    """Asserts that nothing is lost or there twice; returns figures worth printing."""
    calm_s: float
    """About how long the job would go on if it were left alone: faults are spread over that."""


def _run(stage: Stage, name: str, personas: list[str], **settings: object) -> Run:
    folder = stage.folder / name
    folder.mkdir()
    source = folder / "personas.jsonl"
    source.write_text("".join(json.dumps({"persona": persona}) + "\n" for persona in personas))
    base = {"output": f"{BUCKET}/{name}", "personas": {"source": str(source)}, "engine": {"kind": "scripted"}}
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


def _synthesis(stage: Stage, name: str) -> Run:
    """Profiles by an API that answers after a while, so that what is asked twice can be counted."""
    stage.api.rule(delay_s=PROFILE_REPLY_S)
    engine = {
        "kind": "openai", "base_url": stage.api.base_url, "model": "small-chat", "concurrency": 24,
        "api_key_env": "FACTORY_TEST_KEY",
    }  # fmt: skip
    personas = [f"{baker} [[no-json]]" if n % SPOILT == 0 else baker for n, baker in enumerate(_bakers(PERSONAS))]
    return _run(stage, name, personas, engine=engine)


def _synthesised(stage: Stage, run: Run) -> dict[str, int]:
    rows = _counted(run, "profiles", "character_id")
    assert len(rows) == PERSONAS
    spoilt = len(range(0, PERSONAS, SPOILT))
    assert run.reasons("profiles") == {"ok": PERSONAS - spoilt, "unparsable": spoilt}
    asked = Counter(request["messages"][-1]["content"] for request in stage.api.requests("a baker, number"))
    assert len(asked) == PERSONAS
    return {"asked": asked.total(), "asked again": asked.total() - PERSONAS}


EMBEDDED = 64


def _engine(stage: Stage, name: str) -> Run:
    """Profiles by the embedded model."""
    engine = {"kind": "vllm", "model": "embedded", "device": "cpu", "engine_kwargs": {"max_model_len": 4096}}
    profiles = {"sampling": {"temperature": 0.6, "top_p": 1.0, "max_tokens": 512}}
    return _run(stage, name, _bakers(EMBEDDED), engine=engine, profiles=profiles)


def _generated(stage: Stage, run: Run) -> dict[str, int]:
    rows = _counted(run, "profiles", "character_id")
    assert len(rows) == EMBEDDED
    assert set(run.reasons("profiles")) <= {"ok", "truncated", "unparsable"}, run.reasons("profiles")
    return run.reasons("profiles")


TRAINED = 600
"""Dialogues."""


def _training(stage: Stage, name: str) -> Run:
    """A small model over two workers, with a checkpoint every few steps."""
    tiny = stage.folder / "tiny"
    if not tiny.exists():
        small_training.save_tiny(str(tiny))
    settings = small_training.settings_of(str(tiny), checkpoint_every=5, evaluate_every=20, max_failures=20)
    run = _run(stage, name, _bakers(1), training=settings)
    for split, count in (("train", TRAINED), ("validation", 20)):
        small_training.write_dialogues(run.output, split, count)
    return run


def _trained(stage: Stage, run: Run) -> dict[str, int]:
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
    return {"steps": len(told)}


JUDGED = 6


def _judging(stage: Stage, name: str) -> Run:
    """Judgements by a fleet of one judge on Ray Serve."""
    judge = {"name": "judge", "model": "embedded", "device": "cpu", "engine_kwargs": {"max_model_len": 4096}}
    evaluation = {
        "protocol": "light", "limit": JUDGED, "general": False,
        "candidates": [{"name": "one", "kind": "scripted", "default": "I mend nets, and I mind my own business."}],
        "judges": [judge], "examples": {"top_p": 1.0, "max_tokens": 384}, "judging": {"max_tokens": 128},
        "fleet": {"port": head.free_port()},
    }  # fmt: skip
    return _run(stage, name, _bakers(1), evaluation=evaluation)


def _judged(stage: Stage, run: Run) -> dict[str, int]:
    rows = _counted(run, "evaluation/one/judgements/judge", "question_id")
    assert len(rows) == JUDGED * len(TASKS)
    assert {row["reason"] for row in rows} <= {None, "judge_failed"}
    scored = [row for row in rows if row["status"] == "ok"]
    assert scored
    assert all(row["score"] in range(1, 6) for row in scored)
    return {"scored": len(scored), "judge_failed": len(rows) - len(scored)}


ACTS = (
    Act("synthesis", "synthesize", ("node", "driver", "S3 away"), _synthesis, _synthesised, 25),
    Act("engine", "synthesize", ("vLLM engine", "node", "driver"), _engine, _generated, 40),
    Act("training", "train", ("training worker", "driver", "S3 away"), _training, _trained, 60),
    Act("judging", "evaluate", ("Serve replica", "vLLM engine", "driver"), _judging, _judged, 40),
)
assert NODE_CPUS >= 4, "a training of two workers and a fleet must each fit on what is left when a node is gone"
