"""Prompt files to messages: `prompts/<id>.md`, YAML front matter above a strict Jinja body.

The body is cut into parts at the lines `# system` and `# user` before anything is rendered, and
values are put in as text, so no data can add a part, a statement or a variable to a prompt.
"""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import jinja2
from jinja2.meta import find_undeclared_variables
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from factory import records
from factory.config import yaml12
from factory.config.prompt_places import BUILT_IN, NO_PLACES, PromptPlaces, describe_unknown, prompt_names
from factory.errors import PromptError, StorageError
from factory.records import Message
from factory.storage import file_io

MAX_FIELD = 2000
"""Characters of an item of a profile; the longest of the paper's has 700."""

_jinja = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)


class OwnField(BaseModel):
    """An item of a profile that the prompt defines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_most: int = Field(ge=1, le=MAX_FIELD)
    """Characters in guided decoding."""


class FrontMatter(BaseModel):
    """The fields between the two `---` lines of a prompt file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    version: int
    inputs: tuple[str, ...]
    output: str
    """`text`, or the record whose JSON schema the reply must follow."""
    fields: dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")], OwnField] = {}
    """Items of a profile beside the paper's eight."""


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
    fields: tuple[tuple[str, int], ...] = ()
    """Items of a profile beside the paper's eight, with the most characters of each."""
    path: str = ""
    """The user's file; empty for a built-in prompt."""

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
        return json.dumps(records.reply_model(self.output, self.fields).model_json_schema())


@cache
def _compiled(body: str) -> jinja2.Template:
    return _jinja.from_string(body)


def load_prompt(prompt_id: str, places: PromptPlaces = NO_PLACES) -> Prompt:
    """Read and check a prompt file.

    Args:
        prompt_id: its name.
        places: of the user's prompts, which come before the built-in ones.

    Raises:
        PromptError: there is no such file, or it is wrong in a way that the message names.
        StorageError: a storage does not answer.
    """
    if places.folder:
        _check_folder(Path(places.folder), prompt_id)
    built_in = str(BUILT_IN / f"{prompt_id}.md")
    path = dict(places.files).get(prompt_id) or _in_folder(places.folder, prompt_id) or built_in
    try:
        content = file_io.read_if_there(path)
        text = (content or b"").decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as problem:
        raise PromptError(f"prompt {path}: {problem}") from None
    if content is None:
        raise PromptError(f"prompt {path}: no such file; give the path of a prompt")
    if path == built_in:
        return _parse(path, prompt_id, text)
    prompt = replace(_parse(path, prompt_id, text), path=path)
    if prompt_id in prompt_names():
        _check_same_interface(path, prompt, load_prompt(prompt_id))
    return prompt


def _in_folder(folder: str | None, prompt_id: str) -> str | None:
    path = Path(folder or "") / f"{prompt_id}.md"
    return str(path) if folder and path.exists() else None


def own_prompts(prompt_ids: Iterable[str], places: PromptPlaces) -> list[str]:
    """Return a line for each of these prompts that is the user's: its reference and its path."""
    prompts = (load_prompt(prompt_id, places) for prompt_id in prompt_ids)
    return [f"Prompt of your own: {prompt.ref} from {prompt.path}" for prompt in prompts if prompt.path]


def find_prompt(ref: str, places: PromptPlaces) -> Prompt | None:
    """Return the prompt of a table by its `ref`, or None if that version is no longer available."""
    for each in dict.fromkeys((places, PromptPlaces(places.folder), NO_PLACES)):
        with suppress(PromptError, StorageError):  # a place may be missing, or have other prompts by now
            prompt = load_prompt(ref.partition("@")[0], each)
            if prompt.ref == ref:
                return prompt
    return None


def _check_folder(folder: Path, prompt_id: str) -> None:
    """Check the names of a user's prompts, as one that no step uses would be ignored silently."""
    if not folder.is_dir():
        raise PromptError(f"prompts_dir {folder}: no such folder")
    known = (*prompt_names(), prompt_id, "README")
    for path in sorted(folder.glob("*.md")):
        if path.stem not in known:
            raise PromptError(f"prompt {path}: {describe_unknown(path.stem)}")


@cache
def _parse(path: str, prompt_id: str, text: str) -> Prompt:
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
    _check(path, prompt_id, matter, parts)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return Prompt(
        ref=f"{matter.id}@{matter.version}#{digest}",
        text=text,
        inputs=matter.inputs,
        output=matter.output,
        parts=parts,
        fields=tuple((name, field.at_most) for name, field in matter.fields.items()),
    )


def _explain(problem: ValidationError) -> str:
    error = problem.errors()[0]
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def _check_same_interface(path: str, prompt: Prompt, built_in: Prompt) -> None:
    """Check that a user's prompt has the inputs and the output of the built-in one.

    An input that is left out is most often forgotten, and a prompt without the persona writes the same for all.
    """
    if missing := [f"{{{{ {name} }}}}" for name in built_in.inputs if name not in prompt.inputs]:
        raise PromptError(
            f"prompt {path}: has no {', '.join(missing)}, which the built-in prompt has; add it to inputs and text"
        )
    for name in prompt.inputs:
        if name not in built_in.inputs:
            raise PromptError(f"prompt {path}: its input {name!r} is never given; known are {list(built_in.inputs)}")
    if prompt.output != built_in.output:
        raise PromptError(f"prompt {path}: its output is {prompt.output!r}; it must be {built_in.output!r}")


def _split_parts(path: str, body: str) -> tuple[tuple[str, str], ...]:
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


def _check(path: str, prompt_id: str, matter: FrontMatter, parts: tuple[tuple[str, str], ...]) -> None:
    if matter.id != prompt_id:
        raise PromptError(f"prompt {path}: its id is {matter.id!r}; an id is the prompt's name, {prompt_id!r}")
    if matter.output != "text" and not hasattr(records, matter.output):
        raise PromptError(f"prompt {path}: output {matter.output!r} is neither 'text' nor a record of factory.records")
    if matter.fields and matter.output != records.ProfileFields.__name__:
        raise PromptError(f"prompt {path}: has fields, which only a prompt of profiles may have")
    for name in matter.fields:
        if name in records.ProfileFields.model_fields or hasattr(BaseModel, name):
            raise PromptError(f"prompt {path}: the name of the field {name!r} is taken; give it another one")
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
