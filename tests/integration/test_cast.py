"""The cast through the real job: a file in the shape of Nemotron-Personas, with quotas, facts and languages."""

import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.synthesis.facts import find_lost_fact
from factory.synthesis.profiles import LABELS
from tests.integration.runs import GOOD_PROFILE, Run
from tests.made_people import made_person

PEOPLE = 3000
FACTS = {"age": "age", "gender": "sex", "birth_place": "city", "occupation": "occupation"}


def reply(person: dict, keeps: bool) -> dict:
    """Return what the scripted engine writes about a person: a profile that keeps its facts, or one that does not."""
    if not keeps:
        return GOOD_PROFILE
    job = person["occupation"].replace("_", " ")
    return GOOD_PROFILE | {
        "age": str(person["age"]), "gender": person["sex"].lower(), "birth_place": f"{person['city']}, USA",
        "experience": f"Worked as a {job} for years.",
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory, shared_ray) -> Run:
    """The finished run; a tenth of the people are in the second file too, and a fifth of the profiles lose a fact."""
    folder = tmp_path_factory.mktemp("cast")
    people = [made_person(number) for number in range(PEOPLE)]
    again = [person | {"persona": f"{person['persona']} In other words."} for person in people[::10]]
    for name, rows in (("a", people), ("b", again)):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    replies = [
        {"contains": f"Person {number} of ", "reply": reply(person, number % 5 > 0)}
        for number, person in enumerate(people)
    ]
    (folder / "replies.jsonl").write_text("".join(json.dumps(one) + "\n" for one in replies))
    personas = {
        "source": [str(folder / "a.parquet"), str(folder / "b.parquet")],
        "facts": FACTS,
        "unique": "uuid",
        "quotas": [{"by": "sex", "shares": {"female": 1, "male": 1}}, {"by": "age", "bands": [18, 30, 45, 91]}],
        "draw": {"disposition": {"moral": 8, "immoral": 2}, "temperament": {"calm": 1, "irritable": 1}},
        "language": {"weights": {"English": 1, "Korean": 1}},
    }
    engine = {"kind": "scripted", "replies_file": str(folder / "replies.jsonl")}
    profiles = {"rules": "off"}  # all have the texts of one
    config = {"output": str(folder / "run"), "engine": engine, "personas": personas, "profiles": profiles}
    started = Run(folder, config, environment=dict(shared_ray))
    started.finish(timeout=500)
    return started


def test_people_are_distinct_by_uuid_and_quotas_are_met(run):
    reasons = run.reasons("personas")
    assert reasons["duplicate"] == PEOPLE // 10
    assert sum(reasons.values()) == PEOPLE + PEOPLE // 10
    rows = [row for row in run.rows("personas") if row["status"] == "ok"]
    assert len(rows) > 300
    for name, share in (("sex", 1 / 2), ("age", 1 / 3)):
        counts = Counter(json.loads(row["strata"])[name] for row in rows)
        for count in counts.values():
            assert count / len(rows) == pytest.approx(share, abs=0.01)


def test_accepted_profiles_keep_every_fact(run):
    facts = {row["character_id"]: json.loads(row["facts"]) for row in run.rows("personas") if row["status"] == "ok"}
    profiles = run.rows("profiles")
    accepted = [row for row in profiles if row["status"] == "ok"]
    for row in accepted:
        fixed = {name: value for name, value in facts[row["character_id"]].items() if name in FACTS}
        assert len(fixed) == 4
        assert find_lost_fact(fixed, {name: row[name] for name in LABELS}) is None
        assert int(row["age"]) == int(fixed["age"])
    lost = [row for row in profiles if row["reason"] == "fact_lost"]
    assert len(lost) + len(accepted) == len(profiles) == len(facts)
    assert 0.1 < len(lost) / len(profiles) < 0.3
    assert all(row["prompt"].startswith("profile-facts@") for row in profiles)


def test_a_run_has_two_languages_and_drawn_traits(run):
    languages = Counter(row["language"] for row in run.rows("profiles") if row["status"] == "ok")
    assert set(languages) == {"English", "Korean"}
    assert min(languages.values()) / sum(languages.values()) > 0.4
    assert run.table("personas").manifest()["languages"] == ["ENGLISH", "KOREAN"]
    facts = [json.loads(row["facts"]) for row in run.rows("personas") if row["status"] == "ok"]
    assert Counter(one["disposition"] for one in facts)["immoral"] / len(facts) == pytest.approx(0.2, abs=0.06)
