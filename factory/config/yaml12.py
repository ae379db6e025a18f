"""Bounded parser of YAML 1.2, whose errors have line numbers.

PyYAML parses; yamlcore adds the core schema of YAML 1.2: `no` and `1:30` are strings, `0042` is 42,
`1e4` is a number, and dates stay strings. An alias counts toward the limits each time it is used.
"""

from pathlib import Path
from typing import Any

import yaml
import yamlcore

MAX_SIZE = 1_000_000
"""Maximum bytes of a file, and maximum characters plus nodes after expanding aliases. PyYAML reads about 100,000 per
second."""
MAX_DEPTH = 100
"""Maximum nesting depth; code that reads the values later may recurse too."""
_HASH = "\U0010fffd"
"""Replaces `#` while a command-line value is parsed, which has no comments."""


class YamlError(ValueError):
    """Invalid or too large YAML; the message is one line."""


def read(path: str | Path) -> Any:
    """Read a YAML file.

    Raises:
        OSError: the file cannot be read.
        YamlError: the file is not YAML, or too large.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_SIZE + 1)
    if len(content) > MAX_SIZE:
        raise YamlError(f"it has more than {MAX_SIZE:,} bytes")
    try:
        return parse(content.decode())
    except UnicodeDecodeError as problem:
        raise YamlError(f"byte {problem.start} is not UTF-8") from None


def parse(text: str) -> Any:
    """Parse a YAML text.

    Raises:
        YamlError: the text is not YAML, or expands to too much.
    """
    return _parse(_Loader, text)


def parse_value(text: str) -> Any:
    """Parse a command-line value: YAML in which `#` is an ordinary character.

    Raises:
        YamlError: the text is not YAML, or expands to too much.
    """
    return _parse(_ValueLoader, text.replace("#", _HASH))


def _parse(loader: type["_Loader"], text: str) -> Any:
    try:
        return _unshared(yaml.load(text, loader))
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise YamlError(f"{place}{problem.problem or problem.context}") from None
    except yaml.YAMLError as problem:
        raise YamlError(" ".join(str(problem).split())) from None


def _unshared(value: Any) -> Any:
    """Copy objects shared by aliases, so that an override changes only one of them."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


class _Loader(yamlcore.CoreLoader):  # type: ignore[misc]
    """Loader of the core schema with bounds, whose errors are all of one class."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._size = self._depth = self._deepest = 0
        self._shapes: dict[int, tuple[int, int]] = {}
        """Size and number of levels below, by node id."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event, before, elsewhere = self.peek_event(), self._size, self._deepest
        if self._depth == MAX_DEPTH:
            raise _mistake(event, f"more than {MAX_DEPTH} levels")
        self._depth += 1
        self._deepest = self._depth
        node = super().compose_node(parent, index)
        if not isinstance(event, yaml.AliasEvent):
            self._size += 1 + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
            self._shapes[id(node)] = self._size - before, self._deepest - self._depth
        elif id(node) in self._shapes:
            size, levels = self._shapes[id(node)]
            self._size += size
            self._deepest = self._depth + levels
        else:
            raise _mistake(event, f"*{event.anchor} is inside of itself")
        if self._deepest > MAX_DEPTH:
            raise _mistake(event, f"its aliases expand to more than {MAX_DEPTH} levels")
        self._depth -= 1
        self._deepest = max(elsewhere, self._deepest)
        if self._size > MAX_SIZE:
            raise _mistake(event, f"its aliases expand to more than {MAX_SIZE:,} characters")
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        try:  # JSON escapes a character beyond 16 bits as a surrogate pair, which PyYAML does not join
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise _mistake(node, "half a character (a lone surrogate)") from None
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, LookupError):  # such as `!!int foo`, `!!bool foo`, `!!int ""` or 5,000 digits
            raise _mistake(node, f"cannot be read as {node.tag.rpartition(':')[2]}") from None
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise _mistake(node, "a whole number of more than 64 bits")
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _mistake(key, "a key must be a text")
            if key.value == "<<" and key.style is None:
                raise _mistake(key, "`<<` is not in YAML 1.2; write the keys out")
            if key.value in seen:
                raise _mistake(key, f"{key.value!r} is given twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _ValueLoader(_Loader):
    """Loader of a value in which `#` was replaced."""

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        node.value = node.value.replace(_HASH, "#")
        return node


def _mistake(at: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)
