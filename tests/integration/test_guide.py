"""That guided decoding lets a reply say anything within its bounds."""

import json

import pytest
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer
from transformers import PreTrainedTokenizerFast

from factory.inference import model_files
from factory.inference.engines.vllm_settings import GUIDE
from factory.records import ProfileFields, Verdict


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(model_files.fetch("embedded"))


@pytest.fixture(scope="module")
def accepts(tokenizer):
    """Whether the backend lets a text through, token by token."""
    assert GUIDE["backend"] == "guidance"
    vocabulary = from_tokenizer(tokenizer)

    def accepts(schema: str, text: str) -> bool:
        grammar = LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_flexible": False})
        matcher = LLMatcher(vocabulary, grammar)
        return matcher.consume_tokens(tokenizer.encode(text, split_special_tokens=True)) and matcher.is_accepting()

    return accepts


def schema(**bounds: int) -> str:
    properties = {"reply": {"type": "string", **bounds}}
    return json.dumps(
        {"type": "object", "properties": properties, "required": ["reply"], "additionalProperties": False}
    )


def written(reply: str) -> str:
    return json.dumps({"reply": reply}, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("limit", [12, 4096, 1 << 15])
@pytest.mark.parametrize("text", ['"', "a\nb", "\\", "\t", "é한국🙂", "<|im_end|>"])
def test_a_bounded_string_may_hold_anything(accepts, limit, text):
    assert accepts(schema(minLength=1, maxLength=limit), written(text))


@pytest.mark.parametrize("character", ["x", "\n", '"', "국"])
@pytest.mark.parametrize("limit", [1, 60, 4096])
def test_its_bounds_count_characters_escaped_or_not(accepts, limit, character):
    bounded = schema(minLength=1, maxLength=limit)
    assert accepts(bounded, written(character * limit))
    assert not accepts(bounded, written(character * (limit + 1)))
    assert not accepts(bounded, written(""))


@pytest.mark.parametrize("text", ['{"reply":"a', '{"reply":"a"b"}', '{"reply":"a\nb"}', '{"reply":"a","b":1}'])
def test_what_is_no_json_of_the_schema_is_not_let_through(accepts, text):
    assert not accepts(schema(maxLength=60), text)


def test_the_schemas_of_our_records_are_taken(accepts):
    fields = dict.fromkeys(ProfileFields.model_fields, 'say "aye"')
    assert accepts(json.dumps(ProfileFields.model_json_schema()), json.dumps(fields, separators=(",", ":")))
    verdicts = json.dumps(Verdict.model_json_schema())
    assert accepts(verdicts, '{"reasoning":"so","score":4}')
    assert not accepts(verdicts, '{"reasoning":"so","score":7}')
