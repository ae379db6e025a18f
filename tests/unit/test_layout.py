"""The names of a run's tables: each kind matches its own names and no others."""

import pytest

from factory.run_output.layout import KINDS, TableKind, is_from_training_data, kind_of

PARTS = {"corpus": "lima", "strategy": "rewrite", "split": "train", "candidate": "tuned", "judge": "a-judge"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.template)
def test_name_belongs_to_its_kind(kind: TableKind):
    name = kind.name(**PARTS)
    assert kind_of(name) is kind
    assert kind.parts(name) == {part: PARTS[part] for part in PARTS if f"{{{part}}}" in kind.template}


@pytest.mark.parametrize("name", ["curated/filtered", "evaluation/benchmark/answers", "dialogues/lima", ""])
def test_other_folders_have_no_kind(name: str):
    assert kind_of(name) is None


def test_only_synthesis_and_curation_are_training_data():
    names = ("profiles", "dialogues/generate-a-b", "curated/train", "packed/train", "evaluation/x/answers", "other")
    assert [is_from_training_data(name) for name in names] == [True, True, True, False, False, False]
