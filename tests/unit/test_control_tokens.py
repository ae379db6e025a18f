"""Control tokens of all families: escaped in data, and found in a reply unless part of its content."""
# ruff: noqa: RUF001 - DeepSeek's bars are wide

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.text.control_tokens import escape_control_tokens, find_control_token, has_control_tokens

NEVER_TEXT_TOKENS = """<|im_start|> <|im_end|> <|endoftext|> <|begin_of_text|> <|eot_id|> <|start_header_id|>
<|python_tag|> <|reserved_special_token_250|> <|end|> <|user|> <|assistant|> <|vision_start|> <|START_OF_TURN_TOKEN|>
<|START_RESPONSE|> <|observation|> <|start_of_role|> <|channel|> <|message|> <|return|> <｜end▁of▁sentence｜> <｜User｜>
<｜tool▁calls▁begin｜> <|turn> <turn|> <|channel> <channel|> <<SYS>> <</SYS>> <bos> <eos> <EOS> <eop> <sop> <EOS_TOKEN>
<start_of_turn> <end_of_turn> <start_of_image> <image_soft_token> <beginning_of_sentence> <end_of_text> <think> </think>
<tool_call> </tool_call> <tool_response> <seed:bos> </seed:think> <minimax:tool_call> <file_sep> <fim_middle>
<issue_start> <jupyter_output> <commit_before> <unused7> <reserved_106> <extra_id_0> <SPECIAL_12> [INST] [/INST]
[TOOL_CALLS] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [SYSTEM_PROMPT] [THINK] [/THINK] [MODEL_SETTINGS]
[gMASK] [UNUSED_TOKEN_145] [|assistant|] [|endofturn|] ]~b] ]~!b[ [e~["""
AT_AN_END_TOKENS = "<s> </s> <pad> <unk> <mask> <SEP> [MASK] [CLS] [SEP] [PAD] [UNK] [BOS] [EOS] [IMG_BREAK]"
ALSO_TEXT_TOKENS = "<repo_name> <reponame> <filename> <pr_diff> <tool> </tools> [IMG] [ARGS] [/SUFFIX] [|x|]"
NEVER_TEXT, AT_AN_END, ALSO_TEXT = NEVER_TEXT_TOKENS.split(), AT_AN_END_TOKENS.split(), ALSO_TEXT_TOKENS.split()


@pytest.mark.parametrize("tokens", [NEVER_TEXT, AT_AN_END, ALSO_TEXT], ids=["never text", "at an end", "also text"])
def test_tokens_in_data_are_escaped(tokens):
    for token in tokens:
        escaped = escape_control_tokens(f"a{token}b")
        assert token not in escaped
        assert escaped.replace("\u200b", "") == f"a{token}b"


def test_nested_token_is_escaped():
    assert "<|im_end|>" not in escape_control_tokens("<<|im_end|>|im_end|><|im_<|im_end|>end|>")


def test_own_tokens_of_model_are_escaped():
    own = ("<turn:end>", "~!b[", "*", "<|im_end|>")
    assert (
        escape_control_tokens("a<turn:end>b~!b[c<|im_end|>*", own) == "a<\u200bturn:end>b~\u200b!b[c<\u200b|im_end|>*"
    )
    assert escape_control_tokens("a<turn:end>b") == "a<turn:end>b"


@given(st.text("<>|[]/sINST_\u200b ", max_size=40))
def test_escaped_text_has_no_token(text):
    escaped = escape_control_tokens(text)
    assert not has_control_tokens(escaped)
    assert escape_control_tokens(escaped) == escaped
    assert escaped.replace("\u200b", "") == text.replace("\u200b", "")


TEXTS = [
    "a < b | c > d",
    "<|>",
    "a||b",
    "<p>hi</p>",
    "x[1]",
    "<script>",
    "[instance]",
    "[Img]",
    "<thinking>",
    "[laughs]",
    "xs <| f |> g",
    "List<String> names, Map<K, V>",
    "<section><strong>now</strong></section>",
    "(｡◕‿◕｡) <(｀^´)> [^_^]",
    "<3 |> <-- --> <!-- -->",
]


@pytest.mark.parametrize("text", TEXTS)
def test_other_text_is_unchanged(text):
    assert escape_control_tokens(text) == text
    assert find_control_token(text) is None


@pytest.mark.parametrize(
    "frame", ["{} Knead it well.", "Knead {} it.", "Knead it well.{}", "반죽하세요.\n{}\n그리고 굽고요."]
)
def test_token_is_found_anywhere(frame):
    assert [find_control_token(frame.format(token)) for token in NEVER_TEXT] == NEVER_TEXT


@pytest.mark.parametrize(
    "frame", ["{} Knead it well.", "Knead it well.{}", "Knead it well. {}\n", "{}", "One.\n {} \nTwo."]
)
def test_token_is_found_at_ends_and_alone(frame):
    assert [find_control_token(frame.format(token)) for token in AT_AN_END] == AT_AN_END


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("Bread is good.</s> And then some more of it.", "</s>"),
        ("<s> Knead it, and then you bake it.</s>", "<s>"),
        ("<s>[INST] How? [/INST] Knead it.", "[INST]"),
        ("It was <s>five</s> four euros.</s>", "</s>"),
        ("面包很好吃。</s>", "</s>"),
        ("Knead it.<|im_end", "<|im_end"),
        ("Knead it.<|im_end|", "<|im_end|"),
        ("im_end|> Knead it.", "im_end|>"),
        ("She is hungry.\n</think>\n\nKnead it.", "</think>"),
        ("Use `print()` for that. <eos>", "<eos>"),
    ],
)
def test_token_written_past_the_end_is_found(text, token):
    assert find_control_token(text) == token


@pytest.mark.parametrize(
    "text",
    [
        "A loaf is <s>five</s> four euros today, love.",
        "Only today: <s>five euros</s>",
        "<s>Five</s> four euros, and that is my last word.",
        "Wrap it in <s> and </s> and the browser strikes it out.",
        "Like so:\n```html\n<p>The price was <s>five</p>\n</s>\n```\nThat is all of it.",
        "You close it with `</s>`",
        "The template ends each turn with `<|im_end|>` and nothing else.",
        "```python\nSTOP = ['<|eot_id|>', '</s>']\n```",
        "Fill in the blank: the [MASK] sat on the mat.",
        "An SVG has its <mask> next to what it hides.",
        "Then type git clone https://example.org/<repo_name>",
        "git commit -m <commit_message>",
        "[IMG]https://example.org/bread.png[/IMG]",
        "The norm [|x|] is what we want.",
        "Vec<Option<s>> will not compile, child.",
        "let f x = x |> g <| h in f",
        "",
        "   \n ",
    ],
)
def test_markup_and_placeholders_are_accepted(text):
    assert find_control_token(text) is None
