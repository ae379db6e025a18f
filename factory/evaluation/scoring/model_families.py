"""Which family a model is of, and which judges are too close to what they judge."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from factory.config import EMBEDDED, yaml12
from factory.storage import file_io

_WORD = r"(?<![a-z0-9]){}(?![a-z])"
"""For names that are parts of other words: `phi` is in dolphin."""
FAMILIES = {
    "smollm": r"smollm",
    "llama": r"(?<!\bo)llama|vicuna",  # ollama serves all families
    "gpt": r"gpt(?![-_]?(neo|j))|^o[134](?![a-z0-9])",
    "claude": r"claude",
    "gemini": r"gemini|gemma",
    "qwen": r"qwen|qwq|qvq",
    "mistral": r"mistral|mixtral|ministral|magistral|codestral|devstral|pixtral",
    "deepseek": r"deepseek",
    "phi": _WORD.format("phi"),
    "yi": _WORD.format("yi"),
    "command": r"command|cohere|c4ai|" + _WORD.format("aya"),
    "grok": _WORD.format("grok"),
    "glm": r"chatglm|" + _WORD.format("glm"),
    "kimi": r"kimi|moonshot",
    "minimax": r"minimax",
    "internlm": r"internlm",
    "nemotron": r"nemotron",
    "granite": r"granite",
    "falcon": r"falcon",
    "olmo": r"olmo",
    "exaone": r"exaone",
    "jamba": r"jamba",
}
"""A pattern of each family's names, in lower case; gemini and gemma are one, as are mistral and mixtral."""


def family_of(ref: str) -> str | None:
    """The family of a model, by names alone; None where they do not tell.

    The model's own name counts more than its organisation's, and the first of several families: what
    `DeepSeek-R1-Distill-Llama-8B` writes, DeepSeek taught it. A folder whose name says nothing is asked
    for the `base_model` of its card, and then for the `model_type` of its config, which names the
    architecture.

    Args:
        ref: `embedded`, a folder, s3://..., a Hugging Face id, or a name at an endpoint.

    Raises:
        StorageError: the folder cannot be read.
    """
    return _family(ref, frozenset())


def _family(ref: str, seen: frozenset[str]) -> str | None:
    if ref == EMBEDDED:
        return "smollm"
    *before, name = ref.rstrip("/").split("/")
    if found := _named(name):
        return found
    if not (ref.startswith(("s3://", "gs://")) or Path(ref).is_dir()):
        return _named(before[-1]) if len(before) == 1 else None
    if ref in seen:  # a card may name its own folder
        return None
    for base in _bases(_text(file_io.join(ref, "README.md"))):
        if found := _family(base, seen | {ref}):
            return found
    return _named(_model_type(_text(file_io.join(ref, "config.json"))))


def _named(name: str) -> str | None:
    found = ((match.start(), family) for family, names in FAMILIES.items() if (match := re.search(names, name.lower())))
    return min(found, default=(0, None))[1]


def _text(path: str) -> str:
    return file_io.read_bytes(path).decode(errors="replace") if file_io.exists(path) else ""


def _bases(card: str) -> list[str]:
    """The `base_model` of a card's front matter: a name, or a list of them."""
    head = re.match(r"---\n(.*?)\n---", card.replace("\r\n", "\n"), re.DOTALL)
    try:
        told = yaml12.parse(head[1]) if head else None
    except yaml12.YamlError:  # people write cards by hand
        return []
    bases = told.get("base_model") if isinstance(told, dict) else None
    return [base for base in (bases if isinstance(bases, list) else [bases]) if isinstance(base, str) and base]


def _model_type(config: str) -> str:
    try:
        told = json.loads(config or "{}")
    except json.JSONDecodeError:
        return ""
    return str(told.get("model_type", "")) if isinstance(told, dict) else ""


def self_preference_warnings(
    judges: Mapping[str, str], candidates: Mapping[str, str], teacher: str | None
) -> list[str]:
    """Warn of each judge that is of one family with a candidate or with the teacher.

    Args:
        judges: the model of each, by name.
        candidates: likewise.
        teacher: the model that wrote the training dialogues, where it is known.

    Raises:
        StorageError: a model's folder cannot be read.
    """
    others = {f"candidate {name!r}": model for name, model in candidates.items()}
    if teacher:
        others[f"the teacher ({teacher}, which wrote the training dialogues)"] = teacher
    families = {model: family_of(model) for model in {*judges.values(), *others.values()}}
    warnings = []
    for name, model in judges.items():
        family = families[model]
        kin = [told for told, other in others.items() if other == model or (family and families[other] == family)]
        if kin:
            shared = f"shares the family {family} with" if family else "is the same model as"
            warnings.append(
                f"judge {name!r} ({model}) {shared} {_listed(kin)}: judges favour their own family's text, "
                "so these scores may be too high; take a judge of another family"
            )
    return warnings


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
