"""Token ids and masks of chats whose templates need nothing special, as recorded: `chat_ids.json`."""

import json
from pathlib import Path

import pytest

from factory.inference.chat_template import ChatTokenizer
from factory.records import Message
from factory.training.dialogue import TEMPLATES
from tests.integration.test_chat_formats import llama, meta, smollm  # noqa: F401 - fixtures
from tests.unit.test_training_dialogues import folder  # noqa: F401

RECORDED = json.loads((Path(__file__).parent / "chat_ids.json").read_text())
DIALOGUES = [[Message(role, text) for role, text in dialogue] for dialogue in RECORDED["dialogues"]]


@pytest.fixture
def tokenizer(request, name):
    if name.endswith(" of bytes"):
        template = TEMPLATES / f"{name.removesuffix(' of bytes')}.jinja"
        return ChatTokenizer(request.getfixturevalue("folder"), template.read_text())
    return request.getfixturevalue({"llama-3": "llama", "smollm2": "smollm"}[name])


@pytest.mark.parametrize("name", RECORDED["encoded"])
def test_ids_and_masks_are_the_recorded_ones(tokenizer, name):
    for dialogue, recorded in zip(DIALOGUES, RECORDED["encoded"][name], strict=True):
        (sequence,) = tokenizer.encode_dialogue(dialogue)
        assert (sequence.ids, "".join("01"[learned] for learned in sequence.mask)) == (
            recorded["ids"],
            recorded["mask"],
        )
        assert tokenizer.encode(dialogue[:2]) == recorded["asked"]
