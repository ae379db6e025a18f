"""A judge as a rule of curation: what it rejects, its check, and that no dialogue is judged twice."""

import json
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from factory.evaluation.dialogue_judge.generic_pairs import generic_pairs
from factory.storage import file_io
from tests.integration.conftest import make_runs
from tests.integration.endpoint_client import KEY_ENV
from tests.integration.openai_server import KEY, OpenAIServer
from tests.integration.runs import GOOD_PROFILE, Run
from tests.integration.test_curate import speech

CORPORA = {"bread": 30, "ferry": 150}
STRATEGIES = ("generate", "rewrite")
SPLITS = ("train", "validation")
SOURCES = [f"{strategy}-{corpus}" for strategy in STRATEGIES for corpus in CORPORA]
GOOD = {"reasoning": "She says 'love'.\nTwice.", "has_room": True, "voice": 4, "facts": 4, "answers": 4}
SPECIAL = {
    0: (GOOD | {"voice": 2}, "judged_out_of_voice"),
    1: (GOOD | {"facts": 2}, "judged_facts_wrong"),
    2: (GOOD | {"answers": 1}, "judged_no_answer"),
    3: (GOOD | {"voice": 1, "facts": 1, "answers": 1}, "judged_out_of_voice"),
    4: ("This dialogue is worth a four.", "judge_failed"),
    5: (GOOD | {"voice": 1, "has_room": False}, None),
    6: (GOOD | {"voice": "3", "facts": 3.0, "note": "extra"}, None),
}
"""The judge's replies to some dialogues of each source, and the reasons by which they are rejected."""
EXPECTED = Counter(reason for _, reason in SPECIAL.values() if reason)


def mark(strategy: str, corpus: str, number: int) -> str:
    return f"Tray {strategy} {corpus} {number}, love."


def settings(folder: Path) -> dict:
    """Return settings with two corpora and two strategies, whose replies are all different."""
    replies, corpora = [], []
    for corpus, instructions in CORPORA.items():
        source = folder / f"{corpus}.jsonl"
        with source.open("w") as file:
            for number in range(instructions):
                user = f"What of the {corpus} at {number} minutes past five?"
                turns = [("user", user), ("assistant", speech(f"reference {corpus} {number}"))]
                file.write(json.dumps({"messages": [{"role": r, "content": c} for r, c in turns]}) + "\n")
                texts = {s: f"{speech(f'{s} {corpus} {number}')} {mark(s, corpus, number)}" for s in STRATEGIES}
                rewritten = json.dumps({"replies": [texts["rewrite"]]})
                replies.append({"contains": f"[user]\n{user}\n", "reply": rewritten})
                replies.append({"contains": user, "reply": texts["generate"]})
        corpora.append({"corpus": corpus, "source": str(source)})
    return {
        "engine": {"kind": "scripted", "replies": replies, "default": json.dumps(GOOD_PROFILE)},
        "instructions": corpora,
        "dialogues": {"strategies": STRATEGIES, "characters_per_instruction": 1},
        "curation": {"validation_fraction": 0.25},
    }


def scripted_judge(wrong: int = 0, **rule: object) -> dict:
    """Return a judge that is right on all but so many of the generic pairs."""
    replies = [
        {"contains": mark(*source.split("-"), number), "reply": reply}
        for source in SOURCES
        for number, (reply, _) in SPECIAL.items()
    ]
    for number, pair in enumerate(generic_pairs()):
        scores = (2, 4) if number < wrong else (4, 2)
        for text, voice in zip((pair.better, pair.worse), scores, strict=True):
            replies.append({"contains": text, "reply": GOOD | {"voice": voice}})
    return {"name": "critic", "kind": "scripted", "replies": replies, "default": json.dumps(GOOD), **rule}


@pytest.fixture(scope="module")
def made(tmp_path_factory, shared_ray):
    """A run with dialogues that are not curated."""
    folder = tmp_path_factory.mktemp("made")
    for make in make_runs(folder, shared_ray):
        run = make("dialogues", 20, **settings(folder))
        run.finish()
        yield run


@pytest.fixture(scope="module")
def judged(made, tmp_path_factory):
    """A run that was curated with a judge; no test changes it."""
    run = copied(made, tmp_path_factory.mktemp("judged"), scripted_judge())
    run.finish(job="curate")
    return run


def copied(run: Run, folder: Path, judge: dict | None) -> Run:
    """Return a run with a copy of the tables, and a judge."""
    shutil.copytree(run.output, folder / "run")
    curation = run.config["curation"] | {"judge": judge}
    return Run(folder, run.config | {"output": str(folder / "run"), "curation": curation}, environment=run.environment)


