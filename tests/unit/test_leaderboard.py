"""The scores on the Markdown page and in the terminal."""

import io

import numpy as np
import pytest
from factory.evaluation.scoring.statistics import compare_all, persona_scores, summarize
from rich.console import Console

from factory.evaluation.scoring.leaderboard import leaderboard
from factory.evaluation.scoring.paper_scores import GROUPS, JUDGE, published
from factory.evaluation.scoring.score_summary import score_grid, score_notes
from factory.evaluation.scoring.score_text import FOOTNOTE, MARK
from factory.evaluation.scoring.scores_schema import (
    CandidateComparison,
    CandidateScores,
    GeneralAbility,
    GeneralChange,
    JudgeScores,
    LengthCorrelation,
    ScoredBenchmark,
    Scores,
    ScoringJudge,
)
from factory.personagym import TASKS

NAN = float("nan")


def scored(cells: np.ndarray, **others) -> JudgeScores:
    """Return scores by task scores (personas, tasks)."""
    shown = {
        "judged": 100,
        "failed": 0,
        "failure_share": 0.0,
        "unscored_share": 0.0,
        "marked": False,
        "tasks": {task: summarize(cells[:, place], seed=1) for place, task in enumerate(TASKS)},
        "pscore": summarize(persona_scores(cells), seed=1),
    }
    return JudgeScores(**(shown | others))


CELLS = {
    "base": np.array([[4, 5, 3, 4, 4], [5, 5, 4, 4, 5], [4, 5, 3, 5, 4]], float),
    "tuned": np.array([[5, 5, 4, 4, 5], [5, 5, 5, 5, 5], [4, 5, NAN, 5, 4]], float),
}


def candidate(name: str, label: str = "", **others) -> CandidateScores:
    one = scored(CELLS[name])
    shown = {
        "name": label or name,
        "model": "embedded",
        "revision": "0123abcd",
        "condition": "persona",
        "questions": 100,
        "answered": 100,
        "answers_rejected": {},
        "answers_truncated": 0,
        "answer_words_mean": 87.25,
        "scores": one,
        "by_judge": {"judge-a": one, "judge-b": one},
    }
    return CandidateScores(**(shown | others))


def benchmark(**others) -> ScoredBenchmark:
    values = {"folder": "../PersonaGym", "name": "PersonaGym", "digest": "fe"}
    return ScoredBenchmark(**values | {"personas": 3, "questions": 1000, "examples": 1000} | others)


def document(**others) -> Scores:
    results = compare_all(CELLS["tuned"], CELLS["base"], list(TASKS), seed=1)
    shown = {
        "protocol": "light",
        "judge_protocol": "structured",
        "benchmark": benchmark(),
        "tasks": list(TASKS),
        "candidates": [candidate("base"), candidate("tuned")],
        "judges": [
            ScoringJudge(name="judge-a", model="Qwen/Qwen3-8B", kind="served", family="qwen"),
            ScoringJudge(name="judge-b", model="odd", kind="openai", family=None),
        ],
        "agreement": {**dict.fromkeys(TASKS, 0.5), "Toxicity": None, "all": 0.4321},
        "comparisons": [CandidateComparison(a="tuned", b="base", judge="all", results=results)],
        "warnings": ["judge 'judge-a' is too close"],
        "published": True,
    }
    return Scores(**(shown | others))


def general(followed: float | None, perplexity: float | None) -> GeneralAbility:
    low, high = (None, None) if followed is None else (followed - 0.1, followed + 0.1)
    of, items = 48 * (followed is not None), 40 * (perplexity is not None)
    return GeneralAbility(followed=followed, low=low, high=high, of=of, perplexity=perplexity, items=items)


def changed(**others) -> GeneralChange:
    shown = {
        "a": "tuned",
        "b": "base",
        "followed": -2 / 48,
        "gained": 3,
        "lost": 5,
        "p": 0.7266,
        "of": 48,
        "perplexity_a": 12.42,
        "perplexity_b": 12.13,
        "log_loss": 0.0236,
        "log_loss_low": -0.0104,
        "log_loss_high": 0.0571,
        "items": 40,
        "significant_loss": False,
    }
    return GeneralChange(**(shown | others))


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[one.strip() for one in line.strip("|").split(" | ")] for line in lines]


def foreign(**others) -> Scores:
    return document(benchmark=benchmark(name="builtin-v1"), published=False, **others)


def drawn(shown: Scores, width: int = 140) -> str:
    console = Console(file=io.StringIO(), width=width, markup=True)
    console.print(score_grid(shown))
    return console.file.getvalue()


