"""The tokenizer in an exported folder: its own files, byte for byte but for what a tuned model needs."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from factory.inference.chat_template import ChatTokenizer
from factory.records import Message
from factory.training.dialogue import TEMPLATES
from tests.chat_properties import save_byte_tokenizer

CHATML = (TEMPLATES / "chatml.jinja").read_text()
CHAT = [Message("system", "Be Ada."), Message("user", "Übung: 3 loaves,\n\n  so… 빵 🍞"), Message("assistant", "Yes.")]


@pytest.fixture
def base(tmp_path) -> Path:
    """Return a folder as of transformers 4, with all files that it may have, and one of no tokenizer."""
    folder = tmp_path / "base"
    save_byte_tokenizer(folder, ("<|im_start|>", "<|im_end|>"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "model_max_length": 512,
        "extra_special_tokens": {}, "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text('{"eos_token": {"content": "</s>"}, "bos_token": "<s>"}')
    (folder / "added_tokens.json").write_text('{"</s>":   259}')
    (folder / "tokenizer.model").write_bytes(b"\0sentencepiece")
    (folder / "params.json").write_text("{}")
    return folder


def saved(base: Path, template: str | None = CHATML) -> Path:
    target = base.with_name("saved")
    ChatTokenizer(str(base), template).save(str(target))
    return target


def changed(base: Path, target: Path) -> dict[str, set[str]]:
    """Return the files that differ, with the keys of those that hold JSON."""
    found = {}
    for path in target.iterdir():
        before = base / path.name
        if not before.exists():
            found[path.name] = {"new"}
        elif before.read_bytes() != path.read_bytes():
            old, new = (json.loads(file.read_text()) for file in (before, path))
            found[path.name] = {key for key in old | new if old.get(key) != new.get(key)}
    return found


def test_a_base_model_gets_an_end_of_turn_and_a_template(base):
    target = saved(base)
    assert changed(base, target) == {
        "tokenizer_config.json": {"eos_token"},
        "special_tokens_map.json": {"eos_token"},
        "chat_template.jinja": {"new"},
    }
    assert not (target / "params.json").exists()
    assert (target / "tokenizer.model").read_bytes() == b"\0sentencepiece"
    tokenizer = AutoTokenizer.from_pretrained(target)
    assert (tokenizer.eos_token, tokenizer.chat_template) == ("<|im_end|>", CHATML)


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
def test_nothing_changes_where_nothing_must(base, place):
    config = json.loads((base / "tokenizer_config.json").read_text()) | {"eos_token": "<|im_end|>"}
    (base / "special_tokens_map.json").write_text('{"eos_token":  "<|im_end|>"}')
    if place == "chat_template.jinja":
        (base / place).write_text(CHATML)
    else:
        config["chat_template"] = CHATML
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    assert changed(base, saved(base, None)) == {}


def test_another_template_stands_wherever_the_model_has_one(base):
    config = json.loads((base / "tokenizer_config.json").read_text()) | {"chat_template": "old"}
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    (base / "chat_template.jinja").write_text("old")
    target = saved(base)
    assert (target / "chat_template.jinja").read_text() == CHATML
    assert json.loads((target / "tokenizer_config.json").read_text())["chat_template"] == CHATML


def test_what_transformers_5_wrote_is_made_readable_for_4(base):
    config = {
        "tokenizer_class": "TokenizersBackend",
        "extra_special_tokens": ["<|im_start|>"],
        "eos_token": "<|im_end|>",
    }
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    written = json.loads((saved(base) / "tokenizer_config.json").read_text())
    assert written == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<|im_start|>"],
        "eos_token": "<|im_end|>",
    }


@pytest.mark.parametrize(
    ("named", "kept"),
    [("LlamaTokenizer", False), ("GemmaTokenizer", False), ("GPT2Tokenizer", True), ("Qwen2Tokenizer", True)],
)
def test_a_class_that_makes_other_tokens_is_replaced(base, named, kept):
    config = json.loads((base / "tokenizer_config.json").read_text()) | {"tokenizer_class": named}
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    target = saved(base)
    written = json.loads((target / "tokenizer_config.json").read_text())["tokenizer_class"]
    assert written == (named if kept else "PreTrainedTokenizerFast")
    chat = [{"role": m.role, "content": m.content} for m in CHAT]
    ids = AutoTokenizer.from_pretrained(target).apply_chat_template(chat, return_dict=False)
    (trained,) = ChatTokenizer(str(base), CHATML).encode_dialogue(CHAT)
    assert ids[: len(trained.ids)] == trained.ids
