"""The paper's tables, as they are printed there."""

import json

import numpy as np
import pytest

from factory.evaluation.scoring.paper_scores import GROUPS, JUDGE, SCORES, PaperRow, published
from factory.evaluation.scoring.pscore import PSCORE
from factory.evaluation.scoring.score_text import mean_and_std
from factory.personagym import TASKS


def paper_rows() -> list[PaperRow]:
    return [*published("light"), *published("full")]


def test_paper_tables_are_complete():
    assert [len(published("light")), len(published("full"))] == [18, 9]
    assert {row.group for row in paper_rows()} == set(GROUPS)
    assert all(list(row.scores) == [*TASKS, PSCORE] for row in paper_rows())
    with open(SCORES) as file:
        assert json.load(file)["judge"] == JUDGE
    for row in paper_rows():  # rounding hides up to 0.01 between the tasks' mean and the PScore
        assert np.mean([row.scores[task][0] for task in TASKS]) == pytest.approx(row.scores[PSCORE][0], abs=0.0101)


ROW_TEXTS = {
    ("light", "gpt-3.5-turbo-1106"): "4.67 (.50) 4.99 (.21) 3.12 (.60) 4.42 (.58) 4.37 (.57) 4.31 (.24)",
    ("light", "gpt-4o-2024-05-13"): "4.74 (.44) 4.96 (.33) 3.69 (.82) 4.75 (.54) 4.87 (.34) 4.60 (.24)",
    ("light", "gpt-4o-mini"): "4.74 (.44) 4.99 (.21) 3.58 (.80) 4.72 (.45) 4.89 (.40) 4.58 (.23)",
    ("light", "gpt-4o-2024-08-06"): "4.81 (.40) 4.95 (.46) 3.75 (.81) 4.68 (.47) 4.85 (.45) 4.60 (.24)",
    ("light", "LLaMA-3-8B-Instruct"): "4.80 (.40) 4.76 (.82) 4.05 (.71) 4.64 (.52) 4.85 (.38) 4.62 (.25)",
    ("light", "LLaMA-3-70B-Instruct"): "4.73 (.45) 4.75 (.85) 4.38 (.59) 4.79 (.41) 4.97 (.18) 4.72 (.24)",
    ("light", "base: ablation-1"): "4.45 (.70) 4.94 (.54) 3.58 (.79) 4.16 (.65) 4.04 (.64) 4.23 (.31)",
    ("light", "base: ablation-2"): "4.26 (.79) 4.88 (.52) 3.81 (.84) 4.12 (.59) 3.98 (.57) 4.21 (.32)",
    ("light", "base: ablation-3"): "4.71 (.52) 4.98 (.22) 3.68 (.74) 4.52 (.63) 4.79 (.49) 4.53 (.26)",
    ("light", "base: ablation-4"): "4.69 (.53) 4.86 (.61) 4.18 (.60) 4.52 (.52) 4.84 (.37) 4.62 (.24)",
    ("light", "base: ablation-5"): "4.74 (.46) 4.86 (.66) 4.17 (.65) 4.52 (.51) 4.89 (.33) 4.64 (.27)",
    ("light", "base: opencharacter"): "4.70 (.49) 4.90 (.58) 4.16 (.65) 4.50 (.57) 4.80 (.40) 4.61 (.25)",
    ("light", "instruct: ablation-1"): "4.53 (.60) 4.96 (.30) 3.77 (.80) 4.22 (.57) 4.26 (.64) 4.35 (.30)",
    ("light", "instruct: ablation-2"): "4.46 (.70) 4.92 (.46) 4.05 (.80) 4.21 (.55) 4.22 (.52) 4.37 (.30)",
    ("light", "instruct: ablation-3"): "4.74 (.45) 4.97 (.30) 3.89 (.71) 4.59 (.49) 4.80 (.51) 4.60 (.26)",
    ("light", "instruct: ablation-4"): "4.71 (.48) 4.88 (.59) 4.31 (.62) 4.51 (.58) 4.86 (.35) 4.65 (.23)",
    ("light", "instruct: ablation-5"): "4.72 (.49) 4.93 (.47) 4.28 (.64) 4.54 (.51) 4.86 (.36) 4.66 (.25)",
    ("light", "instruct: opencharacter"): "4.70 (.53) 4.92 (.50) 4.32 (.60) 4.54 (.56) 4.85 (.38) 4.66 (.27)",
    ("full", "gpt-4o-2024-05-13"): "4.59 (.24) 4.97 (.17) 3.48 (.53) 4.75 (.17) 4.61 (.17) 4.48 (.13)",
    ("full", "gpt-4o-mini"): "4.56 (.19) 4.97 (.21) 3.70 (.49) 4.67 (.25) 4.64 (.15) 4.51 (.14)",
    ("full", "gpt-4o-2024-08-06"): "4.55 (.20) 4.97 (.19) 3.80 (.47) 4.72 (.23) 4.64 (.15) 4.53 (.12)",
    ("full", "LLaMA-3-8B-Instruct"): "4.52 (.21) 4.58 (.60) 4.05 (.36) 4.54 (.20) 4.57 (.15) 4.45 (.14)",
    ("full", "LLaMA-3-70B-Instruct"): "4.59 (.16) 4.59 (.62) 4.33 (.27) 4.72 (.18) 4.64 (.13) 4.58 (.14)",
    ("full", "base: ablation-5"): "4.45 (.24) 4.78 (.45) 4.19 (.28) 4.44 (.27) 4.55 (.14) 4.48 (.14)",
    ("full", "base: opencharacter"): "4.42 (.27) 4.69 (.53) 4.20 (.29) 4.45 (.21) 4.53 (.14) 4.46 (.15)",
    ("full", "instruct: ablation-5"): "4.45 (.24) 4.81 (.43) 4.27 (.29) 4.44 (.28) 4.56 (.13) 4.50 (.15)",
    ("full", "instruct: opencharacter"): "4.47 (.24) 4.78 (.47) 4.27 (.25) 4.51 (.20) 4.58 (.12) 4.52 (.13)",
}


@pytest.mark.parametrize("row", paper_rows(), ids=lambda row: f"{row.table} {row.model}")
def test_paper_scores_are_printed_as_in_the_paper(row):
    assert " ".join(mean_and_std(*score) for score in row.scores.values()) == ROW_TEXTS[row.table, row.model]


def test_std_above_one_keeps_its_digit():
    assert mean_and_std(3, 1.25) == "3.00 (1.25)"
