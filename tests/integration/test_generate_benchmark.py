"""The real job, from personas to a benchmark in PersonaGym's layout; and benchmarks on S3."""

import json
from pathlib import Path

import pytest

from factory.benchmark_generation.generation_steps import TABLES, available_settings
from factory.personagym import BUILT_IN, TASKS, all_questions, benchmark_digest, open_benchmark
from factory.records import content_id
from factory.storage import file_io
from tests.integration.runs import Run

GOOD = [f"a baker/confectioner, number {n}" for n in range(40)]
UNSETTLED, WORDY, ECHOING = "a tailor from Turin", "a glazier from Gdansk", "a cooper from Cork"
KOREAN = "목포 여객선 매표소에서 서른 해째 일하며 섬 이름을 노래하듯 외우는 쉰여섯 살 매표원"
PERSONAS = [*GOOD, UNSETTLED, WORDY, ECHOING, KOREAN]
SHORT = ["Who?", "Why?"]
"""Too short for a language check."""


def questions_for(task: str) -> list[str]:
    if task == "Toxicity":
        return SHORT
    return [
        f"The oven has gone cold in front of {n} hungry people, and {task} is what they want. And you?" for n in "48"
    ]


def reply(contains: str, **said: object) -> dict[str, str]:
    return {"contains": contains, "reply": json.dumps(said)}


@pytest.fixture(scope="module")
def generated(make_module_run) -> Run:
    offered = available_settings()
    run = make_module_run(
        "generated",
        engine={
            "kind": "scripted",
            "replies": [
                reply(UNSETTLED, settings=offered[:2]),
                reply(f"{WORDY}\n\nThe settings", questions=[*SHORT, "How?"]),
                reply(f"{ECHOING}\n\nThe settings", questions=["Who are you?", "WHO are you"]),
                *(reply(f"Write 2 questions for {task}.", questions=questions_for(task)) for task in TASKS),
            ],
            "default": json.dumps({"settings": offered[:3]}),
        },
        benchmark_generation={"settings_per_persona": 3, "questions_per_task": 2},
        instructions=[{"corpus": "lima", "source": "nowhere.jsonl"}],
    )
    run.config["personas"] |= {"facts": {"town": "town"}, "draw": {"disposition": {"moral": 1, "immoral": 1}}}
    lines = [json.dumps({"persona": persona, "town": "Cork"}) + "\n" for persona in PERSONAS]
    (run.folder / "personas.jsonl").write_text("".join(lines))
    run.finish(job="generate_benchmark")
    return run


def manifest(run: Run, name: str) -> dict:
    found = run.table(name).manifest()
    assert found
    return found


def test_folder_has_the_complete_personas(generated):
    benchmark = open_benchmark(f"{generated.output}/benchmark")
    assert benchmark.name == "generated-v1"
    assert sorted(benchmark.personas) == sorted(GOOD)
    assert dict(all_questions(benchmark)) == {p: {t: questions_for(t) for t in TASKS} for p in benchmark.personas}
    names = file_io.list_names(f"{generated.output}/benchmark/questions/generated-v1", "")
    assert names == sorted(f"{content_id(persona)}.json" for persona in GOOD)
    built_in = open_benchmark(None)
    assert benchmark.rubrics == built_in.rubrics
    assert json.loads(file_io.read_bytes(f"{generated.output}/benchmark/settings.json")) == available_settings()


def test_folder_has_the_strata_of_its_personas(generated):
    drawn = {row["persona"]: json.loads(row["strata"]) for row in generated.rows("personas")}
    found = open_benchmark(f"{generated.output}/benchmark").strata
    assert found == {persona: drawn[persona] for persona in GOOD}
    assert {one["disposition"] for one in found.values()} == {"moral", "immoral"}


def test_each_persona_and_task_has_a_row(generated):
    assert generated.reasons(f"{TABLES}/settings") == {"ok": len(PERSONAS) - 1, "wrong_count": 1}
    assert generated.reasons(f"{TABLES}/questions") == {
        "ok": len(GOOD) * len(TASKS) + 1,
        "wrong_count": len(TASKS),
        "duplicate_question": len(TASKS),
        "wrong_language": len(TASKS) - 1,
    }
    rows = generated.rows(f"{TABLES}/questions")
    assert len({(row["persona_id"], row["task"]) for row in rows}) == len(rows) == (len(PERSONAS) - 1) * len(TASKS)
    assert {row["prompt"].partition("@")[0] for row in rows} == {"benchmark-questions"}
    assert manifest(generated, "benchmark")["rejected"] == {"incomplete": 4}


def test_readme_describes_the_generation(generated):
    readme = file_io.read_bytes(f"{generated.output}/benchmark/README.md").decode()
    for told in (
        "40 personas with 2 questions for each of the five tasks",
        "Model: scripted (revision scripted)",
        "benchmark-settings@1#",
        "44 of ",
        "4 are left out",
        "settings wrong_count 1, questions duplicate_question 5, wrong_count 5, wrong_language 4",
        "Licenses: ",
    ):
        assert told in " ".join(readme.split()), told


@pytest.mark.slow
def test_interrupted_run_continues(generated):
    questions = generated.table(f"{TABLES}/questions")
    cut, *others = questions.shards()
    assert others
    for path in (f"{questions.path}/{cut}.parquet", f"{questions.path}/.manifest.json"):
        file_io.delete_file(path)
    before = manifest(generated, "benchmark")
    said = generated.finish(job="generate_benchmark")
    assert f"{TABLES}/settings: already finished" in said
    assert "going on" in said
    assert sorted(open_benchmark(f"{generated.output}/benchmark").personas) == sorted(GOOD)
    # Some questions are written again, so it is another benchmark, and the previous one is archived.
    assert len(open_benchmark(f"{generated.output}/archive/benchmark-{before['fingerprint']}").personas) == len(GOOD)


def test_dry_run_prints_personas_calls_and_model(generated):
    said = generated.finish("--dry-run", job="generate_benchmark")
    lines = [line.split() for line in said.splitlines()]
    assert ["settings", "44", "44", "3", "of", "38", "settings"] in lines
    assert ["questions", "44", "220", "2", "for", "each", "of", "5", "tasks"] in lines
    assert "model scripted" in said


def test_too_many_settings_are_refused(generated):
    override = "benchmark_generation.settings_per_persona=99"
    assert generated.start("--dry-run", override, job="generate_benchmark").wait(60) == 2
    assert "benchmark_generation.settings_per_persona is 99, but there are 38 settings" in generated.log()


@pytest.mark.slow
def test_no_complete_persona_ends_the_run(generated):
    before = manifest(generated, "benchmark")["fingerprint"]
    assert generated.start("benchmark_generation.questions_per_task=7", job="generate_benchmark").wait(300) == 2
    assert f"{TABLES}/tasks: already finished" in generated.log()
    assert "wrote questions for all tasks for none of 44 personas" in generated.log()
    assert not file_io.exists(f"{generated.output}/benchmark/personas.json")
    assert len(open_benchmark(f"{generated.output}/archive/benchmark-{before}").personas) == len(GOOD)


@pytest.mark.slow
def test_benchmark_on_s3_is_the_same(s3):
    for path in Path(BUILT_IN).rglob("*.*"):
        file_io.write_bytes(f"{s3}/gym/{path.relative_to(BUILT_IN)}", path.read_bytes())
    assert benchmark_digest(open_benchmark(f"{s3}/gym")) == benchmark_digest(open_benchmark(None))
