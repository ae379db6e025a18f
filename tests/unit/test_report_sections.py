"""The report's sampling, sections and page, without a browser."""

import json
from collections import Counter
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.config import Alarms
from factory.report.excerpts import excerpt
from factory.report.gather import DialogueCase, ReportSample
from factory.report.html import render, to_json
from factory.report.profile_counts import OTHERS, ProfileCounts, most_common
from factory.report.row_sample import (
    CASES_PER_CHARACTER,
    LowestRanks,
    RejectSample,
    RowLocation,
    SpeakerSample,
    StatusCounts,
    count_statuses,
)
from factory.report.sections import dialogue_cases, overview, population, profile_statistics, scores, training_curves
from factory.report.sections.checkpoint_scores import checkpoint_scores
from factory.run_output.folder import RunFolder, RunTable
from factory.storage.tables import Table
from factory.text.redaction import redact_urls
from tests.made_run import CAST_FIGURES
from tests.made_scores import scores_of


def test_sample_replies_are_shown_from_the_first_validation_to_the_last():
    def samples(step: int) -> dict:
        said = [{"dialogue_id": name, "message": f"ask {name}", "reply": f"{name} {step}"} for name in "ab"]
        return {"kind": "samples", "step": step, "samples": said[: 2 if step else 1]}

    rows = [{"kind": "step", "step": 3, "loss": 1.0}, *map(samples, range(0, 100, 10))]
    found = training_curves.sample_replies(rows)
    assert found["steps"] == [0, 30, 60, 90]
    assert found["rows"] == [
        ["a", "ask a", ["a 0", "a 30", "a 60", "a 90"]], ["b", "ask b", [None, "b 30", "b 60", "b 90"]],
    ]  # fmt: skip
    assert training_curves.sample_replies([samples(0)])["steps"] == [0]
    damaged = [{"kind": "samples"}, {"kind": "samples", "step": 1, "samples": 7}, {"kind": "samples", "step": 2,
               "samples": [None, {"dialogue_id": "a", "message": 1}]}]  # fmt: skip
    assert training_curves.sample_replies(damaged) == training_curves.sample_replies([]) == {}


def test_checkpoint_scores_are_over_steps_beside_the_validation_loss():
    document = scores_of(20)
    for candidate, name in zip(document["candidates"], ("step-120", "step-30"), strict=True):
        candidate["name"] = name
    notes: list[str] = []
    folder = SimpleNamespace(document=lambda name: document if "checkpoint-scores" in name else {}, note=notes.append)
    found = checkpoint_scores(folder, [[0, 3.0, 9], [120, 1.5, 9]])
    assert [row[:2] for row in found] == [[30, None], [120, 1.5]]
    assert [row[2:] for row in found] == [pytest.approx([mean, mean - 0.2, mean + 0.2]) for mean in (4.0, 2.6)]
    document["candidates"][0]["scores"]["blank"] = True
    document["candidates"][1]["name"] = "step-x"
    assert checkpoint_scores(folder, []) == [[120, None, None, None, None]]
    document["candidates"] = 7
    assert checkpoint_scores(folder, []) == []
    assert notes[0].startswith("checkpoint-scores/evaluation/scores.json: is not as this version writes it")


def sample_speakers(pairs: list[tuple[str, str]], batch: int, size: int = 10) -> SpeakerSample:
    found = SpeakerSample(size)
    for start in range(0, len(pairs), batch):
        names = ("character_id", "instruction_id")
        rows = pa.table(dict(zip(names, map(list, zip(*pairs[start : start + batch], strict=True)), strict=True)))
        found.add("c", "dialogues/generate-c", f"{start:05}", rows)
    return found


def test_sample_does_not_depend_on_the_files():
    pairs = [(f"c{n % 40}", f"i{n}") for n in range(400)]
    whole, split = sample_speakers(pairs, 400), sample_speakers(pairs[::-1], 7)
    assert whole.kept.keys() == split.kept.keys()
    assert len(whole.kept) == 10
    assert {name: set(cases) for name, cases in whole.kept.items()} == {
        name: set(cases) for name, cases in split.kept.items()
    }
    assert all(len(cases) == CASES_PER_CHARACTER for cases in whole.kept.values())


def test_both_strategies_of_a_case_are_sampled():
    found = SpeakerSample(5)
    rows = pa.table({"character_id": [f"c{n % 9}" for n in range(90)], "instruction_id": [f"i{n}" for n in range(90)]})
    for strategy in ("generate", "rewrite"):
        found.add("c", f"dialogues/{strategy}-c", "0", rows)
    assert all(len(places) == 2 for cases in found.kept.values() for places in cases.values())


