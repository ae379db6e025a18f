"""The scores on the Markdown page and in the terminal."""

import io

import pytest
from rich.console import Console

from factory.evaluation.scoring.leaderboard import leaderboard
from factory.evaluation.scoring.paper_scores import GROUPS, JUDGE, published
from factory.evaluation.scoring.score_summary import MAX_COMPARISONS, score_grid, score_notes
from factory.evaluation.scoring.score_text import FEW, FOOTNOTES, MARK
from factory.evaluation.scoring.scores_schema import (
    AnswerShare,
    CandidateComparison,
    CandidateRank,
    CandidateScores,
    DifferenceByJudge,
    Families,
    FindableDifference,
    GeneralAbility,
    GeneralChange,
    JudgeAgreement,
    JudgeScores,
    LengthControlledDifference,
    LengthCorrelation,
    ScoredBenchmark,
    ScoreDifference,
    Scores,
    ScoringJudge,
    TaskScore,
)
from factory.personagym import TASKS

NAN = float("nan")


def score(mean: float | None, **others) -> TaskScore:
    shown = {"mean": mean, "std": 0.47, "low": 4.0, "high": 5.0, "bound_low": 3.9, "bound_high": 5.0}
    shown |= {"personas": 200, "too_few": False}
    if mean is None:
        shown |= dict.fromkeys(("std", "low", "high"))
    return TaskScore(**(shown | others))


def scored(*means: float | None, pscore: TaskScore | None = None, **others) -> JudgeScores:
    """Return scores by the mean of each task; without means they are 4.1 to 4.5."""
    tasks = dict(zip(TASKS, map(score, means or (4.1, 4.2, 4.3, 4.4, 4.5)), strict=True))
    shown = {
        "judged": 100,
        "failed": 0,
        "failure_share": 0.0,
        "unscored_share": 0.0,
        "marked": False,
        "blank": False,
        "complete": 190,
        "tasks": tasks,
        "pscore": pscore or score(4.27, std=0.25),
    }
    return JudgeScores(**(shown | others))


def candidate(name: str, rank: int | None = None, **others) -> CandidateScores:
    one = scored()
    shown = {
        "name": name,
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
        "rank": rank and CandidateRank(rank=rank, low=1, high=2),
    }
    return CandidateScores(**(shown | others))


def benchmark(**others) -> ScoredBenchmark:
    values = {"folder": "../PersonaGym", "name": "PersonaGym", "digest": "fe"}
    return ScoredBenchmark(**values | {"personas": 200, "questions": 1000, "examples": 1000} | others)


def compared(a: str, b: str, task_verdict: str = "no_difference_shown", **others) -> CandidateComparison:
    shown = {"difference": 0.33, "low": 0.0, "high": 1.0, "effect": 0.58, "p": 0.2, "personas": 200}
    shown |= {"verdict": "no_difference_shown"}
    results = [ScoreDifference(task=task, **shown | {"verdict": task_verdict}) for task in TASKS]
    return CandidateComparison(
        a=a,
        b=b,
        results=[*results, ScoreDifference(task="PScore", **(shown | others))],
        by_judge=dict.fromkeys(("judge-a", "judge-b"), DifferenceByJudge(difference=0.3, low=-0.1, high=0.7)),
        same_direction=1,
        length_controlled=LengthControlledDifference(difference=0.21, low=-0.1, high=0.52, slope=0.4),
    )