def curated(run: Run) -> dict[str, dict]:
    found = [row for split in SPLITS for row in run.rows(f"curated/{split}")]
    assert len({row["dialogue_id"] for row in found}) == len(found), "a dialogue appears twice"
    return {row["dialogue_id"]: row for row in found}


def judgments(run: Run) -> dict[str, dict]:
    found = [row for source in SOURCES for row in run.rows(f"judged/{source}")]
    assert len({row["dialogue_id"] for row in found}) == len(found), "a dialogue is judged twice"
    return {row["dialogue_id"]: row for row in found}


def test_dialogues_are_rejected_by_the_first_score_that_is_too_low(made, judged):
    rows, before = curated(judged), {row["dialogue_id"]: row for s in SOURCES for row in made.rows(f"dialogues/{s}")}
    assert rows.keys() == before.keys()
    for name, row in rows.items():
        reply = before[name]["messages"][-1]["content"]
        found = [reason for n, (_, reason) in SPECIAL.items() if mark(row["strategy"], row["corpus"], n) in reply]
        assert row["reason"] == (found[0] if found else None), reply
        assert row["messages"] == (before[name]["messages"] if row["reason"] is None else None)
        assert row["reason"] is None or row["detail"].endswith(reply)
    by_source = Counter((f"{row['strategy']}-{row['corpus']}", row["reason"]) for row in rows.values())
    for source in SOURCES:
        assert {reason: by_source[source, reason] for reason in EXPECTED} == EXPECTED
    details = {row["reason"]: row["detail"].split("\n\n")[0] for row in rows.values() if row["reason"]}
    assert details["judged_no_answer"] == "voice 4, facts 4, answers 1: She says 'love'. Twice."
    assert details["judge_failed"] == "judge_failed: This dialogue is worth a four."


def test_every_verdict_is_in_a_table_of_its_own(judged):
    rows = judgments(judged)
    assert rows.keys() == curated(judged).keys()
    for source, (strategy, corpus) in ((source, source.split("-")) for source in SOURCES):
        manifest = judged.table(f"judged/{source}").manifest()
        assert manifest["rows_in"] == CORPORA[corpus]
        assert (manifest["ok"], manifest["rejected"]) == (CORPORA[corpus] - 1, {"judge_failed": 1})
        assert {row["strategy"] for row in judged.rows(f"judged/{source}")} == {strategy}
    assert {row["attempts"] for row in rows.values() if row["status"] == "ok"} == {1}
    assert [row["voice_score"] for row in rows.values() if row["has_room"] is False] == [1] * len(SOURCES)


def test_manifests_count_scores(judged):
    recorded = [judged.table(f"curated/{split}").manifest()["judge"] for split in SPLITS]
    for one in recorded:
        assert (one["name"], one["thresholds"]) == ("critic", {"voice": 3, "facts": 3, "answers": 3})
        assert (one["accuracy"]["value"], one["accuracy"]["of"]) == (1, len(generic_pairs()))
    assert len(generic_pairs()) >= 40
    total = len(STRATEGIES) * sum(CORPORA.values())
    assert sum(one["judged"] for one in recorded) == total
    assert sum(one["failed"] for one in recorded) == sum(one["without_room"] for one in recorded) == len(SOURCES)
    voices = sum((Counter(one["scores"]["voice"]) for one in recorded), Counter())
    sources = len(SOURCES)
    assert +voices == {"1": 2 * sources, "2": sources, "3": sources, "4": total - 5 * sources}


