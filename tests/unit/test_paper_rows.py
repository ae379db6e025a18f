"""The paper's rows stand only beside scores for which all that decides them is the paper's."""

import json
from dataclasses import astuple

import pytest

from factory.config import RunConfig
from factory.evaluation.parity import paper_rows
from factory.evaluation.parity.checkout_texts import parity_prompts
from factory.evaluation.parity.paper_rows import digest_of, why_no_paper_rows
from factory.evaluation.run_benchmark import named_benchmark
from factory.evaluation.scoring.fork_table import fork_section
from factory.evaluation.scoring.paper_scores import JUDGE, SCORES
from factory.evaluation.scoring.scores_schema import ForkCount, Scores
from factory.personagym import TASKS, open_benchmark, persona_questions
from factory.records import content_id
from factory.resources import RESOURCES
from tests import made_checkout as made
from tests.made_scores import scores_of

PERSONAGYM = RESOURCES.parent / "shared" / "data" / "personagym"


@pytest.fixture
def settings(tmp_path, monkeypatch) -> dict:
    """Return settings of an evaluation that equals the paper's, if a made checkout were PersonaGym."""
    folder = made.write_checkout(tmp_path / "gym")
    evaluation = {
        "benchmark": str(folder),
        "protocol": "light",
        "parity": "opencharacter",
        "candidates": [
            {"name": "api", "kind": "openai", "model": "gpt-4o-mini"},
            {"name": "tuned", "model": "embedded"},
        ],
        "judges": [{"name": "judge", "kind": "openai", "model": JUDGE}],
    }
    benchmark, texts = open_benchmark(str(folder)), astuple(parity_prompts(_config(evaluation)))
    ids = sorted(map(content_id, made.PERSONAS))[:3]
    personas = {content_id(persona): persona for persona in made.PERSONAS}
    questions = {
        name: digest_of([persona_questions(benchmark, personas[one], per_task) for one in ids])
        for name, per_task in (("light", 1), ("full", None))
    }
    known = {
        "personas": len(made.PERSONAS),
        "rubrics": digest_of(dict(sorted(benchmark.rubrics.items()))),
        "prompts": digest_of(list(texts)),
        "roles": {"api": digest_of(made.API_PROMPT), "tuned": digest_of(made.TUNED_PROMPT)},
        "questions": questions,
        "sample": ids,
    }
    path = tmp_path / "known.json"
    path.write_text(json.dumps({"benchmark": known}))
    monkeypatch.setattr(paper_rows, "SCORES", str(path))
    return evaluation


def _config(evaluation: dict) -> RunConfig:
    return RunConfig.model_validate({"output": "x", "evaluation": evaluation})


def why(evaluation: dict) -> str:
    config = _config(evaluation)
    return why_no_paper_rows(config, named_benchmark(config))


@pytest.mark.parametrize("protocol", ["light", "full"])
def test_rows_stand_beside_the_papers_own_evaluation(settings, protocol):
    assert why(settings | {"protocol": protocol}) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"parity": None}, "candidates and judges were not asked as in the paper"),
        ({"benchmark": None}, "the benchmark has 20 personas, and PersonaGym 4"),
        ({"limit": 3}, "only 3 of 4 personas were used"),
        ({"sampling": {"max_tokens": 64}}, "evaluation.sampling.max_tokens is 64, and was 3000 in the paper"),
        ({"judge_sampling": {"temperature": 0.5}}, "evaluation.judge_sampling.temperature is 0.5, and was 0"),
        ({"parity_prompts": {"tuned": "Be {persona}."}}, "the candidate tuned was not told what"),
        (
            {"judges": [{"name": "j", "model": "embedded"}]},
            f"the judge of the paper was {JUDGE} alone, and here embedded",
        ),
    ],
)
def test_each_difference_is_named(settings, change, reason):
    assert why(settings | change).startswith(reason)


def test_a_judge_behind_a_router_is_the_papers(settings):
    judge = settings["judges"][0]
    assert why(settings | {"judges": [judge | {"model": f"openai/{JUDGE}"}]}) == ""
    assert JUDGE in why(settings | {"judges": [judge, judge | {"name": "again"}]})


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("rubrics/Toxicity.txt", "the rubrics are not PersonaGym's"),
        ("prompts/rubric_grading/sys_prompt.txt", "the prompts in the checkout are not PersonaGym's"),
        (f"questions/benchmark-v1/{min(made.PERSONAS, key=content_id)}.json", "the questions are not PersonaGym's"),
    ],
)
def test_a_changed_file_is_found(settings, tmp_path, path, reason):
    file = tmp_path / "gym" / path
    file.write_text(file.read_text().replace("?", "??") + " ")
    assert why(settings) == reason


def test_hashes_are_those_of_personagym():
    if not PERSONAGYM.is_dir():
        pytest.skip(f"{PERSONAGYM} is missing: PersonaGym's slice lies there, see ../shared/data/README.md")
    known = json.loads((RESOURCES / "data" / "opencharacter-scores.json").read_text())["benchmark"]
    assert str(SCORES).endswith("opencharacter-scores.json")
    benchmark = open_benchmark(str(PERSONAGYM))
    personas = {content_id(persona): persona for persona in benchmark.personas}
    assert digest_of(dict(sorted(benchmark.rubrics.items()))) == known["rubrics"]
    for protocol, per_task in (("light", 1), ("full", None)):
        sample = [persona_questions(benchmark, personas[one], per_task) for one in known["sample"]]
        assert digest_of(sample) == known["questions"][protocol]


def test_page_has_both_countings_and_the_share_of_zeros():
    document = scores_of(20)
    assert fork_section(Scores.model_validate(document)) == []
    counted = {"scores": {name: {"mean": 3.5, "std": 0.25} for name in [*TASKS, "PScore"]}, "personas": 20}
    count = ForkCount.model_validate(counted | {"calls": 100, "zeros": 7})
    counts = {name: {"judge-a": count} for name in ("base", "tuned")}
    title, table, _ = fork_section(Scores.model_validate(document).model_copy(update={"fork_counts": counts}))
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert title == "## As the paper's runner counts"
    assert [row[:3] for row in rows] == [
        [name, "judge-a", how] for name in ("base", "tuned") for how in ("its runner", "ours")
    ]
    assert rows[0][3:] == ["3.50 (.25)"] * 6 + ["7.0%"]
