"""The report's sampling, sections and page, without a browser."""

import json
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.evaluation.scoring.paper_scores import published
from factory.report.excerpts import clipped
from factory.report.gather import Case, Sample
from factory.report.html import as_json, render
from factory.report.profile_counts import OTHERS, most
from factory.report.row_sample import CASES, Lowest, Place, Refused, Speakers, Tally, tally
from factory.report.sections import dialogues, overview, profiles, scores, training_curves
from factory.text.redaction import redact_urls
from tests.made_scores import scores_of


def speakers_of(pairs: list[tuple[str, str]], batch: int, size: int = 10) -> Speakers:
    found = Speakers(size)
    for start in range(0, len(pairs), batch):
        names = ("character_id", "instruction_id")
        rows = pa.table(dict(zip(names, map(list, zip(*pairs[start : start + batch], strict=True)), strict=True)))
        found.offer("c", "dialogues/generate-c", f"{start:05}", rows)
    return found


def test_the_same_characters_are_sampled_however_the_rows_are_cut_into_files():
    pairs = [(f"c{n % 40}", f"i{n}") for n in range(400)]
    one, other = speakers_of(pairs, 400), speakers_of(pairs[::-1], 7)
    assert one.kept.keys() == other.kept.keys()
    assert len(one.kept) == 10
    assert {name: set(cases) for name, cases in one.kept.items()} == {
        name: set(cases) for name, cases in other.kept.items()
    }
    assert all(len(cases) == CASES for cases in one.kept.values())


def test_both_strategies_of_a_sampled_case_are_kept_together():
    found = Speakers(5)
    rows = pa.table({"character_id": [f"c{n % 9}" for n in range(90)], "instruction_id": [f"i{n}" for n in range(90)]})
    for strategy in ("generate", "rewrite"):
        found.offer("c", f"dialogues/{strategy}-c", "0", rows)
    assert all(len(places) == 2 for cases in found.kept.values() for places in cases.values())


def test_a_reservoir_holds_no_more_than_its_size():
    lowest = Lowest(5)
    for number in range(1000):
        lowest.offer(f"c{number}", Place("profiles", "0", number))
    again = Lowest(5)
    for number in reversed(range(1000)):
        again.offer(f"c{number}", Place("profiles", "0", number))
    assert len(lowest.places()) == 5
    assert lowest.places() == again.places()


def test_a_rare_reason_is_sampled_beside_a_common_one():
    refused, reasons = Refused(), ["common"] * 5000 + ["rare"]
    refused.offer("profiles", "0", pa.table({"status": ["rejected"] * 5001, "reason": reasons}))
    places = refused.places()
    assert Place("profiles", "0", 5000) in places
    assert 1 < len(places) <= 26


def test_rows_are_accepted_rejected_or_malformed():
    reasons = [None, None, "bad", None, None]
    status = ["ok", "ok", "rejected", None, "maybe"]
    rows = pa.table({"id": ["a", None, "c", "d", "e"], "status": status, "reason": reasons})
    counts = Tally()
    assert tally(rows, "id", counts).tolist() == [True, False, False, False, False]
    assert (counts.ok, dict(counts.rejected), counts.malformed, counts.rows) == (1, {"bad": 1}, 3, 5)


@given(st.text(st.characters(codec=None), max_size=60))
@settings(deadline=None)
def test_any_text_comes_back_from_the_json_and_cannot_leave_its_element(text):
    written = as_json({"text": text})
    assert json.loads(written)["text"] == text
    assert not set("<>&\u2028\u2029") & set(written)
    written.encode()


def test_numbers_that_json_does_not_know_are_null():
    assert as_json([float("nan"), float("inf"), 1.5]) == "[null,null,1.5]"


