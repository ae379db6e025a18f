"""Archiving after changed settings: listed before anything moves, and confirmed if there are many rows."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from factory.commands import curate, synthesize
from factory.config import RunConfig
from factory.config.loading import load_config
from factory.curation.curation_run import open_tables
from factory.curation.sampling import SPLITS
from factory.inference.model_files import Located
from factory.job import run_step
from factory.runtime import confirmation
from factory.runtime.progress import Silent
from factory.storage import file_io
from factory.storage.schemas import PERSONAS
from factory.storage.tables import Table
from factory.training.driver import open_table
from tests.integration.runs import GOOD_PROFILE, PROJECT
from tests.made_tables import make_tables

INSTRUCTIONS = [{"corpus": "samples", "source": str(PROJECT / "data" / "instructions.jsonl")}]
WARMER = "profiles.sampling.temperature=0.7"
TABLES = ("profiles", "assignments/samples", "dialogues/generate-samples")


@pytest.fixture(scope="module")
def run(make_module_run):
    made = make_module_run("confirmed", 60, instructions=INSTRUCTIONS, confirm_above_rows=100)
    made.finish()
    return made


def files(run) -> dict[str, int]:
    return {name: size for name, size in file_io.sizes(run.output).items() if not name.startswith(".")}


def test_dry_run_lists_tables_to_archive(run):
    before = files(run)
    assert "Archives" not in run.finish("--dry-run")
    output = run.finish("--dry-run", WARMER)
    assert "Archives 60 finished rows of profiles, because sampling.temperature was" in output
    assert "Archives 180 finished rows of assignments/samples, because profiles was" in output
    assert "Archives 180 finished rows of dialogues/generate-samples, because work was" in output
    assert files(run) == before


def test_finished_synthesis_starts_no_ray(run, tmp_path):
    import ray

    config = load_config(run.folder / "config.json")
    before = {name: size for name, size in files(run).items() if name != "config.json"}
    run_step(synthesize.STEP, config, Silent())
    assert not ray.is_initialized()
    assert {name: size for name, size in files(run).items() if name != "config.json"} == before
    personas = tmp_path / "personas.jsonl"
    personas.write_bytes(Path(run.config["personas"]["source"]).read_bytes())
    for changed in (f"personas.source={personas}", WARMER, "dialogues.strategies=[generate]", "seed=7"):
        is_same = changed.startswith("dialogues")  # one table fewer
        other = load_config(run.folder / "config.json", [changed])
        assert synthesize.STEP.rehearse(other).all_finished is is_same, changed


def test_finished_curation_starts_no_ray(tmp_path):
    import ray

    config = RunConfig.model_validate(make_tables(tmp_path / "run", [[("How are you?", "Well.")]] * 30, validation=5))
    assert not curate.STEP.rehearse(config).all_finished
    _, fingerprint = open_tables(config, Silent())
    for number, split in enumerate(SPLITS):
        assert not curate.STEP.rehearse(config).all_finished, f"{number} of two tables are finished"
        counts = {"ok": 5, "rows_in": 5, "rejected": {}}
        Table(config.output, f"curated/{split}").finish(
            {"fingerprint": fingerprint, "finished": "2026-01-01", **counts}
        )
    run_step(curate.STEP, config, Silent())
    assert not ray.is_initialized()
    dialogues = Table(config.output, "dialogues/generate-samples")
    assert curate.STEP.rehearse(config).all_finished
    document = dialogues.manifest() or {}
    dialogues.finish({**document, "finished": "2026-02-02"})
    assert not curate.STEP.rehearse(config).all_finished, "the dialogues were generated again"


def test_same_content_elsewhere_archives_input_only(run, tmp_path):
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(Path(run.config["personas"]["source"]).read_bytes())
    output = run.finish("--dry-run", f"personas.source={copy}")
    assert "Archives 60 finished rows of personas, because files was" in output
    assert output.count("Archives") == 1


def test_run_killed_while_reading_resumes_unasked(run):
    before = {name: size for name, size in files(run).items() if not name.endswith(".json")}
    Path(run.output, "personas/.manifest.json").unlink()
    assert "Archives" not in run.finish("--dry-run")
    run.finish()
    assert {name: size for name, size in files(run).items() if not name.endswith(".json")} == before


@pytest.mark.parametrize("submitted", [False, True])
def test_run_without_terminal_is_refused(run, submitted, monkeypatch):
    before = files(run)
    if submitted:
        run.environment["RAY_JOB_CONFIG_JSON_ENV_VAR"] = "{}"
    try:
        assert run.start(WARMER).wait(120) == 2
    finally:
        run.environment.pop("RAY_JOB_CONFIG_JSON_ENV_VAR", None)
    line = run.log().strip().splitlines()[-1]
    assert line.startswith("error: output ")
    assert "420 finished rows (profiles, assignments/samples, dialogues/generate-samples) would be archived" in line
    assert "--yes" in line
    assert files(run) == before


def test_empty_answer_on_terminal_means_no(run):
    before = files(run)
    ours, theirs = pty.openpty()
    config = run.folder / "config.json"
    command = [sys.executable, str(PROJECT / "jobs/synthesize.py"), "--config", str(config), WARMER]
    environment = os.environ | run.environment
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=run.folder)
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        assert select.select([ours], [], [], 120)[0], shown
        shown += os.read(ours, 1 << 16)
    os.write(ours, b"\n")
    assert process.wait(120) == 2
    os.close(ours)
    assert files(run) == before


def test_yes_flag_archives_and_old_settings_restore(run):
    rows = run.rows("dialogues/generate-samples")
    run.finish(WARMER, "--yes")
    output = run.finish("--dry-run")
    assert "Archives 60 finished rows of profiles" in output
    output = run.finish("--yes")
    assert output.count("was built with these settings before, and is restored from") == len(TABLES)
    assert run.rows("dialogues/generate-samples") == rows


def test_prune_lists_and_deletes_archive(run):
    archived = sorted(path.name for path in Path(run.output, "archive").iterdir())
    assert len(archived) == len(TABLES)
    kept = {name for name in files(run) if not name.startswith("archive/")}
    listed = run.finish(job="prune")
    for name in archived:
        (line,) = [line for line in listed.splitlines() if f"archive/{name}" in line]
        assert line.split()[1] == ("60" if name.startswith("profiles") else "180")
    assert "--yes deletes it" in listed
    assert len(list(Path(run.output, "archive").iterdir())) == len(TABLES)
    assert "Deleted" in run.finish("--yes", job="prune")
    assert set(files(run)) == kept
    assert "Nothing is archived" in run.finish(job="prune")


def test_other_input_rows_need_confirmation(run, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({"persona": f"a baker, number {n} of Lyon"}) + "\n" for n in range(60)))
    assert run.start(f"personas.source={other}").wait(120) == 2
    assert "dialogues/generate-samples) would be archived" in run.log().strip().splitlines()[-1]
    assert run.table("dialogues/generate-samples").manifest() is not None
    assert GOOD_PROFILE["name"] == run.rows("profiles")[0]["name"]
    assert "skipped" in run.finish("--yes")


def test_rehearsals_need_no_ray(tmp_path):
    import ray

    config = RunConfig.model_validate(make_tables(tmp_path / "run", [[("How are you?", "Well.")]] * 30, validation=5))
    changes = confirmation.rehearse(lambda _: open_tables(config, Silent())).changes
    assert {(change.name, change.rows) for change in changes} == {("curated/train", 26), ("curated/validation", 6)}
    packed = Table(config.output, "packed/train")
    packed.begin("other", {"sequence_length": 1})
    packed.write("0", [], PERSONAS)
    packed.finish({"fingerprint": "other", "finished": "2026-01-01", "ok": 25, "rows_in": 25})
    checkpoints = Table(config.output, "checkpoints")
    checkpoints.begin("other", {"seed": 1})
    checkpoints.finish({"fingerprint": "other", "finished": "2026-01-01", "ok": 25, "rows_in": 25})
    before = file_io.sizes(config.output)
    changes = confirmation.rehearse(lambda _: open_table(config, Located("embedded", "r"), Silent())).changes
    assert [(change.name, change.rows) for change in changes] == [("packed/train", 25), ("checkpoints", 25)]
    assert file_io.sizes(config.output) == before
    assert not ray.is_initialized()


def test_a_judge_is_asked_again_only_where_its_dialogues_or_its_settings_change(tmp_path):
    import ray

    made = make_tables(tmp_path / "run", [[("How are you?", "Well.")]] * 30, validation=5)

    def changed(curation: dict, **judge: object) -> set[str]:
        """Return which tables of a finished curation these settings build again."""
        rule = {"name": "critic", "kind": "scripted", "default": "{}", "min_accuracy": 0} | judge
        config = RunConfig.model_validate(made | {"curation": curation | {"judge": rule}})
        rehearsal = curate.STEP.rehearse(config)
        for path, manifest in rehearsal.manifests.items():
            table = Table(config.output, path.removeprefix(f"{config.output}/"))
            if not curation and not judge:
                table.begin(manifest["fingerprint"], {"made": "by a test"})
                table.finish({**manifest, "ok": 5, "rows_in": 5})
        return {one.name for one in rehearsal.changes}

    built = {"curated/train", "curated/validation", "judged/generate-samples"}
    assert changed({}) == {"curated/train", "curated/validation"}, "the run's own tables, made without a judge"
    assert changed({}) == set()
    assert changed({}, voice=4) == changed({"max_per_character": 3}) == built - {"judged/generate-samples"}
    assert changed({}, sample=0.5) == changed({}, default="Well.") == changed({"benchmark_words": 9}) == built
    assert not ray.is_initialized()