def test_cell_has_mean_std_and_interval():
    head, _, base, *_ = rows(leaderboard(document()), "By the mean of the judges")
    assert head == ["model", "role", "EA", "TC", "LH", "PC", "AJ", "PScore-L", "personas"]
    assert base[:4] == ["base", "persona", "4.33 (.47) [4.00, 5.00]", "5.00 (.00) [5.00, 5.00]"]
    assert base[7:] == ["4.27 (.25) [4.00, 4.60]", "3"]


def test_introduction_names_benchmark_and_judges():
    page = leaderboard(document())
    assert page.startswith("# Scores\n\nBenchmark PersonaGym (digest fe), protocol light: 3 personas, 1,000 ")
    assert "Candidates get the persona. Judges: judge-a (Qwen/Qwen3-8B, served, family qwen); judge-b (" in page
    assert "free-text" not in page
    assert "Judges (asked as in the paper):" in leaderboard(document(judge_protocol="opencharacter"))


def test_missing_score_is_a_dash():
    cells = np.array([[4, 5, NAN, 4, 4]], float)
    page = leaderboard(document(candidates=[candidate("base", scores=scored(cells))]))
    dash, one = "-", "4.00 (.00)"
    assert rows(page, "By the mean of the judges")[2][2:] == [one, "5.00 (.00)", dash, one, one, dash, "0"]


@pytest.mark.parametrize("protocol", ["light", "full"])
def test_paper_rows_are_below_in_groups(protocol):
    page = leaderboard(document(protocol=protocol))
    table = rows(page, "By the mean of the judges")
    assert table[0][-2] == ("PScore-L" if protocol == "light" else "PScore")
    assert len({len(row) for row in table[:2]}) == 1
    shown = [row for row in table if row[0].endswith("(paper)")]
    assert [row[0].removesuffix(" (paper)") for row in shown] == [row.model for row in published(protocol)]
    places = [next(n for n, row in enumerate(table) if title in row[0]) for title in GROUPS.values()]
    assert places == sorted(places)
    assert places[0] == 4  # after head, rule and two candidates
    assert JUDGE in page
    assert "are not comparable with them" in page


def test_paper_row_is_printed_as_in_the_paper():
    table = rows(leaderboard(document()), "By the mean of the judges")
    row = next(row for row in table if row[0] == "LLaMA-3-8B-Instruct (paper)")
    assert " ".join(row[2:]).rstrip() == "4.80 (.40) 4.76 (.82) 4.05 (.71) 4.64 (.52) 4.85 (.38) 4.62 (.25)"


def test_other_benchmarks_have_no_paper_rows():
    page = leaderboard(foreign())
    assert "(paper)" not in page
    assert "LLaMA-3" not in page
    assert "The paper's rows are left out: " in page


def test_score_with_many_failures_is_marked():
    bad = scored(CELLS["base"], judged=80, failed=20, failure_share=0.2, unscored_share=0.2, marked=True)
    shown = document(
        candidates=[candidate("base", scores=bad, by_judge={"judge-a": bad, "judge-b": scored(CELLS["base"])})]
    )
    page = leaderboard(shown)
    assert rows(page, "By judge-a")[2][1] == f"4.33 (.47){MARK} [4.00, 5.00]"
    assert "20 (20.0%)" in rows(page, "By judge-a")[2]
    assert page.count(FOOTNOTE) == 2  # the mean's table and judge-a's
    assert MARK not in page.split("## By judge-b")[1].split("\n## ")[0]
    assert drawn(shown).count(MARK) == 12
    assert f"base by judge-a: 20 judgments (20.0%) failed; {FOOTNOTE}" in score_notes(shown)
    assert MARK not in leaderboard(document()) + "".join(score_notes(document()))


def test_mark_for_rejected_answers_is_explained():
    bad = scored(CELLS["base"], judged=60, unscored_share=0.4, marked=True)
    shown = document(candidates=[candidate("base", by_judge=dict.fromkeys(("judge-a", "judge-b"), bad))])
    assert f"base by judge-a: 0 judgments (0.0%) failed; {FOOTNOTE}" in score_notes(shown)
    assert "answers that were rejected before" in FOOTNOTE


def test_pscore_has_its_number_of_personas():
    page = leaderboard(document())
    tables = [rows(page, heading) for heading in ("By the mean of the judges", "By judge-a")]
    for head, _, base, tuned, *_ in tables:
        assert (base[head.index("personas")], tuned[head.index("personas")]) == ("3", "2")
    assert "PScore-L is over the personas with a score in all tasks; their number is beside it." in page
    assert len({len(line) for line in tables[0]}) == 1
    short = [note for note in score_notes(document()) if "personas have a score" in note]
    assert short == [
        f"tuned by {judge}: only 2 of 3 personas have a score in all tasks, and so a PScore"
        for judge in ("judge-a", "judge-b")
    ]


