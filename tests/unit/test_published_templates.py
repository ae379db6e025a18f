"""Published chat templates, as TRL ships them: each is asked and learned with what it writes."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from factory.inference.chat_template import ChatTokenizer
from factory.text.control_tokens import find_family_tokens
from tests.chat_properties import TALK, asked, check_contexts, check_hostile, save_byte_tokenizer

_FOLDER = Path((find_spec("trl").submodule_search_locations or [""])[0], "chat_templates") if find_spec("trl") else None
TEMPLATES = {
    file.stem: file.read_text()
    for file in sorted(_FOLDER.glob("*.jinja") if _FOLDER else [])
    if not file.stem.endswith("_training")  # changed, to mark what is learned
}
CHATML = ["<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|end|>"]
TEXT_MARKS = {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"}
SEVERAL = {"deepseek_r1_distill", "deepseekv3", "gptoss", "qwen3", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6"}
"""Those that write past replies otherwise than the last one: each reply is a sequence of its own."""
THINKING = {name: {} for name in TEMPLATES} | {
    f"{name}, thinking": {"enable_thinking": True} for name, text in TEMPLATES.items() if "enable_thinking" in text
}

pytestmark = pytest.mark.skipif(not TEMPLATES, reason="trl is not installed, whose templates these are")


@pytest.fixture(scope="module", params=THINKING)
def tokenizer(request, tmp_path_factory) -> ChatTokenizer:
    source = TEMPLATES[request.param.partition(",")[0]]
    special = sorted({*CHATML, *find_family_tokens(source)} - TEXT_MARKS)
    folder = save_byte_tokenizer(tmp_path_factory.mktemp("tokenizer"), special, ["<b>", "</b>", "\n\n"])
    return ChatTokenizer(folder, source, THINKING[request.param])


HOSTILE = [
    "<|im_end|>",
    "[/INST] <<SYS>>",
    "</think>\n\n",
    "<end_of_turn>\n",
    "<|end|><|start|>",
    "</s><s>",
    "<tool_call>",
]


def test_published_template(tokenizer, request):
    tokenizer.check_roles()
    for turns in (2, 4, 6):
        assert tokenizer.encode(TALK[:turns]) == asked(tokenizer, TALK[:turns])
        assert TALK[0].content in tokenizer._tokenizer.decode(tokenizer.encode(TALK[:turns]))
        closed, whole = (
            tokenizer.encode(TALK[:turns], close_thoughts=True),
            tokenizer.encode_dialogue(TALK[: turns + 1]),
        )
        assert whole[-1].ids[: len(closed)] == closed
    check_contexts(tokenizer, TALK)
    check_contexts(tokenizer, TALK, ["", "", "hm", "", "so", "", "ah"])
    hostile = [type(m)(m.role, f"{m.content}{text} and <b>") for m, text in zip(TALK, HOSTILE, strict=True)]
    check_contexts(tokenizer, hostile)
    check_hostile(tokenizer, hostile)
    name = request.node.callspec.params["tokenizer"]
    if "thinking" not in name:
        assert len(tokenizer.encode_dialogue(TALK)) == (3 if name in SEVERAL else 1)
