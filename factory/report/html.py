"""The report as one file: a template, a style, a script, and all data as JSON.

The page asks nobody for anything: its policy forbids all but its own style and script, by their
hashes. Texts of a run never meet HTML: they are JSON here and `textContent` there.
"""

import base64
import hashlib
import json
import re
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

STYLE = "report.css"
SCRIPTS = (
    "elements.js", "charts.js", "flow.js", "overview.js", "map.js", "profiles.js", "browser.js", "dialogues.js",
    "safety.js", "training.js", "evaluation.js", "report.js",
)  # fmt: skip
"""One script in parts, in this order."""
_UNSAFE = "<>&\u2028\u2029"
_HALVES = re.compile("[\ud800-\udfff]")


def render(data: dict[str, Any]) -> bytes:
    """The page that shows some data."""
    style, script = read_static(STYLE), "".join(map(read_static, SCRIPTS))
    policy = (
        f"default-src 'none'; style-src '{_hash_of(style)}'; script-src '{_hash_of(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    template = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    source = resources.files("factory.report").joinpath("templates", "index.html.j2").read_text(encoding="utf-8")
    page = template.from_string(source).render(
        policy=policy, style=Markup(style), script=Markup(script), data=Markup(as_json(data))
    )
    return page.encode()


def read_static(name: str) -> str:
    """A file of the page."""
    return resources.files("factory.report").joinpath("static", name).read_text(encoding="utf-8")


def as_json(data: Any) -> str:
    """JSON that can stand in an HTML page whatever its texts hold, lone surrogates too; numbers that are none are null."""  # noqa: E501
    text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in _UNSAFE:
        text = text.replace(character, _escaped(character))
    return _HALVES.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _hash_of(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
