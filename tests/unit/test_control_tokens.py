"""Control marks: every family's are broken in data, and found in a reply unless they belong to what it says."""
# ruff: noqa: RUF001 - DeepSeek's bars are wide

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.text.control_tokens import escape_control_tokens, holds_marks, stray_mark

NEVER_TEXT_MARKS = """<|im_start|> <|im_end|> <|endoftext|> <|begin_of_text|> <|eot_id|> <|start_header_id|>
<|python_tag|> <|reserved_special_token_250|> <|end|> <|user|> <|assistant|> <|vision_start|> <|START_OF_TURN_TOKEN|>
<|START_RESPONSE|> <|observation|> <|start_of_role|> <|channel|> <|message|> <|return|> <｜end▁of▁sentence｜> <｜User｜>
<｜tool▁calls▁begin｜> <|turn> <turn|> <|channel> <channel|> <<SYS>> <</SYS>> <bos> <eos> <EOS> <eop> <sop> <EOS_TOKEN>
<start_of_turn> <end_of_turn> <start_of_image> <image_soft_token> <beginning_of_sentence> <end_of_text> <think> </think>
<tool_call> </tool_call> <tool_response> <seed:bos> </seed:think> <minimax:tool_call> <file_sep> <fim_middle>
<issue_start> <jupyter_output> <commit_before> <unused7> <reserved_106> <extra_id_0> <SPECIAL_12> [INST] [/INST]
[TOOL_CALLS] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [SYSTEM_PROMPT] [THINK] [/THINK] [MODEL_SETTINGS]
[gMASK] [UNUSED_TOKEN_145] [|assistant|] [|endofturn|] ]~b] ]~!b[ [e~["""
AT_AN_END_MARKS = "<s> </s> <pad> <unk> <mask> <SEP> [MASK] [CLS] [SEP] [PAD] [UNK] [BOS] [EOS] [IMG_BREAK]"
ALSO_TEXT_MARKS = "<repo_name> <reponame> <filename> <pr_diff> <tool> </tools> [IMG] [ARGS] [/SUFFIX] [|x|]"
NEVER_TEXT, AT_AN_END, ALSO_TEXT = NEVER_TEXT_MARKS.split(), AT_AN_END_MARKS.split(), ALSO_TEXT_MARKS.split()


@pytest.mark.parametrize("marks", [NEVER_TEXT, AT_AN_END, ALSO_TEXT], ids=["never text", "at an end", "also text"])
def test_marks_in_data_are_broken(marks):
    for mark in marks:
        broken = escape_control_tokens(f"a{mark}b")
        assert mark not in broken
        assert broken.replace("\u200b", "") == f"a{mark}b"


def test_a_mark_inside_another_is_broken_too():
    assert "<|im_end|>" not in escape_control_tokens("<<|im_end|>|im_end|><|im_<|im_end|>end|>")


def test_a_models_own_tokens_are_broken_too():
    own = ("<turn:end>", "~!b[", "*", "<|im_end|>")
    assert (
        escape_control_tokens("a<turn:end>b~!b[c<|im_end|>*", own) == "a<\u200bturn:end>b~\u200b!b[c<\u200b|im_end|>*"
    )
    assert escape_control_tokens("a<turn:end>b") == "a<turn:end>b"


@given(st.text("<>|[]/sINST_\u200b ", max_size=40))
def test_no_text_holds_a_mark_once_broken(text):
    broken = escape_control_tokens(text)
    assert not holds_marks(broken)
    assert escape_control_tokens(broken) == broken
    assert broken.replace("\u200b", "") == text.replace("\u200b", "")


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
def test_other_text_stays_as_it_is(text):
    assert escape_control_tokens(text) == text
    assert stray_mark(text) is None


@pytest.mark.parametrize(
    "frame", ["{} Knead it well.", "Knead {} it.", "Knead it well.{}", "반죽하세요.\n{}\n그리고 굽고요."]
)
def test_a_mark_anywhere_in_a_reply_is_stray(frame):
    assert [stray_mark(frame.format(mark)) for mark in NEVER_TEXT] == NEVER_TEXT


@pytest.mark.parametrize(
    "frame", ["{} Knead it well.", "Knead it well.{}", "Knead it well. {}\n", "{}", "One.\n {} \nTwo."]
)
def test_a_mark_at_an_end_or_alone_in_a_line_is_stray(frame):
    assert [stray_mark(frame.format(mark)) for mark in AT_AN_END] == AT_AN_END


@pytest.mark.parametrize(
    ("text", "mark"),
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
def test_a_mark_that_was_written_past_the_end_is_stray(text, mark):
    assert stray_mark(text) == mark


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
def test_markup_code_and_placeholders_are_no_stray_marks(text):
    assert stray_mark(text) is None