@pytest.mark.parametrize(("examples", "reported"), [(1000, False), (950, False), (949, True), (0, True)])
def test_many_missing_examples_are_reported(examples, reported):
    scores = document(benchmark=benchmark(examples=examples))
    has = f"Only {examples:,} of 1,000 questions have example replies for each score"
    words = f"{has}; judges got none for the others."
    assert (words in leaderboard(scores)) == (words in score_notes(scores)) == reported


def test_each_judge_has_a_table():
    expected = summarize([4.1, 4.2, 4.3], seed=1)
    one = scored(CELLS["base"], expected_pscore=expected, length_correlation=LengthCorrelation(rho=0.31, p=0.0002))
    page = leaderboard(
        document(candidates=[candidate("base", by_judge={"judge-a": one, "judge-b": scored(CELLS["base"])})])
    )
    head, _, row = rows(page, "By judge-a")
    shown = dict(zip(head, row, strict=True))
    assert shown["expected PScore-L"] == "4.20 (.08) [4.10, 4.30]"
    assert shown["score and length, rho"] == "0.31 (p <0.001)"
    assert rows(page, "By judge-b")[2][-4:] == ["-", "100", "0 (0.0%)", "-"]


def test_comparison_has_effect_and_both_p_values():
    table = rows(leaderboard(document()), "tuned against base")
    assert table[0] == ["judge", "score", "difference", "d_z", "p", "Holm p", "personas", "significant"]
    assert [row[1] for row in table[2:]] == ["EA", "TC", "LH", "PC", "AJ", "PScore-L"]
    assert table[2] == ["mean", "EA", "+0.33 [+0.00, +1.00]", "+0.58", "1.000", "1.000", "3", "no"]
    assert table[7][5:] == ["-", "2", "no"]


def test_significance_in_words():
    generator = np.random.default_rng(1)
    base = generator.normal(4, 0.3, (60, 5))
    tuned = base + generator.normal([0, 0, 0.3, 0, 0], 0.1, (60, 5))
    results = compare_all(tuned, base, list(TASKS), seed=1)
    comparisons = [
        CandidateComparison(a="tuned", b="base", judge=judge, results=results) for judge in ("all", "judge-a")
    ]
    shown = [note for note in score_notes(document(comparisons=comparisons)) if " against " in note]
    assert [note.split(": ")[0] for note in shown] == [
        "tuned against base, by the mean of the judges",
        "tuned against base, by judge-a",
    ]
    assert ": PScore-L +0.06 [" in shown[0]
    assert "], significant (p <0.001, d_z +" in shown[0]
    assert shown[0].partition("; significant tasks: ")[2].startswith("LH +0.3")
    calm = [note for note in score_notes(document()) if " against " in note]
    assert "not significant (p " in calm[0]
    assert calm[0].endswith("significant tasks: none")


def test_general_ability_table_and_changes():
    base, tuned = general(0.75, 12.13), general(34 / 48, 12.42)
    candidates = [candidate("base", general=base), candidate("tuned", general=tuned)]
    shown = document(candidates=candidates, general_changes=[changed()])
    table = rows(leaderboard(shown), "General ability")
    assert table[0] == ["model", "followed", "instructions", "perplexity", "replies"]
    assert table[2:] == [
        ["base", "75.0% [65.0%, 85.0%]", "48", "12.13", "40"],
        ["tuned", "70.8% [60.8%, 80.8%]", "48", "12.42", "40"],
    ]
    words = (
        "tuned against base: follows 4.2 points fewer (p 0.727), perplexity 12.13 to 12.42 "
        "(+0.024 nats per token [-0.010, +0.057]), no significant loss"
    )
    assert f"- {words}\n" in leaderboard(shown).replace("\\", "")
    assert f"General ability, {words}" in score_notes(shown)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"followed": 0.125}, "follows 12.5 points more (p 0.727), perplexity "),
        ({"followed": 0.0, "p": 1.0}, "follows as many (p 1.000), perplexity "),
        ({"significant_loss": True}, "]), a significant loss"),
        ({"log_loss": None}, "perplexity 12.13 to 12.42 (not comparable: the tokenizers differ), no "),
        ({"log_loss_low": None}, "(+0.024 nats per token), no "),
        ({"perplexity_a": None, "perplexity_b": None, "log_loss": None}, "fewer (p 0.727), no significant loss"),
        ({"followed": None, "p": None}, "tuned against base: perplexity 12.13"),
        ({"followed": None, "perplexity_a": None, "log_loss": None}, "tuned against base: nothing to compare"),
    ],
)
def test_general_change_in_words(others, words):
    assert words in score_notes(document(general_changes=[changed(**others)]))[-2]


