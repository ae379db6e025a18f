"""`profiles.attempts`: a profile that a rule or the parser rejects is asked for again, the same over any replicas."""

import json

import pytest

from tests.integration.runs import GOOD_PROFILE

PLACEHOLDER = GOOD_PROFILE | {"birth_place": "unknown"}
LATER = GOOD_PROFILE | {"age": "about 900"}
REPLIES = [
    {"contains": "number 1.", "reply": PLACEHOLDER, "again": LATER},  # a rule, then good
    {"contains": "number 2.", "reply": "I cannot.", "again": LATER},  # the parser, then good
    {"contains": "number 3.", "reply": "I cannot.", "again": PLACEHOLDER},  # never good
    {"contains": "number 4.", "reply": PLACEHOLDER},
]
"""The other personas get a good profile at once."""


@pytest.fixture
def make_attempts(make_run):
    """Make a finished run over twelve personas with so many attempts and replicas."""

    def make(attempts: int, replicas: int, rules: str = "reject"):
        run = make_run(f"run-{attempts}-{replicas}-{rules}", 1, profiles={"rules": rules, "attempts": attempts})
        run.config["engine"] |= {"replies": REPLIES, "replicas": [replicas, replicas], "max_concurrency": 2}
        source = run.config["personas"]["source"]
        with open(source, "w") as file:
            file.writelines(json.dumps({"persona": f"A baker, number {n}."}) + "\n" for n in range(12))
        run.finish()
        return run

    return make


def profiles(run) -> list[tuple]:
    return sorted(
        (row["character_id"], row["reason"], row["age"], row["output_tokens"]) for row in run.rows("profiles")
    )


def test_rejected_profiles_are_asked_for_again(make_attempts):
    once, twice = make_attempts(1, 1), make_attempts(2, 2)
    assert once.reasons("profiles") == {"ok": 8, "placeholder": 2, "invalid_reply": 2}
    assert twice.reasons("profiles") == {"ok": 10, "placeholder": 2}
    rows = {row["character_id"]: row for row in twice.rows("profiles")}
    before = {row["character_id"]: row for row in once.rows("profiles")}
    later = {id_ for id_, row in rows.items() if row["age"] == LATER["age"]}
    assert {before[id_]["reason"] for id_ in later} == {"placeholder", "invalid_reply"}
    assert len(later) == 2
    for id_, row in rows.items():
        tokens = row["output_tokens"] > before[id_]["output_tokens"]
        assert tokens == bool(before[id_]["reason"]), "the tokens of both attempts count, and good ones take one"


def test_attempts_give_the_same_rows_over_replicas(make_attempts):
    one, three = make_attempts(2, 1), make_attempts(2, 3)
    assert profiles(one) == profiles(three)
    assert one.table("profiles").manifest()["fingerprint"] == three.table("profiles").manifest()["fingerprint"]


def test_flagged_profiles_are_not_asked_for_again(make_attempts):
    run = make_attempts(2, 2, "flag")
    assert run.reasons("profiles") == {"ok": 12}
    assert sorted(row["flags"] for row in run.rows("profiles") if row["flags"]) == ["placeholder"] * 3