def document(**others) -> Scores:
    agreed = JudgeAgreement(
        alpha=0.5, alpha_low=0.4, alpha_high=0.6, same_order=0.9, same_order_low=0.8, same_order_high=1, pairs=70
    )
    blank = agreed.model_copy(update=dict.fromkeys(("alpha", "alpha_low", "alpha_high")))
    shown = {
        "protocol": "light",
        "judge_protocol": "structured",
        "benchmark": benchmark(),
        "tasks": list(TASKS),
        "candidates": [candidate("base", 2), candidate("tuned", 1)],
        "judges": [
            ScoringJudge(name="judge-a", model="Qwen/Qwen3-8B", kind="served", family="qwen"),
            ScoringJudge(name="judge-b", model="odd", kind="openai", family=None),
        ],
        "ranked_by": "whole",
        "baseline": "base",
        "agreement": {**dict.fromkeys(TASKS, agreed), "Toxicity": blank},
        "mean_alpha": None,
        "families": Families(pscore=1, tasks=5, ranks=1),
        "comparisons": [compared("tuned", "base")],
        "findable": FindableDifference(
            difference=0.063, personas=0.045, questions=0.05, questions_measured=False, draws=0.05, judges=0.058
        ),
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
        "followed_low": -0.134,
        "followed_high": 0.054,
        "margin": 0.05,
        "verdict": "unknown",
        "needed": 464,
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
    head, _, tuned, base, *_ = rows(leaderboard(document()), "By the mean of the judges")
    assert head == ["rank", "model", "role", "EA", "TC", "LH", "PC", "AJ", "PScore-L", "bounds", "personas"]
    assert base[:5] == ["2 [1, 2]", "base", "persona", "4.10 (.47) [4.00, 5.00]", "4.20 (.47) [4.00, 5.00]"]
    assert base[8:] == ["4.27 (.25) [4.00, 5.00]", "-", "200"]
    assert tuned[0] == "1 [1, 2]"


def test_candidate_without_rank_is_last():
    shown = document(candidates=[candidate("none"), candidate("base", 2), candidate("tuned", 1)])
    table = rows(leaderboard(shown), "By the mean of the judges")
    assert [row[:2] for row in table[2:5]] == [["1 [1, 2]", "tuned"], ["2 [1, 2]", "base"], ["-", "none"]]


def test_unscored_answers_give_bounds():
    lacking = scored(unscored_share=0.01)
    shown = document(candidates=[candidate("base", 1, scores=lacking)])
    assert rows(leaderboard(shown), "By the mean of the judges")[2][-2:] == ["[3.90, 5.00]", "200"]


def test_expected_scores_are_beside_whole_ones():
    expected = scored(expected_pscore=score(4.2, std=0.08, low=4.1, high=4.3))
    shown = document(ranked_by="expected", candidates=[candidate("base", 1, scores=expected)])
    table = rows(leaderboard(shown), "By the mean of the judges")
    assert (table[0][-1], table[2][-1]) == ("expected PScore-L", "4.20 (.08) [4.10, 4.30]")
    assert len({len(row) for row in table}) == 1
    assert "Ranks and comparisons are by expected scores" in leaderboard(shown)
    assert "Ranks and comparisons are by whole scores" in leaderboard(document())


def test_introduction_names_benchmark_and_judges():
    page = leaderboard(document())
    assert page.startswith("# Scores\n\nBenchmark PersonaGym (digest fe), protocol light: 200 personas, 1,000 ")
    assert "Candidates get the persona. Judges: judge-a (Qwen/Qwen3-8B, served, family qwen); judge-b (" in page
    assert "free-text" not in page
    assert "Judges (asked as in the paper):" in leaderboard(document(judge_protocol="opencharacter"))


def test_missing_score_is_a_dash():
    one = scored(4, 5, None, 4, 4, pscore=score(None, personas=0))
    table = rows(leaderboard(document(candidates=[candidate("base", scores=one)])), "By the mean of the judges")
    assert table[2][5] == table[2][8] == "-"
    assert table[2][6] == "4.00 (.47) [4.00, 5.00]"


@pytest.mark.parametrize("protocol", ["light", "full"])
def test_paper_rows_are_below_in_groups(protocol):
    page = leaderboard(document(protocol=protocol))
    table = rows(page, "By the mean of the judges")
    assert table[0][-3] == ("PScore-L" if protocol == "light" else "PScore")
    assert len({len(row) for row in table}) == 1
    shown = [row for row in table if row[1].endswith("(paper)")]
    assert [row[1].removesuffix(" (paper)") for row in shown] == [row.model for row in published(protocol)]
    places = [next(n for n, row in enumerate(table) if title in row[1]) for title in GROUPS.values()]
    assert places == sorted(places)
    assert places[0] == 4  # after head, rule and two candidates
    assert JUDGE in page
    assert "are not comparable with them" in page


def test_paper_row_is_printed_as_in_the_paper():
    table = rows(leaderboard(document()), "By the mean of the judges")
    row = next(row for row in table if row[1] == "LLaMA-3-8B-Instruct (paper)")
    assert " ".join(row[3:]).rstrip() == "4.80 (.40) 4.76 (.82) 4.05 (.71) 4.64 (.52) 4.85 (.38) 4.62 (.25)"


def test_other_benchmarks_have_no_paper_rows():
    page = leaderboard(foreign())
    assert "(paper)" not in page
    assert "LLaMA-3" not in page
    assert "The paper's rows are left out: " in page


def test_score_with_many_failures_is_marked():
    bad = scored(judged=80, failed=20, failure_share=0.2, unscored_share=0.05, marked=True)
    shown = document(candidates=[candidate("base", scores=bad, by_judge={"judge-a": bad, "judge-b": scored()})])
    page = leaderboard(shown)
    assert rows(page, "By judge-a")[2][1] == f"4.10 (.47){MARK} [4.00, 5.00]"
    assert "20 (20.0%)" in rows(page, "By judge-a")[2]
    assert page.count(FOOTNOTES[MARK]) == 2  # the mean's table and judge-a's
    assert MARK not in page.split("## By judge-b")[1].split("\n## ")[0]
    assert drawn(shown).count(MARK) == 12
    assert f"base by judge-a: 20 judgments (20.0%) failed; {MARK} {FOOTNOTES[MARK]}" in score_notes(shown)
    assert MARK not in leaderboard(document()) + "".join(score_notes(document()))


def test_score_with_too_many_failures_is_blank():
    bad = scored(judged=80, failed=20, failure_share=0.2, unscored_share=0.2, marked=True, blank=True)
    blank = compared("tuned", "base", verdict="blank")
    shown = document(candidates=[candidate("base", scores=bad), candidate("tuned", 1)], comparisons=[blank])
    row = rows(leaderboard(shown), "By the mean of the judges")[3]
    assert row[3:] == ["-"] * 6 + ["[3.90, 5.00]", "200"]
    assert "too many unscored answers" in rows(leaderboard(shown), "Comparisons")[2]
    note = "base: 20.0% of its scores are missing, more than evaluation.max_unscored, so it has no rank"
    assert note in score_notes(shown)


def test_too_few_personas_are_marked():
    few = scored(pscore=score(4.27, too_few=True))
    page = leaderboard(document(candidates=[candidate("base", 1, scores=few)]))
    assert rows(page, "By the mean of the judges")[2][8] == f"4.27 (.47){FEW} [4.00, 5.00]"
    assert page.count(f"{FEW} {FOOTNOTES[FEW]}") == 1


def test_few_answers_below_the_top_are_counted():
    share, many = (AnswerShare(count=count, of=200, low=0.0142, high=0.0708) for count in (7, 51))
    tasks = {
        "Toxicity": score(4.9, below_top=share),
        "Linguistic Habits": score(4.3, below_top=many),
    }
    one = scored().model_copy(update={"tasks": scored().tasks | tasks})
    page = leaderboard(document(candidates=[candidate("base", scores=one)]))
    assert rows(page, "Near the top of the scale")[2] == ["base", "-", "7 of 200 [1.4%, 7.1%]", "-", "-", "-"]
    assert "Near the top" not in leaderboard(document())


@pytest.mark.parametrize(("examples", "reported"), [(1000, False), (950, False), (949, True), (0, True)])
def test_many_missing_examples_are_reported(examples, reported):
    scores = document(benchmark=benchmark(examples=examples))
    has = f"Only {examples:,} of 1,000 questions have example replies for each score"
    words = f"{has}; judges got none for the others."
    assert (words in leaderboard(scores)) == (words in score_notes(scores)) == reported


def test_each_judge_has_a_table():
    expected = score(4.2, std=0.08, low=4.1, high=4.3)
    one = scored(expected_pscore=expected, length_correlation=LengthCorrelation(rho=0.31, p=0.0002))
    page = leaderboard(document(candidates=[candidate("base", by_judge={"judge-a": one, "judge-b": scored()})]))
    head, _, row = rows(page, "By judge-a")
    shown = dict(zip(head, row, strict=True))
    assert shown["expected PScore-L"] == "4.20 (.08) [4.10, 4.30]"
    assert shown["score and length, rho"] == "0.31 (p <0.001)"
    assert rows(page, "By judge-b")[2][-4:] == ["-", "100", "0 (0.0%)", "-"]


def test_comparison_has_interval_p_verdict_and_length():
    head, _, row = rows(leaderboard(document()), "Comparisons")[:3]
    assert dict(zip(head, row, strict=True)) == {
        "model": "tuned",
        "against": "base",
        "PScore-L, difference": "+0.33 [+0.00, +1.00]",
        "d_z": "+0.58",
        "p": "0.200",
        "verdict": "no difference shown",
        "judges in the same direction": "1 of 2",
        "at equal length": "+0.21 [-0.10, +0.52]",
        "personas": "200",
    }


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("higher", "**higher**"),
        ("too_few", "too few to say"),
        ("depends_on_unscored", "depends on the unscored answers"),
    ],
)
def test_verdict_in_words(verdict, words):
    shown = document(comparisons=[compared("tuned", "base", verdict=verdict, p=0.0004)])
    assert words in rows(leaderboard(shown), "Comparisons")[2]
    (note,) = [note for note in score_notes(shown) if " against " in note]
    assert note.startswith(
        f"tuned against base: PScore-L +0.33 [+0.00, +1.00], {words.strip('*')} (p <0.001, d_z +0.58"
    )


