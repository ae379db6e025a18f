"""Paths in the settings: local, in a bucket or on the Hugging Face hub, with `~` and `$NAME` expanded."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from string import Template
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator

BUCKETS = ("s3://", "gs://")
HUB = "hf://"


def expanded(path: str) -> str:
    """Expand `~`, `$NAME` and `${NAME}` in a path; `$$` is a dollar sign.

    Raises:
        ValueError: a variable is not set, or the home folder does not exist.
    """
    way_out = "or write $$ for a dollar sign"
    try:
        filled = Template(path).substitute({name: value for name, value in os.environ.items() if value})
    except KeyError as problem:
        raise ValueError(f"the environment variable {problem.args[0]} is not set; set it, {way_out}") from None
    except ValueError:
        raise ValueError(f"no name of a variable follows the dollar sign; give one, {way_out}") from None
    filled = os.path.expanduser(filled)
    if filled.startswith("~"):
        raise ValueError("there is no such home folder; write ./~... for a file of that name")
    return filled


def _checked(path: str, *schemes: str) -> str:
    if not path.strip() or "\0" in path or path.endswith("://"):
        raise ValueError("give a whole path")
    path = expanded(path)
    if any("\ud800" <= character <= "\udfff" for character in path):  # from an environment variable that is not UTF-8
        raise ValueError("give a path in UTF-8")
    if "::" in path:
        raise ValueError("give a path without `::`; a file inside of another must be unpacked first")
    scheme, separator, rest = path.partition("://")
    if separator and scheme + separator not in schemes:
        raise ValueError(" or ".join(["give a local path", *(f"{one}{_FORMS[one]}" for one in schemes)]))
    if scheme + separator in BUCKETS and not {"", ".", ".."}.isdisjoint(rest.removesuffix("/").split("/")):
        raise ValueError("give the bucket, and whole names between the slashes")
    return path


_FORMS = {"s3://": "bucket/prefix", "gs://": "bucket/prefix", HUB: "datasets/org/name/path"}


def _local(path: str) -> str:
    return _checked(path)


def checked_path(path: str) -> str:
    """Check and expand a path that is local or in a bucket.

    Raises:
        ValueError: the path is neither.
    """
    return _checked(path, *BUCKETS)


def _model(ref: str) -> str:
    if ref.startswith((HUB, "https://huggingface.co/")):
        raise ValueError("give the id alone, as org/name or org/name@revision")
    return checked_path(ref)


def _sources(value: Any) -> Any:
    many = [value] if isinstance(value, str) else value
    if not isinstance(many, (list, tuple)) or not many or not all(isinstance(one, str) for one in many):
        raise ValueError("give a file, a folder or a glob, or a list of them")
    filled = tuple(_checked(one, *BUCKETS, HUB) for one in many)
    return filled[0] if isinstance(value, str) else filled


@dataclass(frozen=True)
class Role:
    """The use of a path, which decides the folder that a relative one is resolved in (`RunConfig.with_paths`)."""

    name: Literal["input", "output", "model", "template"]


LocalPath = Annotated[str, AfterValidator(_local), Role("input")]
InputPath = Annotated[str, AfterValidator(checked_path), Role("input")]
"""A local path, s3://... or gs://...; a local one not in the current folder may be one of the shipped files."""
OutputPath = Annotated[str, AfterValidator(checked_path), Role("output")]
"""A local path, s3://bucket/prefix or gs://bucket/prefix."""
ModelRef = Annotated[str, AfterValidator(_model), Role("model")]
"""`embedded`, a folder in Hugging Face format (local, s3:// or gs://), or a Hugging Face id (org/name[@revision])."""
Source = Annotated[str | tuple[str, ...], BeforeValidator(_sources), Role("input")]
"""A path or a list of paths, each a file, a folder or a glob; local, s3://, gs:// or hf://."""


def role_of(annotation: Any, metadata: Iterable[Any] = ()) -> str | None:
    """Return the role of the paths in a field by its annotation; None for fields without a path."""
    for mark in metadata:
        if isinstance(mark, Role):
            return mark.name
    inner = [*getattr(annotation, "__metadata__", ()), *get_args(annotation)]
    return next((found for one in inner if (found := one.name if isinstance(one, Role) else role_of(one))), None)
