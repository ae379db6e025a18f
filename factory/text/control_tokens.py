"""Control tokens: the strings by which chat templates separate turns, such as `<|im_end|>`, `[/INST]` and `</s>`.

The only list of them, for escaping them in data (engines, training, playground, judges) and for rejecting
replies that contain them (curation). The rendered template is tokenized as a whole, so a control token in data
would end its own message; in a reply it shows that a model wrote past its end.

One way of escaping, a zero-width space behind the first character: `TokenEscape` for the tokens of a known
tokenizer, `escape_control_tokens` for those of all families, where a server has the tokenizer.

Every repeat in the patterns is bounded, so no text takes long.
"""

import re
from collections.abc import Iterable
from functools import cache

_BAR = "[|\uff5c]"
_NEVER_TEXT = (
    # ChatML, LLaMA 3 and 4, Phi, Qwen, Command R, GLM, Granite, gpt-oss; DeepSeek's bars are wide.
    rf"<{_BAR}[^|\uff5c<>\s]{{1,40}}{_BAR}>",
    r"<\|(?:turn|channel|think|image|audio|tool|tool_call|tool_response)>",  # Gemma 4
    r"<(?:turn|channel|image|audio|tool|tool_call|tool_response)\|>",
    r"<</?SYS>>",  # LLaMA 2
    r"</?(?:bos|eos|eod|eop|sop|eot|eom|BOS|EOS|EOD|EOP|EOT)>",  # Gemma, GLM, Qwen
    r"<(?:BOS|EOS|EOP|PAD|UNK|MASK)_TOKEN>",  # Command R
    r"<(?:start|end)_of_(?:turn|image|audio)>|<(?:image|audio)_soft_token>",  # Gemma
    r"<(?:begin(?:ning)?|end)_of_(?:text|sentence|document|utterance)>",  # MiniMax, Idefics
    r"</?(?:think|tool_calls?|tool_response)>",  # Qwen, DeepSeek, GLM
    r"</?(?:seed:[a-z_]{2,40}|minimax:tool_call)>",  # Seed-OSS, MiniMax
    r"<(?:file_sep|gh_stars|empty_output|fim_(?:prefix|middle|suffix|pad))>",  # StarCoder, SmolLM
    r"<(?:jupyter_[a-z]{3,20}|issue_(?:start|comment|closed)|commit_(?:before|after|msg))>",
    r"<(?:unused|reserved_|reserved_token_|extra_id_|SPECIAL_)\d{1,5}>",  # Gemma, Baichuan, T5, Nemotron
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_(?:CALLS|RESULTS|CONTENT)|THINK|MODEL_SETTINGS)\]",  # Mistral
    r"\[[gs]MASK\]|\[UNUSED_TOKEN_\d{1,5}\]",  # GLM, InternLM
    r"\[\|[A-Za-z_]{3,40}\|\]",  # EXAONE
    r"\]~!?b[\[\]]|\[e~\[",  # MiniMax
)
_TEXT_BETWEEN_OTHERS = (
    r"</?s>",  # LLaMA 2, Mistral; HTML strikes out with it
    r"<(?:pad|unk|sep|cls|mask|PAD|UNK|SEP|CLS|MASK)>",
    r"\[(?:MASK|CLS|SEP|PAD|UNK|BOS|EOS|EOT|unused\d{1,5})\]",  # BERT, Kimi
    r"\[(?:IMG_BREAK|IMG_END|BEGIN_AUDIO|TRANSCRIBE)\]",  # Mistral
)
"""Also used as markup or in explanations within a text, but never at its end."""
_ALSO_TEXT = (
    rf"\[{_BAR}[^|\uff5c\[\]\s]{{1,40}}{_BAR}\]",
    r"</?tools?>",
    r"<(?:filename|repo_?name|pr(?:_[a-z_]{2,20})?|(?:issue|jupyter|commit|fim)_[a-z]{1,20})>",  # StarCoder
    r"\[/?(?:ARGS|CALL_ID|IMG|AUDIO|PREFIX|MIDDLE|SUFFIX|TOOL_[A-Z]{1,10})\]",  # Mistral
)
"""Placeholders, forum codes and tags that people write: escaped in data, accepted in a reply."""


def _any(patterns: Iterable[str]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)


