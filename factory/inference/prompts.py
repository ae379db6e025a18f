"""Prompt files to messages: `prompts/<id>.md`, YAML front matter above a strict Jinja body.

The body is cut into parts at the lines `# system` and `# user` before anything is rendered, and
values are put in as text, so no data can add a part, a statement or a variable to a prompt.
"""

import difflib
import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, ValidationError

from factory import records
from factory.config import yaml12
from factory.errors import PromptError
from factory.records import Message
from factory.resources import RESOURCES

BUILT_IN = RESOURCES / "prompts"

_jinja = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


class FrontMatter(BaseModel):
    """The fields between the two `---` lines of a prompt file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    version: int
    inputs: tuple[str, ...]
    output: str
    """`text`, or the record whose JSON schema the reply must follow."""


@dataclass(frozen=True)
class Prompt:
    """A prompt that compiles and uses exactly its declared inputs."""

    ref: str
    """`id@version#hash`, which every row generated with it carries."""
    text: str
    """The whole file, for data set cards."""
    inputs: tuple[str, ...]
    output: str
    parts: tuple[tuple[str, str], ...]
    """Role and Jinja source of each message."""

    def render(self, **inputs: Any) -> tuple[Message, ...]:
        """Fill the inputs in.

        Raises:
            PromptError: an input is missing, or an expression fails.
        """
        try:
            return tuple(Message(role, _compiled(body).render(inputs).strip()) for role, body in self.parts)
        except Exception as problem:  # what the prompt's own expressions raise
            raise PromptError(f"prompt {self.ref}: {' '.join(str(problem).split())}") from None

    @property
    def schema(self) -> str | None:
        """The JSON schema of the reply as text, or None for free text."""
        if self.output == "text":
            return None
        return json.dumps(getattr(records, self.output).model_json_schema())


@cache
def _compiled(body: str) -> jinja2.Template:
    return _jinja.from_string(body)


def load_prompt(prompt_id: str, prompts_dir: str | None = None) -> Prompt:
    """Read and check a prompt file; `prompts_dir` comes before the built-in ones.

    Raises:
        PromptError: there is no such file, or it is wrong in a way that the message names.
    """
    name = f"{prompt_id}.md"
    path = Path(prompts_dir) / name if prompts_dir and (Path(prompts_dir) / name).exists() else BUILT_IN / name
    if prompts_dir:
        _check_folder(Path(prompts_dir), prompt_id)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise PromptError(f"prompt {path}: {problem}") from None
    prompt = _parse(path, text)
    if path.parent != BUILT_IN and (BUILT_IN / name).exists():
        _check_same_interface(path, prompt, load_prompt(prompt_id))
    return prompt


def find_prompt(ref: str, prompts_dir: str | None) -> Prompt | None:
    """Return the prompt of a table by its `ref`, or None if that version is no longer available."""
    for folder in dict.fromkeys((prompts_dir, None)):
        with suppress(PromptError):  # the folder may be missing, or have other prompts by now
            prompt = load_prompt(ref.partition("@")[0], folder)
            if prompt.ref == ref:
                return prompt
    return None


def _check_folder(folder: Path, prompt_id: str) -> None:
    """Check the names of a user's prompts, as one that no step uses would be ignored silently."""
    if not folder.is_dir():
        raise PromptError(f"prompts_dir {folder}: no such folder")
    known = sorted(path.stem for path in BUILT_IN.glob("*.md") if path.stem != "README")
    for path in sorted(folder.glob("*.md")):
        if path.stem in (*known, prompt_id, "README"):
            continue
        near = difflib.get_close_matches(path.stem.lower(), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise PromptError(f"prompt {path}: no prompt is called {path.stem!r}; {hint}")


@cache
def _parse(path: Path, text: str) -> Prompt:
    try:
        _, front, body = text.split("---\n", 2)
        matter = FrontMatter.model_validate(yaml12.parse(front))
    except yaml12.YamlError as problem:
        raise PromptError(f"prompt {path}: the front matter is not YAML: {problem}") from None
    except ValueError as problem:  # pydantic's error is one too
        reason = _explain(problem) if isinstance(problem, ValidationError) else "no front matter"
        raise PromptError(
            f"prompt {path}: {reason}; it needs id, version, inputs and output between --- lines"
        ) from None
    parts = _split_parts(path, body)
    _check(path, matter, parts)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return Prompt(
        ref=f"{matter.id}@{matter.version}#{digest}", text=text, inputs=matter.inputs, output=matter.output, parts=parts
    )


def _explain(problem: ValidationError) -> str:
    error = problem.errors()[0]
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def _check_same_interface(path: Path, prompt: Prompt, built_in: Prompt) -> None:
    """Check that a user's prompt has the inputs and the output of the built-in one."""
    for name in prompt.inputs:
        if name not in built_in.inputs:
            raise PromptError(f"prompt {path}: its input {name!r} is never given; known are {list(built_in.inputs)}")
    if prompt.output != built_in.output:
        raise PromptError(f"prompt {path}: its output is {prompt.output!r}; it must be {built_in.output!r}")


def _split_parts(path: Path, body: str) -> tuple[tuple[str, str], ...]:
    parts: list[tuple[str, list[str]]] = []
    for line in body.splitlines():
        if line.strip() in ("# system", "# user"):
            parts.append((line.strip().removeprefix("# "), []))
        elif parts:
            parts[-1][1].append(line)
        elif line.strip():
            raise PromptError(f"prompt {path}: text before the first '# system' or '# user' line")
    if not parts:
        raise PromptError(f"prompt {path}: has no '# system' or '# user' line")
    return tuple((role, "\n".join(lines).strip("\n")) for role, lines in parts)


def _check(path: Path, matter: FrontMatter, parts: tuple[tuple[str, str], ...]) -> None:
    if matter.id != path.stem:
        raise PromptError(f"prompt {path}: its id is {matter.id!r}; an id is the file's name")
    if matter.output != "text" and not hasattr(records, matter.output):
        raise PromptError(f"prompt {path}: output {matter.output!r} is neither 'text' nor a record of factory.records")
    used: set[str] = set()
    for _, body in parts:
        try:
            used |= find_undeclared_variables(_jinja.parse(body))
        except jinja2.TemplateSyntaxError as problem:
            raise PromptError(f"prompt {path}: {problem.message} (Jinja, line {problem.lineno} of its part)") from None
    for missing in sorted(used - set(matter.inputs)):
        raise PromptError(
            f"prompt {path}: uses {{{{ {missing} }}}}, which is not one of its inputs {list(matter.inputs)}"
        )
    for unused in sorted(set(matter.inputs) - used):
        raise PromptError(f"prompt {path}: never uses its input {unused!r}")