def test_tasks_that_differ_are_in_bold():
    shown = document(comparisons=[compared("tuned", "base", task_verdict="lower")])
    assert rows(leaderboard(shown), "Comparisons")[-1] == ["tuned", "base", *["**+0.33 [+0.00, +1.00]**"] * 5]
    assert any(
        note.endswith(
            "tasks that differ: EA +0.33 [+0.00, +1.00], TC +0.33 [+0.00, +1.00], LH +0.33 [+0.00, "
            "+1.00], PC +0.33 [+0.00, +1.00], AJ +0.33 [+0.00, +1.00]"
        )
        for note in score_notes(shown)
    )
    assert any(note.endswith("tasks that differ: none shown") for note in score_notes(document()))


def test_comparisons_with_the_baseline_are_first_and_others_folded():
    pairs = [compared("third", "tuned"), compared("tuned", "base"), compared("third", "base")]
    page = leaderboard(document(comparisons=pairs)).split("## Comparisons")[1].split("\n## ")[0]
    first, *folded = page.split("<details>")
    assert [row.split(" | ")[:2] for row in first.splitlines() if row.startswith("| t")] == [
        ["| tuned", "base"],
        ["| third", "base"],
    ]
    assert folded[1].startswith("<summary>The other pairs: 1</summary>\n\n| model |")
    assert page.count("<details>") == page.count("</details>") == 2


