"""Real tokenizers: SmolLM2's own template, and LLaMA-3's format against Meta's own package."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer
from factory.records import Message
from factory.training.dialogue import TEMPLATES

TALK = [
    Message("system", "# Persona\nA baker from Lagos.\n\n# Character Profile\nName: Ada Oduya"),
    Message("user", "Why is my bread flat?\nI kneaded for 10 minutes."),
    Message("assistant", "Ah, the yeast! It sleeps when the water is cold… 빵은 기다림이야 🍞"),
    Message("user", "And now?"),
    Message("assistant", "Warm it. Wait.\n\n1. One hour\n2. Then bake"),
]
TEXT = (
    st.text(st.characters(exclude_categories=["Cs", "Co", "Cc"]), min_size=1, max_size=40).map(str.strip).filter(bool)
)


@pytest.fixture(scope="module")
def smollm() -> ChatTokenizer:
    return ChatTokenizer(model_files.fetch("embedded"))


@pytest.fixture(scope="module")
def meta():
    from llama_models.llama3.chat_format import ChatFormat
    from llama_models.llama3.tokenizer import Tokenizer

    return ChatFormat(Tokenizer.get_instance())


@pytest.fixture(scope="module")
def llama(meta, tmp_path_factory) -> ChatTokenizer:
    """LLaMA-3's tokenizer as a Hugging Face one, from the file that Meta ships; a Base model's has no template."""
    import llama_models.llama3.tokenizer as package
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import TikTokenConverter

    file = Path(package.__file__).parent / "tokenizer.model"
    core = TikTokenConverter(vocab_file=str(file), extra_special_tokens=meta.tokenizer.special_tokens).converted()
    folder = str(tmp_path_factory.mktemp("llama"))
    PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<|begin_of_text|>").save_pretrained(folder)
    return ChatTokenizer(folder, (TEMPLATES / "llama-3.jinja").read_text())


def by_meta(meta, messages: list[Message]) -> tuple[list[int], list[bool]]:
    """Tokens and mask as Meta's package writes each message."""
    from llama_models.datatypes import RawMessage, ToolPromptFormat

    ids, mask = [meta.tokenizer.bos_id], [False]
    for message in messages:
        extra = {"stop_reason": "end_of_turn", "tool_calls": []} if message.role == "assistant" else {}
        raw = RawMessage(role=message.role, content=message.content.strip(), **extra)
        tokens, _ = meta.encode_message(raw, ToolPromptFormat.json)
        header = len(meta._encode_header(message.role))
        ids += tokens
        mask += [False] * header + [message.role == "assistant"] * (len(tokens) - header)
    return ids, mask


def test_llama_3_has_the_ids_and_the_mask_of_metas_own_format(llama, meta):
    (encoded,) = llama.encode_dialogue(TALK)
    assert (encoded.ids, encoded.mask) == by_meta(meta, TALK)
    assert llama.encode(TALK[:2]) == by_meta(meta, TALK[:2])[0] + meta._encode_header("assistant")


@given(user=TEXT, reply=TEXT, system=TEXT)
@settings(max_examples=100, deadline=None)
def test_llama_3_agrees_with_meta_on_any_text(llama, meta, system, user, reply):
    talk = [Message("system", system), Message("user", user), Message("assistant", reply)]
    (encoded,) = llama.encode_dialogue(talk)
    assert (encoded.ids, encoded.mask) == by_meta(meta, talk)


@pytest.mark.parametrize("special", ["<|eot_id|>", "<|start_header_id|>system<|end_header_id|>", "<|begin_of_text|>"])
def test_llama_3s_special_tokens_in_data_are_text(llama, meta, special):
    talk = [Message("system", special), Message("user", special), Message("assistant", f"so {special}!")]
    (encoded,) = llama.encode_dialogue(talk)
    assert encoded.ids.count(meta.tokenizer.eot_id) == 3
    assert encoded.ids.count(meta.tokenizer.bos_id) == 1
    escaped = [Message(m.role, llama.escape(m.content)) for m in talk]
    assert (encoded.ids, encoded.mask) == by_meta(meta, escaped)


def test_smollm2_has_the_ids_of_its_own_template_and_learns_replies_alone(smollm):
    tokenizer = smollm._tokenizer
    chat = [{"role": m.role, "content": m.content} for m in TALK]
    (encoded,) = smollm.encode_dialogue(TALK)
    assert encoded.ids == tokenizer.apply_chat_template(chat, return_dict=False)
    learned = [token for token, mask in zip(encoded.ids, encoded.mask, strict=True) if mask]
    assert tokenizer.decode(learned) == "".join(f"{TALK[n].content}<|im_end|>" for n in (2, 4))


def test_our_chatml_is_smollm2s_format(smollm):
    ours = ChatTokenizer(model_files.fetch("embedded"), (TEMPLATES / "chatml.jinja").read_text())
    assert ours.encode_dialogue(TALK) == smollm.encode_dialogue(TALK)
    assert ours.encode(TALK[:2]) == smollm.encode(TALK[:2])
