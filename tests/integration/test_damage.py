"""Files that a loss of power left empty or truncated: reported once and generated again, and no others."""

import json
from pathlib import Path

import pytest

from factory.runtime import ray_head
from tests.integration.runs import GOOD_PROFILE, PROJECT
from tests.integration.test_curate import speech

INSTRUCTIONS = [{"corpus": "samples", "source": str(PROJECT / "data" / "instructions.jsonl")}]
DIALOGUES = "dialogues/generate-samples"


def contents(run, name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(run.output, name).glob("*.parquet")}


def truncate(run, name: str, size: int = 0) -> str:
    """Truncate a table's first shard; return its name."""
    path = sorted(Path(run.output, name).glob("[!r]*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:size])
    return path.name


@pytest.fixture(scope="module")
def run(make_module_run):
    described = [{"contains": "a baker, number", "reply": json.dumps(GOOD_PROFILE)}]
    engine = {"kind": "scripted", "default": speech("all alike"), "replies": described}
    made = make_module_run(
        "damaged",
        60,
        instructions=INSTRUCTIONS,
        engine=engine,
        curation={"near_duplicates": {"threshold": None}, "validation_fraction": 0.2},
    )
    made.finish()
    return made


def test_damaged_shard_is_generated_again(run):
    before = contents(run, DIALOGUES)
    shard = truncate(run, DIALOGUES, 100)
    Path(run.output, DIALOGUES, ".manifest.json").unlink()
    shown = run.finish()
    assert shown.count("; it is generated again") == 1
    assert f"{DIALOGUES}/{shard}: is damaged" in shown.replace("\n", "")
    assert contents(run, DIALOGUES) == before, "the scripted engine gives the same replies"
    assert Path(run.output, DIALOGUES, ".damaged", shard).stat().st_size == 100


@pytest.mark.slow
def test_damaged_input_shard_is_rebuilt_when_read(run):
    before = contents(run, "personas") | contents(run, "profiles")
    shard = truncate(run, "personas")
    for path in Path(run.output, "profiles").glob("*.parquet"):
        path.unlink()
    Path(run.output, "profiles/.manifest.json").unlink()
    assert run.finish().replace("\n", "").count(f"personas/{shard}: is damaged") == 1
    assert contents(run, "personas") | contents(run, "profiles") == before


@pytest.mark.slow
def test_curation_survives_damaged_shards(run):
    run.finish(job="curate")
    before = contents(run, "curated/train")
    finished = run.table("curated/train").manifest()["finished"]
    shard = truncate(run, "curated/train", 10)
    run.table("curated/train").drop_damaged(shard.removesuffix(".parquet"))
    run.finish(job="curate")
    assert contents(run, "curated/train") == before
    assert run.table("curated/train").manifest()["finished"] == finished, "models trained on it stay valid"

    shard = truncate(run, DIALOGUES)
    for split in ("train", "validation"):
        Path(run.output, "curated", split, ".manifest.json").unlink()
    assert run.start(job="curate").wait(300) == 2
    last = run.log().strip().splitlines()[-1]
    assert "there is no finished table; run `make synthesize`" in last
    assert f"{DIALOGUES}/{shard}: is damaged" in run.log().replace("\n", "")


@pytest.mark.slow
def test_damaged_result_of_the_filter_is_made_again(run):
    """It also holds the bands without which no duplicate of its dialogues would be found."""
    run.finish()
    settings = (
        "curation.near_duplicates.threshold=0.8",
        "curation.validation_fraction=0.999",
    )  # it ends after filtering
    assert run.start(*settings, job="curate").wait(300) == 2
    result = min(Path(run.output, "_tmp/curated").glob("*/filter-results/*.parquet"))
    content, reason = result.read_bytes(), "accepted dialogues are of validation characters"
    assert reason in run.log()
    result.write_bytes(content[:100])
    assert run.start(*settings, job="curate").wait(300) == 2
    assert f"{result}: is damaged" in run.log().replace("\n", "")
    assert "its dialogues are filtered again" in " ".join(run.log().split())
    assert reason in run.log().strip().splitlines()[-1]
    assert result.read_bytes() == content


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"pid": 99999999999999999999, "started": 1}'])
def test_invalid_head_record_is_ignored(content, tmp_path, monkeypatch):
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path))
    (tmp_path / "local-head.json").write_text(content)
    assert ray_head.find_running("local") is None
    head = ray_head.Head(1, 1.0, "127.0.0.1:1", "/tmp/x")
    ray_head.save_record("local", head)
    assert json.loads((tmp_path / "local-head.json").read_text())["pid"] == 1
    assert ray_head.find_running("local") is None, "the process with this id started at another time"
