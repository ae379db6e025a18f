"""Best of n: candidates, a judge's comparisons in both orders, and what becomes of winners and losers."""

import json

import pytest

from factory.records import content_id
from factory.run_output import layout
from tests.integration.runs import GOOD_PROFILE

N, PER_INSTRUCTION = 3, 2
KINDS = {"knead": "Loaf {draw}.", "sing": "Song {draw}.", "mumble": "Hm {draw}.", "repeat": "Again."}
"""The reply to an instruction with a word; the judge prefers `Loaf 1`, names the first song, and mumbles."""
INSTRUCTIONS = 12


def verdict(letter: str) -> str:
    return json.dumps({"reasoning": "So.", "preferred": letter})


JUDGE = {
    "name": "chooser",
    "kind": "scripted",
    "replies": [
        {"contains": "<replies_a>\nLoaf 1.", "reply": verdict("A")},
        {"contains": "<replies_b>\nLoaf 1.", "reply": verdict("B")},
        {"contains": "Hm ", "reply": "I cannot decide."},
    ],
    "default": verdict("A"),
}


@pytest.fixture
def make_choosing(make_run, tmp_path):
    """Make a run over two corpora, with replies by word and two replicas."""

    def make(name: str, delay_s: float = 0, **dialogues: object):
        corpora = []
        for corpus in ("ovens", "songs"):
            path = tmp_path / f"{corpus}.jsonl"
            rows = [
                {"instruction": f"Please {word}, {corpus} {n}", "output": "Yes."} for n in range(3) for word in KINDS
            ]
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
            corpora.append({"corpus": corpus, "source": str(path)})
        replies = [{"contains": word, "reply": reply} for word, reply in KINDS.items()]
        engine = {
            "kind": "scripted", "replies": replies, "default": json.dumps(GOOD_PROFILE), "replicas": [2, 2],
        }  # fmt: skip
        settings = {
            "candidates": N,
            "choose": {"judge": {**JUDGE, "delay_s": delay_s, "max_concurrency": 2}},
            **dialogues,
        }
        return make_run(
            name,
            personas=6,
            engine=engine,
            instructions=corpora,
            dialogues={"characters_per_instruction": PER_INSTRUCTION, **settings},
        )

    return make


def reply(row: dict) -> str:
    return row["messages"][-1]["content"]


def texts(run, kind: layout.TableKind, corpus: str) -> list[dict]:
    """The rows of a table in a fixed order, without what differs between runs."""
    return sorted(run.rows(kind.name(strategy="generate", corpus=corpus)), key=lambda row: row["dialogue_id"])


def test_the_judge_chooses_and_others_are_passed_over(make_choosing):
    run = make_choosing("chosen")
    shown = run.finish("--dry-run")
    assert "comparisons/generate-ovens" in shown
    run.finish()
    for corpus in ("ovens", "songs"):
        dialogues = run.rows(f"dialogues/generate-{corpus}")
        losers = run.rows(f"passed_over/generate-{corpus}")
        assignments = INSTRUCTIONS * PER_INSTRUCTION
        assert len(dialogues) == assignments == run.table(f"dialogues/generate-{corpus}").manifest()["ok"]
        assert len(losers) == (N - 1) * assignments
        assert len(run.rows(f"candidates/generate-{corpus}")) == N * assignments
        # Equal replies are not compared, and every other pair is, in both orders.
        asked = run.reasons(f"comparisons/generate-{corpus}")
        quarter = N * (N - 1) * assignments // 4
        assert asked == {"ok": 2 * quarter, "judge_failed": quarter, "nothing_to_compare": quarter}
        winners = {row["dialogue_id"]: row for row in dialogues}
        assert len(winners) == assignments
        for row in losers:
            winner = winners[row["winner_id"]]
            same = ("character_id", "instruction_id")
            assert all(winner[name] == row[name] for name in same)
            assert winner["messages"][:-1] == row["messages"][:-1]
            won = (row["wins"], row["winner_wins"], row["judge"])
            if "knead" in row["messages"][1]["content"]:
                assert (reply(winner), won) == ("Loaf 1.", (0, 2, "chooser"))
            else:  # an order-dependent verdict, none, and no pair: all are tied
                assert won == (0, 0, "chooser")
                assert content_id(reply(winner)) <= content_id(reply(row))
    assert "skipped" in run.finish()


@pytest.mark.slow  # three runs
def test_a_killed_run_pays_nothing_twice(make_choosing):
    whole = make_choosing("whole")
    whole.finish()
    run = make_choosing("killed", delay_s=0.1)
    comparisons = run.table("comparisons/generate-ovens")
    run.kill_when(lambda: bool(comparisons.shards()))
    assert comparisons.manifest() is None
    paid = {shard: comparisons.read(shard) for shard in comparisons.shards()}
    candidates = run.table("candidates/generate-ovens").manifest()
    run.finish()
    assert run.table("candidates/generate-ovens").manifest() == candidates
    assert {shard: comparisons.read(shard) for shard in paid} == paid
    manifest = comparisons.manifest()
    # Workers of the killed driver may have written one more shard.
    assert 0 < manifest["rows_this_run"] <= manifest["rows_in"] - sum(rows.num_rows for rows in paid.values())
    for corpus in ("ovens", "songs"):
        for kind in (layout.DIALOGUES, layout.PASSED_OVER):
            assert texts(run, kind, corpus) == texts(whole, kind, corpus)


def test_one_candidate_is_as_before(make_choosing):
    run = make_choosing("single", candidates=1, choose=None)
    run.finish()
    replies = {reply(row) for row in run.rows("dialogues/generate-ovens")}
    assert replies == {text.replace("{draw}", "0") for text in KINDS.values()}
    assert not run.table("candidates/generate-ovens").shards()


def test_several_candidates_need_a_judge(make_choosing):
    run = make_choosing("unjudged", choose=None)
    assert run.start().wait(60) == 2
    assert "candidates is 3, and nothing chooses among them; set choose" in run.log()