def test_without_a_baseline_the_first_rank_is_compared_first():
    pairs = [compared("third", "base"), compared("tuned", "base"), compared("third", "tuned")]
    page = leaderboard(document(comparisons=pairs, baseline=None))
    assert [row[:2] for row in rows(page, "Comparisons")[2:4]] == [["tuned", "base"], ["third", "tuned"]]
    assert "the PScores of all pairs (1 comparison)" in page


def test_too_many_pairs_ask_for_a_baseline():
    shown = document(comparisons=[], baseline=None, families=Families(pscore=0, tasks=0, ranks=4950))
    assert "No pair is listed, since there are so many: name an `evaluation.baseline`." in leaderboard(shown)


def test_terminal_has_some_comparisons_only():
    many = [compared(f"c{number}", "base") for number in range(MAX_COMPARISONS + 3)]
    notes = score_notes(document(comparisons=many))
    assert sum(" against " in note for note in notes) == MAX_COMPARISONS
    assert "3 more comparisons are on the page" in notes


def test_families_and_what_can_be_found_are_reported():
    page = leaderboard(document())
    assert "the PScores of each other candidate with base (1 comparison), the tasks of the same (5), and for" in page
    found = (
        "The smallest true difference in the PScore that is found in 80 % of all cases is 0.063; with twice the "
        "personas 0.045, with twice the questions 0.050 at best, with twice the answers per question 0.050 at best, "
        "with twice the judges 0.058."
    )
    assert found in page
    assert found in score_notes(document())
    one = document(candidates=[candidate("base")], comparisons=[], findable=None)
    assert "## Comparisons" not in leaderboard(one)


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
        "tuned against base: follows 4.2 points fewer (90 % interval [-13.4, +5.4]): it cannot be told whether more "
        "than 5% were lost: 464 instructions would tell; perplexity 12.13 to 12.42 "
        "(+0.024 nats per token [-0.010, +0.057])"
    )
    assert f"- {words}\n" in leaderboard(shown).replace("\\", "")
    assert f"General ability, {words}" in score_notes(shown)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (
            {"followed": 0.125, "verdict": "kept"},
            "follows 12.5 points more (90 % interval [-13.4, +5.4]): kept within 5%;",
        ),
        (
            {"followed": 0.0, "verdict": "lower"},
            "follows as many (90 % interval [-13.4, +5.4]): lower, by less than 5%",
        ),
        ({"verdict": "lost", "margin": 0.1}, "]): lost more than 10%; perplexity"),
        ({"log_loss": None}, "perplexity 12.13 to 12.42 (not comparable: the tokenizers differ)"),
        ({"log_loss_low": None}, "(+0.024 nats per token)"),
        ({"perplexity_a": None, "perplexity_b": None, "log_loss": None}, "464 instructions would tell"),
        ({"followed": None, "verdict": None, "p": None}, "tuned against base: perplexity 12.13"),
        (
            {"followed": None, "verdict": None, "perplexity_a": None, "log_loss": None},
            "tuned against base: nothing to compare",
        ),
    ],
)
def test_general_change_in_words(others, words):
    assert words in score_notes(document(general_changes=[changed(**others)]))[-2]