def test_lowest_ranks_are_bounded_and_stable():
    lowest = LowestRanks(5)
    for number in range(1000):
        lowest.add(f"c{number}", RowLocation("profiles", "0", number))
    again = LowestRanks(5)
    for number in reversed(range(1000)):
        again.add(f"c{number}", RowLocation("profiles", "0", number))
    assert len(lowest.locations()) == 5
    assert lowest.locations() == again.locations()


def test_rare_reject_reasons_are_sampled():
    refused, reasons = RejectSample(), ["common"] * 5000 + ["rare"]
    refused.add("profiles", "0", pa.table({"status": ["rejected"] * 5001, "reason": reasons}))
    places = refused.locations()
    assert RowLocation("profiles", "0", 5000) in places
    assert 1 < len(places) <= 26


def test_rows_are_accepted_rejected_or_malformed():
    reasons = [None, None, "bad", None, None]
    status = ["ok", "ok", "rejected", None, "maybe"]
    rows = pa.table({"id": ["a", None, "c", "d", "e"], "status": status, "reason": reasons})
    counts = StatusCounts()
    assert count_statuses(rows, "id", counts).tolist() == [True, False, False, False, False]
    assert (counts.ok, dict(counts.rejected), counts.malformed, counts.rows) == (1, {"bad": 1}, 3, 5)


@given(st.text(st.characters(codec=None), max_size=60))
@settings(deadline=None)
def test_json_keeps_any_text_inside_its_element(text):
    written = to_json({"text": text})
    assert json.loads(written)["text"] == text
    assert not set("<>&\u2028\u2029") & set(written)
    written.encode()


def test_nan_and_infinity_are_null():
    assert to_json([float("nan"), float("inf"), 1.5]) == "[null,null,1.5]"


def test_page_policy_allows_only_its_own_code():
    page = render({"a": "</script><script>alert(1)</script>"}).decode()
    assert page.count("<script") == 2
    assert "default-src &#39;none&#39;" in page
    assert "unsafe" not in page.split("<style>")[0]
    assert page.count("sha256-") == 2
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_rare_values_are_counted_together():
    counter = Counter({"a": 5, "b": 3, "c": 1, OTHERS: 2})
    assert most_common(counter, 2) == Counter({"a": 5, "b": 3, OTHERS: 3})


def test_ages_are_banded_in_order():
    counts = ReportSample().profiles
    counts.values["age"].update({"34 years": 2, "about 39": 1, "101": 1, "ageless": 4, "6": 1})
    bars = profile_statistics.distributions(counts, str)[0]["bars"]
    assert bars == [["0-9", 1], ["30-39", 3], ["100-109", 1], ["no number", 4]]


def test_histogram_has_few_bars_and_all_counts():
    tokens = {n * 25: 1 for n in range(300)}
    bars = profile_statistics.token_bars(tokens)
    assert len(bars) <= profile_statistics.MAX_BARS + 1
    assert sum(number for _, number in bars) == 300


def test_rejected_dialogue_has_reason_and_raw_text():
    common = {"reason": None, "detail": None, "model": "m", "prompt": "p", "prompt_tokens": 1, "output_tokens": 2}
    common |= {"thoughts": ["hm", "so"]}
    messages = [{"role": role, "content": role} for role in ("system", "user", "assistant")]
    good = {"dialogue_id": "d1", "status": "ok", "messages": messages, **common}
    bad = {
        "dialogue_id": "d2",
        "status": "rejected",
        "messages": None,
        **common,
        "reason": "truncated",
        "detail": "half",
    }
    sample = ReportSample(cases=[DialogueCase("c", "lima", "i", {"generate": good, "rewrite": bad})])
    sample.references["lima", "i"] = {
        "messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "r"}]
    }
    sample.verdicts["d1"] = {"status": "rejected", "reason": "unfinished_sentence", "split": "train"}
    (case,) = dialogue_cases.case_rows(sample, lambda text: f"of {text}")
    assert (case["users"], case["reference"], case["language"], case["character"]) == (
        ["u"],
        ["r"],
        "of assistant",
        None,
    )
    assert case["sides"]["rewrite"]["raw"] == "half"
    assert case["sides"]["rewrite"]["thoughts"] == ["hm\n\nso"]
    assert case["sides"]["generate"]["thoughts"] == ["hm", "so"]
    assert case["sides"]["generate"]["curation_reason"] == "unfinished_sentence"
    assert case["sides"]["generate"]["statuses"] == ["accepted", dialogue_cases.LEFT_OUT]
    assert case["sides"]["rewrite"]["statuses"] == ["rejected"]


