"""The names of a run's tables: every kind names its own, and no other."""

import pytest

from factory.run_output import layout
from factory.run_output.layout import KINDS, TableKind, kind_of, tables_of

PARTS = {"corpus": "lima", "strategy": "rewrite", "split": "train", "candidate": "tuned", "judge": "a-judge"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.template)
def test_a_name_belongs_to_the_kind_that_made_it(kind: TableKind):
    name = kind.name(**PARTS)
    assert kind_of(name) is kind
    assert kind.parts(name) == {part: PARTS[part] for part in PARTS if f"{{{part}}}" in kind.template}


@pytest.mark.parametrize("name", ["curated/filtered", "evaluation/benchmark/answers", "dialogues/lima", ""])
def test_other_folders_belong_to_no_kind(name: str):
    assert kind_of(name) is None


def test_tables_of_a_kind_come_with_their_parts():
    names = ["profiles", "dialogues/generate-a-b", "dialogues/rewrite-c", "evaluation/x/judgments/j"]
    found = list(tables_of(layout.DIALOGUES, names))
    assert [parts for _, parts in found] == [
        {"strategy": "generate", "corpus": "a-b"},
        {"strategy": "rewrite", "corpus": "c"},
    ]
