"""The report as one self-contained HTML file: a template, a style, a script, and all data as JSON.

The page makes no external requests: its policy allows only its own style and script, by their hashes. Texts of a
run are never parsed as HTML: they are JSON in the file and `textContent` in the page.
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
    "elements.js", "charts.js", "flow.js", "outcome.js", "overview.js", "map.js", "population.js",
    "profiles.js", "browser.js", "dialogues.js", "judged.js", "safety.js", "training.js", "evaluation.js", "report.js",
)  # fmt: skip
"""The parts of the script, in this order."""
_UNSAFE = "<>&\u2028\u2029"
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def render(data: dict[str, Any]) -> bytes:
    """Return the page with its data."""
    style, script = read_static(STYLE), "".join(map(read_static, SCRIPTS))
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    template = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    source = resources.files("factory.report").joinpath("templates", "index.html.j2").read_text(encoding="utf-8")
    page = template.from_string(source).render(
        policy=policy, style=Markup(style), script=Markup(script), data=Markup(to_json(data))
    )
    return page.encode()


def read_static(name: str) -> str:
    """Return the text of a file in `static/`."""
    return resources.files("factory.report").joinpath("static", name).read_text(encoding="utf-8")


def to_json(data: Any) -> str:
    """Return JSON that is safe inside an HTML page for any text, lone surrogates too; NaN and infinity become null."""
    text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in _UNSAFE:
        text = text.replace(character, _escaped(character))
    return _LONE_SURROGATES.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    return f"\\u{ord(character):04x}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