def test_the_page_allows_its_own_style_and_script_alone():
    page = render({"a": "</script><script>alert(1)</script>"}).decode()
    assert page.count("<script") == 2
    assert "default-src &#39;none&#39;" in page
    assert "unsafe" not in page.split("<style>")[0]
    assert page.count("sha256-") == 2
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_rare_values_are_counted_together():
    counter = Counter({"a": 5, "b": 3, "c": 1, OTHERS: 2})
    assert most(counter, 2) == Counter({"a": 5, "b": 3, OTHERS: 3})


def test_ages_are_banded_in_order():
    counts = Sample().profiles
    counts.values["age"].update({"34 years": 2, "about 39": 1, "101": 1, "ageless": 4, "6": 1})
    bars = profiles.distributions(counts, str)[0]["bars"]
    assert bars == [["0-9", 1], ["30-39", 3], ["100-109", 1], ["no number", 4]]


def test_a_histogram_has_few_bars_and_loses_nothing():
    tokens = {n * 25: 1 for n in range(300)}
    bars = profiles.token_bars(tokens)
    assert len(bars) <= profiles.SHOWN + 1
    assert sum(number for _, number in bars) == 300


def test_a_rejected_dialogue_has_its_reason_and_raw_text_beside_the_other_strategy():
    told = {"reason": None, "detail": None, "model": "m", "prompt": "p", "prompt_tokens": 1, "output_tokens": 2}
    said = [{"role": role, "content": role} for role in ("system", "user", "assistant")]
    good = {"dialogue_id": "d1", "status": "ok", "messages": said, **told}
    bad = {"dialogue_id": "d2", "status": "rejected", "messages": None, **told, "reason": "truncated", "detail": "half"}
    sample = Sample(cases=[Case("c", "lima", "i", {"generate": good, "rewrite": bad})])
    sample.references["lima", "i"] = {
        "messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "r"}]
    }
    sample.verdicts["d1"] = {"status": "rejected", "reason": "unfinished_sentence", "split": "train"}
    (case,) = dialogues.shown_cases(sample, lambda text: f"of {text}")
    assert (case["users"], case["reference"], case["language"], case["character"]) == (
        ["u"],
        ["r"],
        "of assistant",
        None,
    )
    assert case["sides"]["rewrite"]["raw"] == "half"
    assert case["sides"]["generate"]["curation_reason"] == "unfinished_sentence"
    assert case["sides"]["generate"]["statuses"] == ["accepted", dialogues.LEFT_OUT]
    assert case["sides"]["rewrite"]["statuses"] == ["rejected"]


def test_a_dialogue_with_personal_data_is_not_shown():
    told = {"reason": None, "detail": None, "model": "m", "prompt": "p", "prompt_tokens": 1, "output_tokens": 2}
    said = [{"role": role, "content": "ada@lagosbread.com"} for role in ("user", "assistant")]
    row = {"dialogue_id": "d1", "status": "ok", "messages": said, **told}
    sample = Sample(cases=[Case("c", "lima", "i", {"generate": row})], references={("lima", "i"): {"messages": said}})
    sample.verdicts["d1"] = {"status": "rejected", "reason": "personal_data", "split": "train"}
    (case,) = dialogues.shown_cases(sample, lambda text: "")
    assert "ada@" not in json.dumps(case)
    assert case["sides"]["generate"]["replies"] == case["users"] == case["reference"] == [dialogues.HIDDEN]


def test_a_long_text_says_how_much_of_it_is_left_out():
    assert clipped("a" * 5000, str).endswith("[1,000 more characters are in the table]")


def test_curves_are_thinned_while_they_come_in():
    def rows():
        for step in range(1, 20_001):
            yield {"kind": "step", "step": step, "loss": 2.0, "learning_rate": 1e-5, "tokens": 10}
        yield {"kind": "step", "step": 5, "loss": 9.0, "tokens": 10}
        yield {"kind": "validation", "step": 0, "loss": 3.0, "dialogues": 4}
        yield {"kind": "step", "step": "x"}

    curve, validations, other = training_curves.read_curves(rows())
    assert len(curve.points) <= 2 * training_curves.MOST_POINTS
    assert (curve.steps, curve.tokens, curve.points[-1][0], other) == (20_000, 200_000, 20_000, 1)
    assert {point[1] for point in curve.points} == {2.0}
    assert validations == [[0, 3.0, 4]]


