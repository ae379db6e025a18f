"""The real export job on finished tables: what it writes is read by those whom it is written for."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from factory.config import RunConfig
from factory.config.loading import checked
from factory.export.formats import SHAPES
from factory.export.sources import find_sources
from factory.export.write_export import export
from factory.inference import model_files
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.tables import Table
from tests.hard_texts import HARD
from tests.integration.hub_server import OWNER, TOKEN, hub_server
from tests.integration.runs import PROJECT, Run
from tests.made_tables import CORPUS, STRATEGY, leave_out, make_tables

DIALOGUES, VALIDATION = 60, 12
VOICE = "the bread is warm and I know every one who comes in before light with snow on their boots"
WORDS = VOICE.split()


def turns(number: int) -> list[tuple[str, str]]:
    """Return the turns of a dialogue: hard texts, in one turn first and in several ones later."""
    text = HARD[number % len(HARD)]
    return [(f"{text} {number}.{turn}", f"I say: {text}") for turn in range(1 + (number > 20) * (number % 3))]


@pytest.fixture(scope="module")
def made(tmp_path_factory, shared_ray) -> Run:
    """A finished run; nobody changes it."""
    folder = tmp_path_factory.mktemp("made")
    config = make_tables(folder / "run", [turns(n) for n in range(DIALOGUES)], VALIDATION, shard_rows=16)
    leave_out(str(folder / "run"), 3)
    return Run(folder, config, environment=dict(shared_ray))


def copied(run: Run, folder: Path) -> Run:
    shutil.copytree(run.output, folder / "run")
    return Run(folder, run.config | {"output": str(folder / "run")}, environment=run.environment)


def accepted(run: Run, name: str) -> list[dict]:
    return [row for row in run.rows(name) if row["status"] == "ok"]


def loaded(folder: str | Path, cache: Path, name: str | None = None):
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(str(folder), name, cache_dir=str(cache))


@pytest.mark.parametrize("file_type", ["jsonl", "parquet"])
@pytest.mark.parametrize("form", SHAPES)
def test_datasets_loads_both_splits_with_equal_rows(made, tmp_path, form, file_type):
    from datasets import Features

    folder = tmp_path / "out"
    # In this process: its job is that of the tests below, and eight of them take seconds each.
    config = checked(RunConfig, made.config, "config key")
    export(find_sources(config, "curated", form, file_type), str(folder), file_type, Progress())
    found = loaded(folder, tmp_path / "cache")
    assert set(found) == {"train", "validation"}
    for split in found:
        expected = [SHAPES[form].convert(row) for row in accepted(made, f"curated/{split}")]
        assert found[split].to_list() == expected
        assert found[split].features == Features.from_arrow_schema(SHAPES[form].schema)
    if form == "opencharacter":
        characters = loaded(folder, tmp_path / "cache", "characters")["train"]
        speaking = {name for split in found for name in found[split]["character_id"]}
        assert {row["character_id"]: row["character"] for row in characters} == {
            row["character_id"]: row["profile"] for row in accepted(made, "profiles") if row["character_id"] in speaking
        }
        assert 0 < len(speaking) < len(accepted(made, "profiles")), "somebody was left out"


def test_empty_history_is_not_a_column_of_nulls(tmp_path):
    long = [[("Tell me", "x" * 20_000)]] * 700  # more than the 10 MB that `datasets` looks at first
    run = Run(tmp_path, make_tables(tmp_path / "run", [*long, [("a", "b"), ("c", "d")]]))
    run.finish("--format", "alpaca", job="export")
    found = loaded(Path(run.output) / "export" / "alpaca", tmp_path / "cache")
    assert set(found) == {"train"}, "a split without a row has no file"
    assert [row["history"] for row in found["train"]] == [*([[]] * 700), [["a", "b"]]]


def test_accepted_dialogues_export_without_curation(made, tmp_path):
    folder = tmp_path / "out"
    made.finish("--format", "messages", "--what", "dialogues", "--output", str(folder), job="export")
    found = loaded(folder, tmp_path / "cache")
    expected = [SHAPES["messages"].convert(row) for row in accepted(made, f"dialogues/{STRATEGY}-{CORPUS}")]
    assert {split: rows.to_list() for split, rows in found.items()} == {"train": expected}
    assert "before curation" in (folder / "README.md").read_text()


def test_ray_is_not_imported(made, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(made.config | {"output": made.output}))
    job = ["--config", str(config), "--format", "messages", "--output", str(tmp_path / "out")]
    code = (
        "import runpy, sys; sys.argv = ['export', *sys.argv[2:]]; "
        f"runpy.run_path({str(PROJECT / 'jobs' / 'export.py')!r}, run_name='__main__'); "
        "print([name for name in ('ray', 'torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, "--", *job], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def files_of(folder: str) -> dict[str, bytes]:
    """The data files and their content."""
    names = [name for name in file_io.sizes(folder) if "-of-" in name]
    return {name: file_io.read_bytes(file_io.join(folder, name)) for name in names}


@pytest.mark.slow
def test_killed_export_restarts_and_finished_is_skipped(tmp_path):
    many = [[("What do you bake?", f"Loaf {n}. " + "Bread, and more bread. " * 200)] for n in range(8_000)]
    run = Run(tmp_path, make_tables(tmp_path / "run", many, validation=100))
    out = Path(run.output) / "export" / "messages"
    run.kill_when(lambda: list(out.glob("*.tmp")), "--format", "messages", job="export")
    assert not (out / ".manifest.json").exists()
    assert list(out.glob("*.tmp")), "it was killed in the middle of a file"
    assert not list(out.glob("train-*.jsonl"))

    assert "8,000 ok of 8,000" in run.finish("--format", "messages", job="export")
    assert sorted(path.name for path in out.iterdir() if path.name != ".running.lock") == [
        "README.md",
        ".manifest.json",
        ".inputs.json",
        "train-00000-of-00001.jsonl",
        "validation-00000-of-00001.jsonl",
    ]
    train = (out / "train-00000-of-00001.jsonl").read_text().splitlines()
    assert [json.loads(line)["dialogue_id"] for line in train] == [
        row["dialogue_id"] for row in accepted(run, "curated/train")
    ]

    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.suffix}
    assert "already finished" in run.finish("--format", "messages", job="export")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_outdated_export_is_rebuilt(made, tmp_path):
    run = copied(made, tmp_path)
    out = Path(run.output) / "export" / "messages"
    run.finish("--format", "messages", job="export")
    (out / "train-00007-of-00009.jsonl").write_text("of an export in other files\n")
    table = Table(run.output, "curated/train")
    table.finish(table.manifest() | {"finished": "2027-01-01T00:00:00+00:00"})
    assert "done in" in run.finish("--format", "messages", job="export")
    assert sorted(path.name for path in out.glob("*-of-*")) == [
        "train-00000-of-00001.jsonl",
        "validation-00000-of-00001.jsonl",
    ]
    assert "done in" in run.finish("--format", "messages", "--file-type", "parquet", job="export")
    assert {path.suffix for path in out.glob("*-of-*")} == {".parquet"}


def test_export_on_s3_and_restart_after_a_kill(made, s3, tmp_path):
    fs, name = file_io.filesystem(f"{s3}/export-run")
    fs.put(made.output, name, recursive=True)
    run = Run(tmp_path, made.config | {"output": f"{s3}/export-run"})
    out = f"{run.output}/export/sharegpt"
    run.kill_when(lambda: file_io.exists(f"{out}/.inputs.json"), "--format", "sharegpt", job="export")
    run.finish("--format", "sharegpt", job="export")
    made.finish("--format", "sharegpt", "--output", str(tmp_path / "local"), job="export")
    assert files_of(out) == files_of(str(tmp_path / "local"))
    assert set(file_io.sizes(out)) == {"README.md", ".inputs.json", ".manifest.json", *files_of(out)}
    assert "already finished" in run.finish("--format", "sharegpt", job="export")


def test_user_errors_are_one_line_and_write_nothing(made, tmp_path):
    run = copied(made, tmp_path)
    (Path(run.output) / "curated" / "train" / ".manifest.json").unlink()

    def error(*arguments: str, **environment: str) -> str:
        run.environment = {"HF_TOKEN": "", **environment}
        assert run.start(*arguments, job="export").wait(60) == 2, run.log()
        assert run.log().count("\n") == 1, run.log()
        return run.log()

    assert "invalid choice: 'csv'" in error("--format", "csv")
    assert "curated/train: there is no finished table; run `character-factory" in error("--format", "messages")
    push = ("--format", "messages", "--what", "dialogues", "--push-to-hub")
    assert "HF_TOKEN is not set" in error(*push, "baker/dialogues")
    assert "HF_HUB_OFFLINE is set" in error(*push, "baker/dialogues", HF_HUB_OFFLINE="1", HF_TOKEN=TOKEN)
    assert not (Path(run.output) / "export").exists(), "nothing is written before it is known to be right"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    assert "has notes.txt" in error("--format", "messages", "--what", "dialogues", "--output", str(mine))
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]


def test_hub_gets_only_the_card_and_the_data(made, tmp_path):
    run = copied(made, tmp_path)
    with hub_server() as hub:
        run.environment = {
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path),
        }
        repo = f"{OWNER}/dialogues"
        push = ("--format", "messages", "--push-to-hub", repo)
        printed = run.finish(*push, "--private", job="export")
        assert f"Published: {hub.url}/datasets/{repo}" in printed
        assert hub.private == {repo: True}
        out = Path(run.output) / "export" / "messages"
        names = {"README.md", "train-00000-of-00001.jsonl", "validation-00000-of-00001.jsonl"}
        assert hub.files[repo] == {name: (out / name).read_bytes() for name in names}
        assert hub.cards[0] == (out / "README.md").read_text()

        # What is lost here is not deleted there.
        there = dict(hub.files[repo])
        (out / "validation-00000-of-00001.jsonl").unlink()
        run.finish(*push, job="export")
        data = [name for name in there if name != "README.md"]
        assert {name: hub.files[repo].get(name) for name in data} == {name: there[name] for name in data}

        # Another export takes the place of that one; what somebody else put there stays.
        hub.files[repo]["notes.md"] = b"mine"
        hub.files[repo]["data/train-00000-of-00001.parquet"] = b"mine too"
        run.finish(*push, "--file-type", "parquet", job="export")
        assert set(hub.files[repo]) == {
            "README.md", "train-00000-of-00001.parquet", "validation-00000-of-00001.parquet", "notes.md",
            "data/train-00000-of-00001.parquet",
        }  # fmt: skip

        def refused(*arguments: str, status: int = 2, **environment: str) -> str:
            kept, run.environment = run.environment, run.environment | environment
            assert run.start("--format", "messages", *arguments, job="export").wait(120) == status, run.log()
            run.environment = kept
            assert "Traceback" not in run.log()
            assert TOKEN not in run.log()
            return run.log().splitlines()[-1]

        assert "refuses the token in HF_TOKEN (401)" in refused("--push-to-hub", repo, HF_TOKEN="hf_wrong")
        assert "may not write there (403)" in refused("--push-to-hub", "somebody/else")
        hub.private[repo] = False
        before = dict(hub.files[repo])
        assert "exists already and is public" in refused("--push-to-hub", repo, "--private")
        assert hub.files[repo] == before
        line = refused("--push-to-hub", repo, HF_ENDPOINT="http://127.0.0.1:9")
        assert "http://127.0.0.1:9 does not answer" in line
        assert (out / ".manifest.json").exists()


def test_hub_gets_the_model_in_private(made, tmp_path):
    run = copied(made, tmp_path)
    model = Path(run.output) / "model"
    shutil.rmtree(model, ignore_errors=True)
    model.mkdir()
    files = {
        "config.json": b"{}", "model-00001-of-00002.safetensors": b"1", "model-00002-of-00002.safetensors": b"2",
        "model.safetensors.index.json": b"{}", "tokenizer.json": b"{}", "chat_template.jinja": b"",
        "Modelfile": b"FROM .",
        "README.md": b"---\nlicense: llama3\n---\n# A model\n",
    }  # fmt: skip
    for name, content in files.items():
        (model / name).write_bytes(content)
    with hub_server() as hub:
        run.environment = {
            "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path),
        }  # fmt: skip
        repo = f"{OWNER}/role-player"

        def refused(*arguments: str) -> str:
            assert run.start("--push-to-hub", repo, *arguments, job="push_model").wait(120) == 2, run.log()
            assert TOKEN not in run.log()
            return run.log().splitlines()[-1]

        assert "no finished model; train it first" in refused()
        assert not hub.private
        (model / "manifest.json").write_text('{"fingerprint": "f"}')
        assert f"Published: {hub.url}/{repo}" in run.finish("--push-to-hub", repo, job="push_model")
        assert hub.private == {repo: True}
        assert hub.files[repo] == files

        # A smaller model takes its place; what somebody else put there stays.
        hub.files[repo] |= {"onnx/model.onnx": b"mine", "notes.json": b"{}"}
        for name in [name for name in files if name.startswith("model")]:
            (model / name).unlink()
        (model / "model.safetensors").write_bytes(b"12")
        run.finish("--push-to-hub", repo, job="push_model")
        assert {name for name in hub.files[repo] if "model." in name} == {"model.safetensors", "onnx/model.onnx"}
        assert "notes.json" in hub.files[repo]
        hub.private[repo] = False
        assert "exists already and is public" in refused()
        run.finish("--push-to-hub", repo, "--public", job="push_model")


def test_trl_trains_on_an_export(made, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(1)
    folder = tmp_path / "out"
    made.finish("--format", "messages", "--output", str(folder), job="export")
    found = loaded(folder, tmp_path / "cache")
    base = model_files.fetch("embedded")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        processing_class=AutoTokenizer.from_pretrained(base),
        train_dataset=found["train"],
        eval_dataset=found["validation"],
        args=SFTConfig(
            output_dir=str(tmp_path / "trained"),
            max_steps=1,
            per_device_train_batch_size=2,
            max_length=256,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
    )
    assert len(trainer.train_dataset) == len(accepted(made, "curated/train"))
    ids = trainer.train_dataset[0]["input_ids"]
    text = trainer.processing_class.decode(ids)
    first = found["train"][0]["messages"]
    assert all(message["content"][:100] in text for message in first[:2])
    assert trainer.train().training_loss > 0


@pytest.mark.slow
def test_card_describes_the_steps_before_it(make_module_run, tmp_path):
    corpus = tmp_path / "bread.jsonl"
    with corpus.open("w") as file:
        for n in range(40):
            turns = [
                ("user", f"What do you do at {n} past five?"),
                ("assistant", f"At {n}: {' '.join(WORDS[n % 9 :])}."),
            ]
            file.write(json.dumps({"messages": [{"role": r, "content": c} for r, c in turns]}) + "\n")
    good = {
        "name": "Ada Oduya", "age": "34", "gender": "female", "race": "Black", "birth_place": "Lagos",
        "appearance": "Tall, with short hair and a floured apron.",
        "experience": "Her aunt taught her to bake, and she opened a shop at thirty.",
        "personality": "Warm and dry, she talks in short sentences.",
    }  # fmt: skip
    spoken = [
        {"contains": f"at {n} past five", "reply": "Oh." if n == 3 else f"Love, {n} {' '.join(WORDS[n % 7 :])} {n}."}
        for n in range(40)
    ]
    run = make_module_run(
        "facts",
        20,
        engine={"kind": "scripted", "replies": spoken, "default": json.dumps(good)},
        instructions=[{"corpus": "bread", "source": str(corpus)}],
        dialogues={"characters_per_instruction": 1},
        curation={"validation_fraction": 0.3, "near_duplicates": {"threshold": None}},
    )
    run.finish()
    run.finish(job="curate")
    run.finish("--format", "opencharacter", job="export")
    card = (Path(run.output) / "export" / "opencharacter" / "README.md").read_text()
    for part in (
        "| personas | 20 | 20 | 0 |",
        "| instructions/bread | 40 | 40 | 0 |",
        "`too_short` 1",
        "| personas | personas.jsonl | unknown | unknown | unknown |",
        "| instructions, corpus `bread` | bread.jsonl | unknown |",
        "| dialogues/generate-bread | scripted | scripted | scripted | 0.6 | 0.95 |",
        "Languages (as detected in the longest reply):\nenglish ",
        "- gender: female ",
        "`training-system@1#",
        "{{ persona }}",
    ):
        assert part in card, part
    assert str(run.output) not in card
    assert str(tmp_path) not in card
    found = loaded(Path(run.output) / "export" / "opencharacter", tmp_path / "cache")
    assert sum(map(len, found.values())) == 39
    assert not set(found["train"]["character_id"]) & set(found["validation"]["character_id"])


def test_parallel_exports_do_not_mix(made, tmp_path):
    run = copied(made, tmp_path)
    out = Path(run.output) / "export" / "messages"
    first = run.start_until(lambda: (out / ".running.lock").exists(), "--format", "messages", job="export")
    os.kill(first.pid, signal.SIGSTOP)
    try:
        if first.poll() is None and not (out / ".manifest.json").exists():
            assert run.start("--format", "messages", job="export").wait(60) == 2
            assert "another run works on it" in run.log()
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert first.wait(60) == 0
