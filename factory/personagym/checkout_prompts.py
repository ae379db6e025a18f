"""The prompts of a PersonaGym checkout, by which the paper's runner asked judges and candidates.

Most are files. What the runner tells candidates stands in its code only, `code/utils.py`, whose syntax tree is read; no
code is run. PersonaGym's own checkout lacks one file and the prompt for tuned models, which OpenCharacter's fork has:
the file is derived from another one, and the prompt can be given by the config.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from factory.errors import InputError
from factory.personagym.checkout_files import read_text
from factory.storage import file_io

Route = Literal["api", "tuned"]
CODE = "code/utils.py"
PROMPT_FILES = (
    "prompts/rubric_grading/sys_prompt.txt",
    "prompts/rubric_grading/prompt.txt",
    "prompts/score_examples/prompt.txt",
)
ONE_EXAMPLE = "prompts/score_examples/examples.txt"
"""In OpenCharacter's fork only."""
SEVERAL_EXAMPLES = "prompts/score_examples/parallel_examples.txt"
PROMPT_PATHS = (*PROMPT_FILES, ONE_EXAMPLE, SEVERAL_EXAMPLES, CODE)
"""All files that hold prompts."""
_TOLD_IN: dict[Route, tuple[str, str]] = {
    "api": ("openai_chat_gen", "persona_prompt"),
    "tuned": ("open_character_llama3_instruct_chat_gen", "sys_prompt"),
}
"""The function that holds each prompt, and its variable."""
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class CheckoutPrompts:
    """The texts of a checkout's prompt files."""

    judge_system: str
    judge_outline: str
    """With `{rubrics}`."""
    example: str
    """With `{persona}`, `{question}` and `{rubric}`."""
    examples_outline: str
    """With `{rubrics}`."""


def fill_slots(text: str, **values: str) -> str:
    """Put values in place of the slots of a text, all at once: a slot within a value stays text."""
    return _SLOT.sub(lambda slot: values.get(slot[1], slot[0]), text)


def read_checkout_prompts(folder: str) -> CheckoutPrompts:
    """Read the prompts of a checkout.

    Raises:
        InputError: a file is missing, or lacks one of its slots.
    """
    system, outline, example = (read_text(file_io.join(folder, name)) for name in PROMPT_FILES)
    _check_slots(file_io.join(folder, PROMPT_FILES[1]), outline, ["rubrics"])
    _check_slots(file_io.join(folder, PROMPT_FILES[2]), example, ["persona", "question", "rubric"])
    return CheckoutPrompts(system, outline, example, _examples_outline(folder))


def _examples_outline(folder: str) -> str:
    path, several = file_io.join(folder, ONE_EXAMPLE), file_io.join(folder, SEVERAL_EXAMPLES)
    if file_io.exists(path):
        text = read_text(path)
    else:  # the same without the parts for the second rubric to the fifth
        path, text = several, read_text(several)
        start, end = text.find("Rubric 2 Examples"), text.rfind("Rubrics:")
        if not 0 <= start < end:
            raise InputError(f"benchmark {path}: has no part 'Rubric 2 Examples' before 'Rubrics:'; restore the file")
        text = text[:start] + text[end:]
    _check_slots(path, text, ["rubrics"])
    return text


def read_role_prompt(folder: str, route: Route) -> str:
    """Read what the runner tells a candidate, with `{persona}`, out of the checkout's code.

    Args:
        folder: the checkout.
        route: `api` for models behind an API, `tuned` for the fork's own.

    Raises:
        InputError: the code has no such prompt.
    """
    path, (function, variable) = file_io.join(folder, CODE), _TOLD_IN[route]
    give = f"give the text in evaluation.parity_prompts.{route}, with {{persona}}"
    if not file_io.exists(path):
        raise InputError(f"benchmark {path}: no such file, and evaluation.parity needs its prompt; {give}")
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        raise InputError(f"benchmark {path}: is not Python ({' '.join(str(problem).split())[:200]}); {give}") from None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    text = _told(functions[-1], variable) if functions else ""
    if "{persona}" not in text:
        raise InputError(f"benchmark {path}: has no {variable} with the persona in {function}; {give}")
    return text


def _told(function: ast.FunctionDef, variable: str) -> str:
    """Return what a function assigns and appends to a variable where it has a persona."""
    for node in ast.walk(function):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "persona":
            pieces = [_text_of(statement, variable) for statement in node.body]
            return "".join(pieces)
    return ""


def _text_of(statement: ast.stmt, variable: str) -> str:
    if isinstance(statement, ast.Assign):
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AugAssign):
        target, value = statement.target, statement.value
    else:
        return ""
    if not isinstance(target, ast.Name) or target.id != variable:
        return ""
    parts = value.values if isinstance(value, ast.JoinedStr) else [value]
    return "".join(_literal(part) for part in parts)


def _literal(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    is_persona = (
        isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name) and part.value.id == "persona"
    )
    return "{persona}" if is_persona else ""


def _check_slots(path: str, text: str, slots: Sequence[str]) -> None:
    for slot in slots:
        if text.count(f"{{{slot}}}") != 1:
            raise InputError(f"benchmark {path}: needs the slot {{{slot}}} once; restore the file")
