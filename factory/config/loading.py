"""Loading of a config file and its overrides, with actionable errors.

An error names the key, the value and, for an unknown key, the most similar valid one.
"""

import difflib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from factory.config import RunConfig, checked_path, yaml12
from factory.errors import ConfigError
from factory.text.redaction import HIDDEN, find_secrets, redact_secrets


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML config and apply `section.key=value` overrides (values are YAML too).

    Raises:
        ConfigError: the file is missing or not YAML, or a key or value is wrong.
    """
    return checked(RunConfig, read_config(path, overrides), "config key")


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a YAML config and apply overrides, without validation.

    Raises:
        ConfigError: the file is missing or not YAML, or an override has no such section.
    """
    tree = read_mapping(path, "config", "output, engine, personas")
    for override in overrides:
        _lay_over(tree, override)
    return tree


def path_argument(option: str, value: str) -> str:
    """Check and expand the path given by a command-line option, as those of a config are.

    Raises:
        ConfigError: the path is neither local nor in a bucket.
    """
    try:
        return checked_path(value)
    except ValueError as problem:
        raise ConfigError(f"{option} {_short(value)}: {problem}") from None


def read_mapping(path: str | Path, option: str, such_as: str) -> dict[str, Any]:
    """Read a YAML file whose root is a mapping.

    Args:
        path: the file.
        option: name of the command-line option that gives the file, without the hyphens.
        such_as: examples of its keys, for the error.

    Raises:
        ConfigError: the file is missing, not YAML, or not a mapping.
    """
    try:
        tree = yaml12.read(path)
    except OSError as problem:
        raise ConfigError(f"{option} {path}: {problem.strerror}; give --{option} an existing YAML file") from None
    except yaml12.YamlError as problem:
        raise ConfigError(f"{option} {path}: not YAML: {problem}") from None
    if not isinstance(tree, dict):
        held = "nothing" if tree is None else f"a {type(tree).__name__}"
        raise ConfigError(f"{option} {path}: holds {held}, not a mapping of keys such as {such_as}")
    return tree


Tree = TypeVar("Tree", bound=BaseModel)


def checked(model: type[Tree], tree: dict[str, Any], noun: str) -> Tree:
    """Validate a mapping as a tree of settings.

    Args:
        model: class of the tree's root.
        tree: content of the file.
        noun: what errors call one of its keys, such as "config key".

    Raises:
        ConfigError: a key or value is wrong.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as problem:
        raise ConfigError("; ".join(_explain(error, model, noun) for error in problem.errors())) from None


def _lay_over(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    *sections, last = key.split(".")
    # A value that may itself contain keys and secrets is not shown.
    shown = _short(f"{key}{equals}{HIDDEN if set(value) & set('{:') else redact_secrets({last: value})[last]}")
    if not equals or not all([*sections, last]) or len(sections) > yaml12.MAX_DEPTH:
        raise ConfigError(f"override {shown}: write it as section.key=value")
    node: Any = tree
    try:
        laid = yaml12.parse_value(value)
        for section in sections:
            node = node[int(section)] if isinstance(node, list) else node.setdefault(section, {})
        node[int(last) if isinstance(node, list) else last] = laid
    except yaml12.YamlError as problem:
        raise ConfigError(f"override {shown}: the value is not YAML ({problem}); quote it") from None
    except (TypeError, ValueError, IndexError, AttributeError):
        raise ConfigError(f"override {shown}: the config has nothing to set at {_short(key)}") from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:200]}...")


def _explain(error: Any, root: type[BaseModel], noun: str) -> str:
    unknown = error["type"] == "extra_forbidden"
    # pydantic's path contains the tags of discriminated unions; the file does not.
    path = [part for part in error["loc"][:-1] if part not in _TAGS]
    path += [part for part in error["loc"][-1:] if part not in _TAGS or unknown]
    where = ".".join(map(str, path))
    if unknown:
        here = _keys_beside(error["loc"], root)
        near = difflib.get_close_matches(str(error["loc"][-1]), here, n=1)
        return f"{noun} {where!r} is unknown; " + (
            f"did you mean {near[0]!r}?" if near else f"known there are {', '.join(here)}"
        )
    if error["type"] == "missing":
        return f"{noun} {where!r} is missing"
    if error["type"] == "union_tag_not_found":
        kinds = _TAGS[:3] if where == "engine" else _TAGS
        return f"{noun} '{where}.kind' is missing: give one of {', '.join(map(repr, kinds))}"
    if error["type"] == "union_tag_invalid":
        return f"{noun} '{where}.kind' is {error['ctx']['tag']!r}: give {error['ctx']['expected_tags']}"
    message = _WAYS_OUT.get(error["type"], error["msg"].removeprefix("Value error, "))
    # The value may be the secret itself in place of its variable, or a numeric secret.
    hidden = where.endswith("_env") or any(find_secrets(error["input"]))
    value = HIDDEN if hidden else textwrap.shorten(repr(redact_secrets(error["input"])), 100, placeholder=" ...")
    return f"{noun} {where!r} is {value}: {message}" if where else f"{noun.split()[0]}: {message}"


_TAGS = ("vllm", "openai", "scripted", "served")

_WAYS_OUT = {
    "dict_type": "give a section, which has keys of its own",
    "model_type": "give a section, which has keys of its own",
    "model_attributes_type": "give a section, which has keys of its own",
    "tuple_type": "give a list, such as [a, b]",
    "string_type": "give a text; quote what YAML takes for something else",
    "string_pattern_mismatch": "give small letters, digits and hyphens",
    "too_short": "give at least one",
}
"""Advice by pydantic error type, where pydantic's message is in Python terms."""


def _keys_beside(loc: Sequence[str | int], root: type[BaseModel]) -> list[str]:
    """Return the keys of the section that contains the last key of a path."""
    sections: list[type[BaseModel]] = [root]
    for part in loc[:-1]:
        if part in _TAGS:
            sections = [section for section in sections if part in get_args(section.model_fields["kind"].annotation)]
        elif isinstance(part, str):
            fields = [field for section in sections for key, field in _fields(section) if key == part]
            sections = [inner for field in fields for inner in sections_in(field.annotation)]
    return [key for section in sections for key, _ in _fields(section)]


def _fields(section: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield the fields of a section by the keys that a file has for them."""
    for name, field in section.model_fields.items():
        yield field.alias or name, field


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that a field's annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from sections_in(inner)