def test_a_judge_below_the_bar_judges_nothing(made, tmp_path):
    pairs = len(generic_pairs())
    run = copied(made, tmp_path, scripted_judge(wrong=pairs // 4))
    assert run.start(job="curate").wait(200) == 2, run.log()
    line = run.log().splitlines()[-1]
    right = pairs - pairs // 4
    assert line.startswith(f"error: curation.judge.min_accuracy is 0.8, but 'critic' is right on {right / pairs:.0%} [")
    assert line.endswith(
        f"of the {pairs} built-in pairs of a reply in character and a generic one; take another judge, or lower it"
    )
    assert "Traceback" not in run.log()
    assert not Path(run.output, "judged").exists()

    log = run.finish("curation.judge.min_accuracy=0.7", job="curate")
    assert "judge-check/critic/generic: already finished" in log
    assert Counter(row["reason"] for row in curated(run).values() if row["reason"]) == Counter(
        {reason: len(SOURCES) * number for reason, number in EXPECTED.items()}
    )


def test_other_thresholds_ask_nothing_again(judged, tmp_path):
    run = copied(judged, tmp_path, scripted_judge(voice=4, answers=1, unreadable="keep"))
    before = judgments(run)
    log = run.finish("curation.validation_fraction=0.5", job="curate")
    for table in [f"judged/{source}" for source in SOURCES] + ["judge-check/critic/generic"]:
        assert f"{table}: already finished" in log
    assert judgments(run) == before
    reasons = Counter(row["reason"] for row in curated(run).values())
    n = len(SOURCES)
    assert (reasons["judged_out_of_voice"], reasons["judged_facts_wrong"]) == (3 * n, n)
    assert (reasons["judged_no_answer"], reasons["judge_failed"]) == (0, 0)


def test_only_named_strategies_and_a_sample_are_judged(made, judged, tmp_path):
    run = copied(made, tmp_path, scripted_judge(on=["rewrite"], sample=0.5, min_accuracy=0))
    run.finish(job="curate")
    assert sorted(path.name for path in Path(run.output, "judged").iterdir()) == ["rewrite-bread", "rewrite-ferry"]
    assert not Path(run.output, "judge-check").exists()
    rows = run.rows("judged/rewrite-ferry")
    assert 50 < len(rows) < 100
    names = {row["dialogue_id"] for row in rows + run.rows("judged/rewrite-bread")}
    everyone = curated(judged)
    for name, row in curated(run).items():
        assert row["reason"] == (everyone[name]["reason"] if name in names else None)


def test_without_a_judge_all_that_it_rejects_is_kept_and_nothing_else_changes(made, judged, tmp_path):
    run = copied(made, tmp_path, None)
    run.finish(job="curate")
    with_judge, without = curated(judged), curated(run)
    assert with_judge.keys() == without.keys()
    for name, row in without.items():
        if with_judge[name]["reason"] in EXPECTED:
            assert (row["status"], row["split"]) == ("ok", with_judge[name]["split"])
        else:
            assert row == with_judge[name]
    assert not Path(run.output, "judged").exists()
    assert not Path(run.output, "judge-check").exists()
    for split in SPLITS:
        table, other = run.table(f"curated/{split}"), judged.table(f"curated/{split}")
        assert other.manifest().keys() - table.manifest().keys() == {"judge"}
        assert other.inputs().keys() - table.inputs().keys() == {"judge"}


@pytest.mark.slow  # four runs
def test_nothing_is_asked_twice_after_a_kill_and_a_stop(made, server: OpenAIServer, tmp_path):
    judge = {"name": "remote", "model": "small-chat", "base_url": server.base_url, "api_key_env": KEY_ENV}
    run = copied(made, tmp_path, judge | {"min_accuracy": 0.5, "max_concurrency": 4}).alone()
    run.environment[KEY_ENV] = KEY
    server.rule(delay_s=0.1)
    run.kill_when(lambda: shards(run), job="curate")
    server.wait_until_idle()
    written, total = set(judgments(run)), len(STRATEGIES) * sum(CORPORA.values())
    assert 0 < len(written) < total
    server.rule(delay_s=0.1)
    process = run.start_until(lambda: len(server.requests("<dialogue>")) > 20, job="curate")
    process.send_signal(signal.SIGTERM)
    process.wait(120)
    stopped = server.requests("<dialogue>")
    server.rule()
    run.finish(job="curate")

    asked = [entry["messages"][-1]["content"] for entry in stopped + server.requests("<dialogue>")]
    assert max(Counter(asked).values()) == 1
    assert len(asked) == total - len(written), "nor are the pairs judged again"
    texts = {row["dialogue_id"]: row["messages"][-1]["content"] for s in SOURCES for row in made.rows(f"dialogues/{s}")}
    assert not [name for name in written if any(texts[name] in request for request in asked)]
    assert judgments(run).keys() == curated(run).keys() == texts.keys()
    assert {row["reason"] for row in curated(run).values()} == {None}


def shards(run: Run) -> list[str]:
    """Return the verdict files of a run."""
    return [name for s in SOURCES for name in file_io.list_names(f"{run.output}/judged/{s}", ".parquet")]


def test_dry_run_tells_calls_tokens_and_cost(made, tmp_path):
    judge = {"name": "remote", "model": "gpt-4o", "base_url": "https://api.openai.com/v1", "api_key_env": "NO_SUCH_KEY"}
    run = copied(made, tmp_path, judge)
    before = sorted(Path(run.output).rglob("*"))
    output = " ".join(run.finish("--dry-run", job="curate").split())
    calls = len(STRATEGIES) * sum(CORPORA.values()) + 2 * len(generic_pairs())
    assert f"Judge: remote (gpt-4o, openai), at most {calls:,} calls, {2 * len(generic_pairs())} of them" in output
    assert "keeps voice 3, facts 3, answers 3 and above" in output
    assert "Cost of endpoints: about " in output
    assert "a run needs $NO_SUCH_KEY" in output
    assert sorted(Path(run.output).rglob("*")) == before