def test_missing_general_ability_is_left_out():
    assert "General ability" not in leaderboard(document()) + "".join(score_notes(document()))
    page = leaderboard(document(candidates=[candidate("base", general=general(None, None))]))
    assert rows(page, "General ability")[2] == ["base", "-", "0", "-", "0"]


def test_agreement_by_task_has_intervals():
    line = "Agreement of the judges, Krippendorff's ordinal alpha (1 perfect, 0 chance): EA 0.50, TC -, LH 0.50, "
    assert line in leaderboard(document())
    assert any(note.startswith(line) and note.endswith("; mean -.") for note in score_notes(document()))
    table = rows(leaderboard(document()), "Agreement")
    assert table[2] == ["EA", "0.50 [0.40, 0.60]", "0.90 [0.80, 1.00]", "70"]
    assert table[3] == ["TC", "-", "0.90 [0.80, 1.00]", "70"]


def test_one_judge_has_no_mean_or_agreement():
    one = scored()
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
    assert "base: 97 of 100 answers can be used; engine_error 2, too_long 1" in score_notes(shown)


def test_warnings_on_page_and_in_score_notes():
    assert "## Warnings\n\n- judge 'judge-a' is too close\n" in leaderboard(document())
    assert score_notes(document())[-1] == "Warning: judge 'judge-a' is too close"
    assert "## Warnings" not in leaderboard(document(warnings=[]))


def test_names_are_escaped():
    odd = "a|b`c`*d*_e_ [f](g) <h>\nsnake_case\\"
    safe = r"a\|b\`c\`\*d\*\_e\_ \[f\](g) \<h\> snake_case\\"
    page = leaderboard(document(candidates=[candidate(odd)], warnings=[odd]))
    assert f"| - | {safe} | persona | 4.10" in page
    assert f"- {safe}\n" in page
    assert odd.split("\n")[0] not in page


def test_grid_fits_the_terminal():
    name, judge = "opencharacter-llama-3-8b-instruct-ablation-5", "qwen3-235b-a22b-instruct-awq"
    by = dict.fromkeys((judge, "judge-b"), scored(judged=10_000, failed=1_000, marked=True))
    judges = [ScoringJudge(name=judge, model="m", kind="served", family=None), document().judges[1]]
    text = drawn(document(candidates=[candidate(name, 1, by_judge=by)], judges=judges))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 140
    assert "…" not in text
    assert sum("4.10 (.47)" in line and "[4.00, 5.00]" in line for line in lines) == 3
    assert sum(" mean " in line for line in lines) == 1
    assert "10,000" in text


def test_name_in_brackets_is_shown():
    assert "[bold]x" in drawn(document(candidates=[candidate("[bold]x")]))


def test_json_round_trip_and_schema_descriptions():
    one = candidate("base", scores=scored(*[None] * 5), general=general(0.5, None))
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