def test_scores_stand_beside_the_papers():
    notes: list[str] = []
    shown = scores.shown_scores(scores_of(8), published, notes.append)
    assert not notes
    assert [task["short"] for task in shown["tasks"]] == ["EA", "TC", "LH", "PC", "AJ", "PScore"]
    assert list(shown["candidates"][0]["by"]) == ["all", "judge-a", "judge-b"]
    assert len(shown["paper"]) == 18
    assert shown["paper"][0]["cells"][0] == [4.67, 0.5]


def test_scores_of_another_shape_are_noted():
    notes: list[str] = []
    assert scores.shown_scores({"tasks": ["a"]}, published, notes.append) == {}
    assert "scores.json" in notes[0]
    assert scores.shown_scores({}, published, notes.append) == {}


def test_best_and_worst_answers_do_not_meet():
    few = scores.Answers("tuned")
    for number in range(5):
        few.add(f"q{number}", {"a": number % 5 + 1, "b": number % 5 + 1})
    found = few.extremes()
    assert found["best"] == ["q4", "q3", "q2"]
    assert set(found["worst"]) == {"q0", "q1"}


def test_time_is_that_in_which_any_step_was_at_work():
    def step(ended, seconds, **more):
        told = {"prompt_tokens": None, "cached_tokens": None, "output_tokens": None, "engine_seconds": None, "rows": 3}
        return {**told, "ended": ended, "seconds": seconds, **more}

    rows = [
        step("2026-11-26T10:10:00+00:00", 600.0),
        step("2026-11-26T11:05:00+01:00", 240.0),  # within the first
        step("2026-11-26T10:12:00+00:00", 180.0),  # a minute of it beside the first
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
        "https://host/#Access_Token=secret", "see http://me:secret@host, s3://a:secret@b, and say so",
    ],
)  # fmt: skip
def test_credentials_in_urls_are_not_shown(url):
    told = redact_urls({"base_url": url, "more": [[url], 1]})
    assert "secret" not in str(told)
    assert "host" in told["base_url"] or "[::1]" in told["base_url"]
    assert told["more"][1] == 1


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8000/v1", "https://host:443/a@b", "https://host/@somebody?page=2", "http://[::1]:8000/a@b",
        "write to a@b, or see https://host: c@d", "key=value", "who? token = a thing",
    ],
)  # fmt: skip
def test_addresses_without_credentials_stay_as_they_are(text):
    assert redact_urls(text) == text


@pytest.mark.timeout(60)  # it was minutes where one piece was read again for each that follows
def test_no_text_makes_the_search_for_credentials_slow():
    for piece in ("://a:b", "://", "?key", "&"):
        redact_urls(piece * 50_000)


def test_a_training_leads_to_its_own_models_answers_alone():
    tables = ("checkpoints", "evaluation/base/answers", "evaluation/tuned/answers", "evaluation/tuned/judgments/a")
    rows = [{"table": table, "rows": 1, "ok": 1, "rejected": {}, "finished": True} for table in tables]
    nodes = [node for stage in overview.flow(rows, ["tuned"]) for node in stage["nodes"]]
    assert [node["tables"] for node in nodes if node["trained"]] == [["evaluation/tuned/answers"]]


def test_one_value_written_in_several_ways_has_one_bar():
    written = {"Male": 3, "male, ": 2, "M": 1, "males.": 1, " female": 1, "F.": 1, "non-binary": 1, "?": 1}
    assert profiles.joined_values("gender", written) == {"male": 7, "female": 2, "non-binary": 1, "?": 1}
    assert profiles.joined_values("race", {"M": 1, "m,": 1}) == {"m": 2}