_SPACE = "\u200b"
_CERTAIN = re.compile(_any(_NEVER_TEXT))
_FAMILIES = re.compile(_any((*_NEVER_TEXT, *_TEXT_BETWEEN_OTHERS, *_ALSO_TEXT)))
_HTML = re.compile(
    "</?(?:a|b|blockquote|br|caption|code|del|div|em|h[1-6]|hr|i|img|li|ol|p|pre|small|span|strong|sub|sup|table|tbody"
    "|td|tfoot|th|thead|tr|u|ul)>"
)
_PARTIAL = re.compile(rf"\A\w{{1,20}}{_BAR}>|<{_BAR}\w{{2,20}}{_BAR}?\Z")
"""A control token of which only a part was written."""
_EDGE = _any(_TEXT_BETWEEN_OTHERS)
_AT_THE_EDGE = re.compile(rf"\A(?:{_EDGE})|(?:{_EDGE})\Z|^[ \t]{{0,20}}(?:{_EDGE})[ \t]{{0,20}}$|</s>", re.MULTILINE)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_STRUCK_OUT = re.compile(r"<s>(?:(?!</?s>).){1,1000}</s>", re.DOTALL)
_REMOVED = "\ufffc"
"""Replaces removed text, so that its neighbors do not become the start or the end."""


def find_control_token(text: str) -> str | None:
    """Return the first control token of a reply that is not part of its content, or None.

    Code may contain any. `<s>`, `[MASK]` and the like may be markup or the topic of a text: they count at
    the start or end of the reply or alone in a line, and `</s>` also without an opening tag.
    """
    rest = _CODE.sub(_REMOVED, text).strip()
    if not _STRUCK_OUT.fullmatch(rest):
        rest = _STRUCK_OUT.sub(_REMOVED, rest)
    found = _CERTAIN.search(rest) or _PARTIAL.search(rest) or _AT_THE_EDGE.search(rest)
    return found[0].strip() if found else None


def has_control_tokens(text: str) -> bool:
    """Return whether a text contains a string that is a control token anywhere."""
    return bool(_CERTAIN.search(text))


def find_family_tokens(source: str) -> set[str]:
    """Return the strings in a chat template that are control tokens of some family, also where they are mere text."""
    return {match[0] for match in _FAMILIES.finditer(source)}


def is_plain_text(token: str) -> bool:
    """Return whether an added token is text that a tokenizer reads at once: white space or HTML, as Gemma 3 has."""
    return not token.strip(f" \t\r\n\u2581{_SPACE}") or bool(_HTML.fullmatch(token))


def escape_control_tokens(text: str, special: tuple[str, ...] = ()) -> str:
    """Break control tokens in data by a zero-width space: servers such as vLLM's would interpret them.

    Args:
        text: a part of the model's input.
        special: the model's own control tokens, in addition to those of the families such as `<|im_end|>`.
    """
    return _any_of(special).sub("\\g<0>" + _SPACE, text)


@cache
def _any_of(special: tuple[str, ...]) -> re.Pattern[str]:
    """Compile a pattern of the first character of each control token, also of one inside another."""
    own = _rests_by_first(token for token in special if not _FAMILIES.match(token))
    first = rf"(?=[<\[\]])(?={_FAMILIES.pattern})[\s\S]"  # the first assertion halves the time
    return re.compile("|".join([first, *(f"{start}(?={rests})" for start, rests in own.items())]))


def _rests_by_first(tokens: Iterable[str]) -> dict[str, str]:
    """Return patterns by the first character of tokens: what follows it. A single character cannot be broken."""
    rests: dict[str, list[str]] = {}
    for token in tokens:
        if len(token) > 1 and token[0] != _SPACE:  # or a run of spaces would take quadratic time
            rests.setdefault(re.escape(token[0]), []).append(re.escape(token[1:]))
    return {first: f"{_SPACE}*+(?:{'|'.join(found)})" for first, found in rests.items()}


class TokenEscape:
    """Breaks given control tokens in data, reversibly: a text that is escaped already gets one more space.

    Args:
        tokens: literal strings; no others are touched.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        rests = _rests_by_first(tokens)
        self._first = re.compile("|".join(f"{first}(?={rest})" for first, rest in rests.items()) or "(?!)")
        self._space = re.compile("|".join(f"(?<={first}){_SPACE}(?={rest})" for first, rest in rests.items()) or "(?!)")

    def escape(self, text: str) -> str:
        """Return a text without the tokens."""
        return self._first.sub("\\g<0>" + _SPACE, text)

    def unescape(self, text: str) -> str:
        """Return the text that was escaped."""
        return self._space.sub("", text)