def test_dialogue_with_personal_data_is_hidden():
    common = {"reason": None, "detail": None, "model": "m", "prompt": "p", "prompt_tokens": 1, "output_tokens": 2}
    common |= {"thoughts": ["Their address is ada@lagosbread.com."]}
    messages = [{"role": role, "content": "ada@lagosbread.com"} for role in ("user", "assistant")]
    row = {"dialogue_id": "d1", "status": "ok", "messages": messages, **common}
    sample = ReportSample(
        cases=[DialogueCase("c", "lima", "i", {"generate": row})], references={("lima", "i"): {"messages": messages}}
    )
    sample.verdicts["d1"] = {"status": "rejected", "reason": "personal_data", "split": "train"}
    (case,) = dialogue_cases.case_rows(sample, lambda text: "")
    assert "ada@" not in json.dumps(case)
    assert case["sides"]["generate"]["replies"] == case["users"] == case["reference"] == [dialogue_cases.HIDDEN]


def test_excerpt_has_the_number_of_omitted_characters():
    assert excerpt("a" * 5000, str).endswith("[1,000 more characters are in the table]")


def test_curves_are_averaged_while_reading():
    def rows():
        for step in range(1, 20_001):
            yield {"kind": "step", "step": step, "loss": 2.0, "learning_rate": 1e-5, "tokens": 10}
        yield {"kind": "step", "step": 5, "loss": 9.0, "tokens": 10}
        yield {"kind": "validation", "step": 0, "loss": 3.0, "dialogues": 4}
        yield {"kind": "step", "step": "x"}

    curve, validations, other = training_curves.read_curves(rows())
    assert len(curve.points) <= 2 * training_curves.MAX_POINTS
    assert (curve.steps, curve.tokens, curve.points[-1][0], other) == (20_000, 200_000, 20_000, 1)
    assert {point[1] for point in curve.points} == {2.0}
    assert validations == [[0, 3.0, 4]]


def test_scores_have_the_papers_beside_them_where_they_compare():
    notes: list[str] = []
    document = scores_of(8)
    other = scores.score_data(document | {"unpublished_because": "the judge is another"}, notes.append)
    assert (other["paper"], other["not_comparable"]) == ([], "the judge is another")
    shown = scores.score_data(document | {"published": True}, notes.append)
    assert not notes
    assert [task["short"] for task in shown["tasks"]] == ["EA", "TC", "LH", "PC", "AJ", "PScore"]
    assert list(shown["candidates"][0]["by"]) == ["all", "judge-a", "judge-b"]
    assert len(shown["paper"]) == 18
    assert shown["paper"][0]["cells"][0] == [4.67, 0.5]


def test_scores_of_another_schema_are_a_problem():
    notes: list[str] = []
    assert scores.score_data({"tasks": ["a"]}, notes.append) == {}
    assert "scores.json: is not as this version writes it (" in notes[0]
    assert len(notes[0].splitlines()) == 1
    assert scores.score_data({}, notes.append) == {}


def test_best_and_worst_answers_do_not_overlap():
    few = scores.JudgedAnswers("tuned")
    for number in range(5):
        few.add(f"q{number}", {"a": number % 5 + 1, "b": number % 5 + 1})
    found = few.extremes()
    assert found["best"] == ["q4", "q3", "q2"]
    assert set(found["worst"]) == {"q0", "q1"}


def test_parallel_steps_count_once_in_the_time():
    def step(ended, seconds, **more):
        common = {
            "prompt_tokens": None,
            "cached_tokens": None,
            "thought_tokens": None,
            "output_tokens": None,
            "engine_seconds": None,
            "rows": 3,
        }
        return {**common, "ended": ended, "seconds": seconds, **more}

    rows = [
        step("2026-11-26T10:10:00+00:00", 600.0),
        step("2026-11-26T11:05:00+01:00", 240.0),  # within the first
        step("2026-11-26T10:12:00+00:00", 180.0),  # overlaps the first by two minutes
        step("2026-11-26T12:00:00+00:00", 60.0, output_tokens=7),
        step("some day", 900.0),
        step(None, None),
    ]
    assert overview.totals(rows)["seconds"] == 600 + 120 + 60
    assert overview.totals(rows)["output_tokens"] == 7
    assert overview.totals([])["seconds"] == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://me:secret@host/v1", "https://me:secret@with@secret@host/v1", "https://me:secret/secret@host/v1",
        "https://secret@host", "https://:secret@[::1]:80/", "https://me:1secret?secret#secret@host",
        "https://host/v1?api-version=2&api_key=secret&more=1", "https://host?X-Amz-Signature=secret/secret#part",
        "https://host/#Access_Token=secret", "see http://me:secret@host, s3://a:secret@b, and more",
    ],
)  # fmt: skip
def test_credentials_in_urls_are_redacted(url):
    redacted = redact_urls({"base_url": url, "more": [[url], 1]})
    assert "secret" not in str(redacted)
    assert "host" in redacted["base_url"] or "[::1]" in redacted["base_url"]
    assert redacted["more"][1] == 1


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000/v1", "https://host:443/a@b", "https://host/@somebody?page=2", "http://[::1]:8000/a@b",
        "write to a@b, or see https://host: c@d", "key=value", "who? token = a thing",
    ],
)  # fmt: skip
def test_urls_without_credentials_are_unchanged(text):
    assert redact_urls(text) == text