def test_missing_general_ability_is_left_out():
    assert "General ability" not in leaderboard(document()) + "".join(score_notes(document()))
    page = leaderboard(document(candidates=[candidate("base", general=general(None, None))]))
    assert rows(page, "General ability")[2] == ["base", "-", "0", "-", "0"]


def test_agreement_by_task_and_over_all():
    line = "Agreement of the judges, Krippendorff's ordinal alpha (1 perfect, 0 chance): EA 0.50, TC -, LH 0.50, "
    assert line in leaderboard(document())
    assert any(note.startswith(line) and note.endswith("all 0.43.") for note in score_notes(document()))


def test_one_judge_has_no_mean_or_agreement():
    one = scored(CELLS["base"])
    shown = document(judges=document().judges[:1], candidates=[candidate("base", by_judge={"judge-a": one})])
    assert "## By the judge\n" in leaderboard(shown)
    assert "There is only one judge" in leaderboard(shown)
    assert "mean" not in drawn(shown)


def test_answers_table_has_rejects_by_reason():
    lost = {"answered": 97, "answers_rejected": {"engine_error": 2, "too_long": 1}, "answers_truncated": 5}
    shown = document(candidates=[candidate("base", **lost)])
    head, _, row = rows(leaderboard(shown), "Answers")
    cells = dict(zip(head, row, strict=True))
    assert (cells["answered"], cells["without answer"]) == ("97", "`engine_error` 2, `too_long` 1")
    assert (cells["truncated"], cells["words"]) == ("5", "87.2")
    assert "base: 97 of 100 questions have an answer; engine_error 2, too_long 1" in score_notes(shown)


def test_warnings_on_page_and_in_score_notes():
    assert "## Warnings\n\n- judge 'judge-a' is too close\n" in leaderboard(document())
    assert score_notes(document())[-1] == "Warning: judge 'judge-a' is too close"
    assert "## Warnings" not in leaderboard(document(warnings=[]))


def test_names_are_escaped():
    odd = "a|b`c`*d*_e_ [f](g) <h>\nsnake_case\\"
    safe = r"a\|b\`c\`\*d\*\_e\_ \[f\](g) \<h\> snake_case\\"
    page = leaderboard(document(candidates=[candidate("base", odd)], warnings=[odd]))
    assert f"| {safe} | persona | 4.33" in page
    assert f"- {safe}\n" in page
    assert odd.split("\n")[0] not in page


def test_grid_fits_the_terminal():
    name, judge = "opencharacter-llama-3-8b-instruct-ablation-5", "qwen3-235b-a22b-instruct-awq"
    by = dict.fromkeys((judge, "judge-b"), scored(CELLS["base"], judged=10_000, failed=1_000, marked=True))
    judges = [ScoringJudge(name=judge, model="m", kind="served", family=None), document().judges[1]]
    text = drawn(document(candidates=[candidate("base", name, by_judge=by)], judges=judges))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 140
    assert "…" not in text
    assert sum("4.33 (.47)" in line and "[4.00, 4.60]" in line for line in lines) == 3
    assert sum(" mean " in line for line in lines) == 1
    assert "10,000" in text


def test_name_in_brackets_is_shown():
    assert "[bold]x" in drawn(document(candidates=[candidate("base", "[bold]x")]))


def test_json_round_trip_and_schema_descriptions():
    one = candidate("base", scores=scored(np.full((1, 5), NAN)), general=general(0.5, None))
    shown = document(candidates=[one], general_changes=[changed(p=NAN)])
    again = Scores.model_validate_json(shown.model_dump_json())
    assert again == shown
    assert leaderboard(again) == leaderboard(shown)
    schema = Scores.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    assert all(field.get("description") for part in parts for field in part["properties"].values())


def test_unknown_field_is_refused():
    with pytest.raises(ValueError, match="extra"):
        Scores.model_validate(document().model_dump() | {"verdict": "good"})


def test_short_task_names_are_spelled_out():
    words = "EA Expected Action, TC Toxicity, LH Linguistic Habits, PC Persona Consistency, AJ Action Justification"
    assert f"{words}; PScore-L the average of the five" in leaderboard(document())
    assert words in " ".join(drawn(document()).split())


def test_page_has_no_absolute_path():
    folder = "/home/ann/runs/demo/model"
    judges = [ScoringJudge(name="judge-a", model=folder, kind="served", family=None), document().judges[1]]
    page = leaderboard(document(candidates=[candidate("base", model=folder)], judges=judges))
    assert "/home" not in page
    assert page.count("demo/model") == 2


def test_costs_of_endpoints_are_listed():
    assert "Cost of endpoints" not in leaderboard(document())
    page = leaderboard(document(costs={"answers of tuned": 1.5, "judgments of judge_b": None}))
    assert r"Cost of endpoints: answers of tuned 1.50 USD, judgments of judge_b unknown." in page
