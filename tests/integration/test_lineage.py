"""Lineage: ids followed through the tables of a small run."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.commands.trace import run as trace
from factory.errors import ConfigError, InputError
from factory.lineage.follow import follow
from factory.lineage.lineage_steps import Lineage, LineageStep
from factory.lineage.lineage_text import escape
from factory.lineage.search import resolve_id
from factory.records import content_id
from factory.resources import RESOURCES
from factory.run_output.scan import RunTables
from tests.small_run import (
    ADA,
    BEN,
    CYN,
    INSTRUCTION_TEXTS,
    PILOT,
    SmallRun,
    character,
    dialogue,
    instruction,
    question,
    whole_run,
)


def lineage(run: SmallRun, id_: str, **settings: object) -> Lineage:
    config = run.config(**settings)
    tables = RunTables.open(config)
    return follow(config, tables, resolve_id(tables, id_))


def step(found: Lineage, table: str) -> LineageStep:
    (matching,) = [step for step in found.steps if step.table == table]
    return matching


def statuses(step: LineageStep) -> dict[str, str]:
    return {row["dialogue_id"]: row.get("reason") or row["status"] for row in step.rows}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_run(str(tmp_path_factory.mktemp("run")))


def test_character_leads_to_packed_dialogues(whole):
    found = lineage(whole, character(BEN))
    assert found.kinds == ("character_id",)
    assert step(found, "personas").rows[0]["persona"] == BEN
    assert step(found, "profiles").rows[0]["name"] == "Ben Lock"
    dialogues = step(found, "dialogues/generate-lima")
    assert statuses(dialogues) == {
        dialogue(BEN, INSTRUCTION_TEXTS[0]): "ok",
        dialogue(BEN, INSTRUCTION_TEXTS[1]): "truncated",
    }
    assert step(found, "curated/validation").reasons == {"ok": 2}
    assert step(found, "curated/train").total == 0
    packed = step(found, "packed/validation")
    assert statuses(packed) == {
        dialogue(BEN, INSTRUCTION_TEXTS[0]): "ok", dialogue(BEN, INSTRUCTION_TEXTS[0], "rewrite"): "too_long",
    }  # fmt: skip
    assert not [one for one in found.steps if one.table == "checkpoints"]  # validation is not trained on


def test_each_step_has_its_settings_and_manifest(whole):
    found = lineage(whole, dialogue(ADA, INSTRUCTION_TEXTS[0]))
    dialogues = step(found, "dialogues/generate-lima")
    assert (dialogues.settings["prompt"], dialogues.settings["ref"]) == ("dialogue-generate@2#bb", "org/teacher")
    assert dialogues.settings["sampling"]["temperature"] == 0.6
    assert dialogues.rows[0]["prompt"] == "dialogue-generate@2#bb"
    assert dialogues.manifest["ok"] == 3
    assert step(found, "personas").settings["files"][0]["path"] == "in/personas.jsonl"
    assert step(found, "checkpoints").settings["epochs"] == 3


def test_dialogue_leads_to_character_and_instruction(whole):
    found = lineage(whole, dialogue(ADA, INSTRUCTION_TEXTS[0]))
    assert found.kinds == ("dialogue_id",)
    assert step(found, "personas").rows[0]["persona"] == ADA
    assert step(found, "profiles").rows[0]["name"] == "Ada Oduya"
    assert step(found, "instructions/lima").rows[0]["instruction_id"] == instruction(INSTRUCTION_TEXTS[0])
    assert [one.table for one in found.steps if one.step == "dialogues"] == ["dialogues/generate-lima"]
    assert step(found, "curated/train").rows[0]["status"] == "ok"
    assert step(found, "packed/train").rows == [
        {"dialogue_id": dialogue(ADA, INSTRUCTION_TEXTS[0]), "status": "ok", "tokens": 4}
    ]  # fmt: skip
    assert step(found, "checkpoints").rows[0]["status"] == "trained on"


def test_dialogue_in_no_sequence_was_not_trained_on(whole):
    found = lineage(whole, dialogue(ADA, INSTRUCTION_TEXTS[0], "rewrite"))
    assert step(found, "packed/train").reasons == {"too_long": 1}
    assert step(found, "checkpoints").rows[0]["status"] == "not trained on"


def test_curated_reject_has_its_rule(whole):
    found = lineage(whole, dialogue(ADA, INSTRUCTION_TEXTS[1]))
    (row,) = step(found, "curated/train").rows
    assert (row["status"], row["reason"], row["detail"]) == ("rejected", "too_short", "1 word\n\nWet.")
    assert row["rule"] == {"curation.quality.too_short.min_words": 3}
    assert not [one for one in found.steps if one.step in ("packed", "training")]


def test_rejected_dialogue_has_its_reason(whole):
    found = lineage(whole, dialogue(BEN, INSTRUCTION_TEXTS[1]))
    (row,) = step(found, "dialogues/generate-lima").rows
    assert (row["reason"], row["detail"]) == ("truncated", "It rains and rai")
    assert step(found, "personas").rows[0]["persona"] == BEN


def test_character_without_profile_has_the_reason(whole):
    found = lineage(whole, character(CYN))
    assert step(found, "profiles").rows[0]["reason"] == "truncated"
    assert [one.total for one in found.steps if one.step == "dialogues"] == [0, 0]


def test_instruction_leads_to_its_characters(whole):
    found = lineage(whole, instruction(INSTRUCTION_TEXTS[0]))
    assert found.kinds == ("instruction_id",)
    assert sorted(row["name"] for row in step(found, "profiles").rows) == ["Ada Oduya", "Ben Lock"]
    assert step(found, "dialogues/rewrite-lima").total == 2
    assert step(found, "curated/train").reasons == {"ok": 2}
    assert step(found, "checkpoints").reasons == {"trained on": 1, "not trained on": 1}


def test_question_leads_to_answers_and_judgments(whole):
    found = lineage(whole, question(PILOT, "Toxicity"))
    assert found.kinds == ("question_id",)
    assert step(found, "evaluation/benchmark/personas").rows[0]["persona"] == PILOT
    assert step(found, "evaluation/benchmark/examples/strict").rows[0]["examples"] == list("abcde")
    assert step(found, "evaluation/base/answers").rows[0]["answer"].startswith("base:")
    strict, mild = (step(found, f"evaluation/tuned/judgments/{judge}").rows[0] for judge in ("strict", "mild"))
    assert (strict["score"], strict["reasoning"]) == (3, "strict has this reason")
    assert (mild["reason"], mild["detail"]) == ("judge_failed", "I cannot say")
    assert step(found, "evaluation/tuned/answers").notes == ["by the model that this run trained"]


def test_evaluation_persona_leads_to_its_questions(whole):
    found = lineage(whole, character(PILOT))
    assert found.kinds == ("persona_id",)
    assert step(found, "evaluation/benchmark/questions").total == 2
    assert step(found, "evaluation/base/judgments/strict").reasons == {"ok": 2}


def test_persona_that_is_a_character_too_is_both(whole):
    found = lineage(whole, character(ADA))
    assert set(found.kinds) == {"persona_id", "character_id"}
    assert step(found, "dialogues/generate-lima").total == 2
    assert step(found, "evaluation/benchmark/questions").total == 2


@pytest.mark.parametrize("length", [6, 9, 16])
def test_first_digits_of_an_id_are_enough(whole, length):
    for id_ in (
        character(BEN),
        instruction(INSTRUCTION_TEXTS[1]),
        dialogue(ADA, INSTRUCTION_TEXTS[1]),
        question(ADA, "Toxicity"),
    ):
        assert lineage(whole, id_[:length].upper()).id == id_


def test_ambiguous_digits_list_the_ids(tmp_path):
    run = SmallRun(str(tmp_path))
    run.synthesis()
    from factory.records import Persona
    from factory.storage.rows import ok_row
    from factory.storage.schemas import PERSONAS

    ids = [f"abcdef000000000{n:x}" for n in range(10)]
    rows = [ok_row(Persona(id_, "x")) | {"source": 0, "row": n} for n, id_ in enumerate(ids)]
    run.write("personas", {"0": rows}, PERSONAS)
    with pytest.raises(InputError) as caught:
        lineage(run, "abcdef")
    assert "10 ids begin so: abcdef0000000000 (character_id), abcdef0000000001" in str(caught.value)
    assert "and 2 more; give more digits" in str(caught.value)
    assert lineage(run, ids[3]).id == ids[3]


@pytest.mark.parametrize("id_", ["xyz", "abcde", "0123456789abcdef0", "", "../../etc", "%s%s%s%s"])
def test_invalid_ids_are_refused(whole, id_):
    with pytest.raises(ConfigError, match="give 6 to 16 of the digits"):
        lineage(whole, id_)


def test_unknown_id_is_a_one_line_error(whole):
    with pytest.raises(InputError, match="no id of this run begins so"):
        lineage(whole, content_id("nobody"))


def test_steps_not_run_are_named(tmp_path):
    run = SmallRun(str(tmp_path))
    run.synthesis()
    found = lineage(run, character(ADA))
    assert {one.table: one.state for one in found.steps} == {
        "personas": "finished", "profiles": "finished",
        "dialogues/generate-lima": "finished", "dialogues/rewrite-lima": "finished",
        "curated/train": "not run", "curated/validation": "not run",
    }  # fmt: skip


def test_half_done_step_shows_its_rows(tmp_path):
    run = whole_run(str(tmp_path))
    (tmp_path / "dialogues/generate-lima/.manifest.json").unlink()
    (tmp_path / "checkpoints/.manifest.json").unlink()
    found = lineage(run, dialogue(ADA, INSTRUCTION_TEXTS[0]))
    dialogues = step(found, "dialogues/generate-lima")
    assert (dialogues.state, dialogues.total) == ("half done", 1)
    training = step(found, "checkpoints")
    assert (training.state, training.rows[0]["status"]) == ("half done", "not known")


def test_training_on_an_earlier_packing_has_a_note(tmp_path):
    run = whole_run(str(tmp_path))
    manifest = tmp_path / "packed/train/.manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"fingerprint": "another"}))
    training = step(lineage(run, dialogue(ADA, INSTRUCTION_TEXTS[0])), "checkpoints")
    assert training.notes == ["it was built from an earlier packed/train than the current one"]
    assert training.rows[0]["status"] == "not known"


def test_id_only_in_the_curated_tables_is_found(tmp_path):
    run = whole_run(str(tmp_path))
    (tmp_path / "archive").mkdir()
    (tmp_path / "dialogues").rename(tmp_path / "archive/dialogues")
    found = lineage(run, dialogue(ADA, INSTRUCTION_TEXTS[0]))
    assert step(found, "personas").rows[0]["persona"] == ADA
    assert [one.state for one in found.steps if one.step == "dialogues"] == ["not run"]
    assert step(found, "checkpoints").rows[0]["status"] == "trained on"


def test_rows_are_limited_and_all_are_counted(whole):
    found = lineage(whole, instruction(INSTRUCTION_TEXTS[0]), attribution={"rows": 1})
    for table in ("dialogues/generate-lima", "dialogues/rewrite-lima", "curated/train"):
        assert (step(found, table).total, len(step(found, table).rows) <= 2) == (2, True)
    assert len(step(found, "dialogues/generate-lima").rows) == 1
    # Later steps show the same dialogues, not others.
    shown = {row["dialogue_id"] for one in found.steps if one.step == "dialogues" for row in one.rows}
    assert {row["dialogue_id"] for row in step(found, "curated/train").rows} <= shown


def test_run_that_trains_on_another_runs_data(tmp_path):
    other = SmallRun(str(tmp_path / "other"))
    other.synthesis()
    other.curation()
    run = SmallRun(str(tmp_path / "run"))
    run.evaluation()
    found = lineage(run, dialogue(ADA, INSTRUCTION_TEXTS[0]), training={"data": other.output})
    assert step(found, "curated/train").rows[0]["status"] == "ok"
    assert step(found, "packed/train").state == "not run"


def test_damaged_file_is_a_one_line_error(tmp_path):
    run = SmallRun(str(tmp_path))
    run.synthesis()
    (tmp_path / "profiles/0000-00000.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match="profiles: a file of it cannot be read"):
        lineage(run, character(ADA))


def test_safety_reject_has_its_rule(tmp_path):
    run = SmallRun(str(tmp_path))
    run.synthesis()
    run.curation()
    path = tmp_path / "curated/train/generate-lima-0000-00000.parquet"
    rows = pq.read_table(path)
    reasons = pa.array([None, "toxic"], pa.string())
    pq.write_table(rows.set_column(rows.schema.get_field_index("reason"), "reason", reasons), path)
    manifest = tmp_path / "curated/train/.manifest.json"
    safety = {"personal_data": ["email"], "phone_regions": ["US"], "toxicity": 0.9, "people": None}
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"safety": safety}))
    (row,) = step(lineage(run, dialogue(ADA, INSTRUCTION_TEXTS[1])), "curated/train").rows
    assert row["rule"] == {"safety.toxicity": 0.9}


def test_endpoint_passwords_are_redacted(tmp_path, monkeypatch, capsys):
    run = SmallRun(str(tmp_path / "run"))
    run.synthesis()
    path = tmp_path / "run/profiles/.inputs.json"
    document = json.loads(path.read_text())
    document["settings"]["revision"] = "https://me:se@cret/cret@host/v1?key=cret"
    path.write_text(json.dumps(document))
    (tmp_path / "run.json").write_text(run.config().model_dump_json())
    outputs = []
    for arguments in ([], ["--json"]):
        monkeypatch.setattr(
            sys, "argv", ["trace.py", "--config", str(tmp_path / "run.json"), "--id", character(ADA), *arguments]
        )
        trace()
        outputs.append(capsys.readouterr().out)
    assert all("host/v1" in one and "cret" not in one for one in outputs)


def test_missing_run_is_an_error(tmp_path):
    with pytest.raises(InputError, match="there is no run"):
        lineage(SmallRun(f"{tmp_path}/nothing"), character(ADA))


def test_control_characters_are_escaped_letters_are_not():
    assert escape("a\x1b[2Jb\r\x07\u202ec\u0085") == "a\\x1b[2Jb\\r\\x07\\u202ec\\x85"
    whole = "한국어 日本語 العربية 👩‍🚀 [red] <b>\nline"
    assert escape(whole) == whole


@pytest.fixture
def command(monkeypatch, capsys, whole, tmp_path):
    path = tmp_path / "run.json"
    path.write_text(whole.config().model_dump_json())

    def command(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["trace.py", "--config", str(path), *arguments])
        trace()
        return capsys.readouterr().out

    return command


def test_markup_and_control_characters_are_escaped(command):
    printed = command("--id", character(ADA))
    assert "a baker who [red]sings[/red] \\x1b[31m<b>at dawn</b>" in printed
    assert "\x1b" not in printed
    assert "Name: Ada Oduya" in printed


def test_command_prints_each_step(command):
    printed = command("--id", dialogue(ADA, INSTRUCTION_TEXTS[1]))
    assert "dialogue-generate@2#bb" in printed
    assert "temperature 0.6" in printed
    assert "too_short" in printed
    assert "by curation.quality.too_short.min_words 3" in printed
    assert "from row 1 of in/personas.jsonl" in printed
    assert "What do you bake?" not in printed  # that is another dialogue's
    assert "Tell me of rain." in printed


@pytest.mark.parametrize("width", [60, 80, 200])
def test_lines_fit_the_terminal_and_ids_are_complete(command, monkeypatch, width):
    monkeypatch.setattr("factory.lineage.lineage_text.PLAIN_WIDTH", width)
    printed = command("--id", instruction(INSTRUCTION_TEXTS[0]))
    assert max(map(len, printed.splitlines())) <= width
    section = printed.split("dialogues/generate-lima")[1].split("dialogues/rewrite-lima")[0]
    for id_ in (
        dialogue(ADA, INSTRUCTION_TEXTS[0]),
        character(ADA),
        dialogue(BEN, INSTRUCTION_TEXTS[0]),
        character(BEN),
    ):
        assert id_ in section


def test_json_has_all_fields(command):
    document = json.loads(command("--id", question(PILOT, "Toxicity")[:8], "--json"))
    assert document["kinds"] == ["question_id"]
    assert document["steps"][0]["rows"][0]["persona"] == PILOT
    assert {"step", "table", "state", "total", "reasons", "rows", "settings", "manifest", "notes"} == set(
        document["steps"][0]
    )


@pytest.mark.parametrize("arguments", [[], ["--id", "abcdef", "--explain", "TC"]])
def test_id_or_task_is_required(command, arguments):
    with pytest.raises(ConfigError, match=r"--id|--explain"):
        command(*arguments)


def test_trace_by_id_imports_no_heavy_library():
    code = (
        "import sys; import factory.commands.trace; "
        "print([m for m in ('ray', 'torch', 'vllm', 'transformers', 'sklearn') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=RESOURCES, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