@pytest.mark.timeout(60)  # it took minutes when each piece was read again for all that follow
def test_redaction_is_fast_on_any_text():
    for piece in ("://a:b", "://", "?key", "&"):
        redact_urls(piece * 50_000)


def test_training_is_linked_to_its_own_answers_only():
    tables = ("checkpoints", "evaluation/base/answers", "evaluation/tuned/answers", "evaluation/tuned/judgments/a")
    rows = [{"table": table, "rows": 1, "ok": 1, "rejected": {}, "finished": True} for table in tables]
    nodes = [node for stage in overview.flow(rows, ["tuned"]) for node in stage["nodes"]]
    assert [node["tables"] for node in nodes if node["trained"]] == [["evaluation/tuned/answers"]]


def test_spellings_of_one_value_have_one_bar():
    written = {"Male": 3, "male, ": 2, "M": 1, "males.": 1, " female": 1, "F.": 1, "non-binary": 1, "?": 1}
    assert profile_statistics.join_values("gender", written) == {"male": 7, "female": 2, "non-binary": 1, "?": 1}
    assert profile_statistics.join_values("race", {"M": 1, "m,": 1}) == {"m": 2}


def test_rejects_are_counted_by_stratum():
    strata = [
        {"sex": "male", "mood": "calm"},
        {"sex": "male", "mood": "angry"},
        {"sex": "female", "mood": "calm"},
        None,
    ]
    counts = ProfileCounts()
    for status, numbers in (("ok", (3, 2, 1, 5)), ("rejected", (0, 1, 4, 5))):
        texts = [one and json.dumps(one) for one, times in zip(strata, numbers, strict=True) for _ in range(times)]
        reasons = pa.array([None if status == "ok" else "thin"] * len(texts), pa.string())
        counts.add_strata(pa.table({"strata": texts, "status": [status] * len(texts), "reason": reasons}))
    late = {"strata": [json.dumps({"sex": "male", "mood": "calm"})], "status": ["rejected"], "reason": ["not_needed"]}
    counts.add_strata(pa.table(late))
    assert profile_statistics.strata_rows(counts, str) == [
        {"name": "mood", "rows": [["angry", 2, 1], ["calm", 4, 4]]},
        {"name": "sex", "rows": [["female", 1, 4], ["male", 5, 1]]},
    ]
    assert profile_statistics.strata_rows(ProfileCounts(), str) == []


def run_with(population: object) -> RunFolder:
    """Return a run whose profiles have these figures in their manifest."""
    table = RunTable(Table("run", "profiles"), {"population": population}, ())
    return RunFolder("run", {"profiles": table})


def test_variety_is_shown_with_the_limits_of_the_report():
    folder = run_with(CAST_FIGURES)
    (one,) = population.population_data(folder, Alarms(birth_place=None), lambda text: text.replace("carla", "[name]"))
    assert one["alarms"] == ["10 of 55 (18.2%) have the full name '[name] conti' (alarms.full_name: 0.5%)"]
    assert one["shares"] == [
        ["Most frequent full name", "[name] conti", 10, 55, 0.005],
        ["Most frequent birth place", "turin", 12, 55, None],
        ["Profiles with a near-duplicate", None, 0, 55, 0.02],
    ]
    assert one["effective"]["limit"] == 0.5
    assert population.population_data(run_with(None), Alarms(), str) == []


@pytest.mark.parametrize(
    "damaged", [7, [], {"top": 3}, {"strata": {"sex": {"f": None, "m": [1]}}}, {"effective": {"rows": 900}}]
)
def test_damaged_figures_are_a_problem_of_the_page(damaged):
    folder = run_with(damaged)
    assert population.population_data(folder, Alarms(), str) == []
    assert folder.problems == ["profiles: the figures of its population cannot be read and are left out"]
