"""Model families, and warnings of self-preference bias: judges that share a family with what they judge."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from factory.config import EMBEDDED, yaml12
from factory.storage import file_io

_WORD = r"(?<![a-z0-9]){}(?![a-z])"
"""For names that occur in other words: `phi` is in dolphin."""
FAMILIES = {
    "smollm": r"smollm",
    "llama": r"(?<!\bo)llama|vicuna",  # ollama serves models of all families
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
"""A pattern of each family's names, in lower case; gemini and gemma are one family, as are mistral and mixtral."""


def find_family(ref: str) -> str | None:
    """Return the family of a model, judged by names alone; None where no name shows it.

    The model's own name counts more than its organization's, and the first family in a name counts:
    `DeepSeek-R1-Distill-Llama-8B` was taught by DeepSeek. For a folder whose name shows no family, the `base_model`
    of its card counts, and then the `model_type` of its config, which is the architecture.

    Args:
        ref: `embedded`, a folder, s3://..., a Hugging Face id, or a name at an endpoint.

    Raises:
        StorageError: the folder cannot be read.
    """
    return _family(ref, frozenset())


def _family(ref: str, seen: frozenset[str]) -> str | None:
    if ref == EMBEDDED:
        return "smollm"
    *parents, name = ref.rstrip("/").split("/")
    if found := _family_in(name):
        return found
    if not (ref.startswith(("s3://", "gs://")) or Path(ref).is_dir()):
        return _family_in(parents[-1]) if len(parents) == 1 else None
    if ref in seen:  # a card may name its own folder
        return None
    for base in _base_models(_text(file_io.join(ref, "README.md"))):
        if found := _family(base, seen | {ref}):
            return found
    return _family_in(_model_type(_text(file_io.join(ref, "config.json"))))


def _family_in(name: str) -> str | None:
    found = ((match.start(), family) for family, names in FAMILIES.items() if (match := re.search(names, name.lower())))
    return min(found, default=(0, None))[1]


def _text(path: str) -> str:
    return file_io.read_bytes(path).decode(errors="replace") if file_io.exists(path) else ""


def _base_models(card: str) -> list[str]:
    """Return the `base_model` of a card's front matter, which is a name or a list of names."""
    head = re.match(r"---\n(.*?)\n---", card.replace("\r\n", "\n"), re.DOTALL)
    try:
        fields = yaml12.parse(head[1]) if head else None
    except yaml12.YamlError:  # people write cards by hand
        return []
    bases = fields.get("base_model") if isinstance(fields, dict) else None
    return [base for base in (bases if isinstance(bases, list) else [bases]) if isinstance(base, str) and base]


def _model_type(config: str) -> str:
    try:
        fields = json.loads(config or "{}")
    except json.JSONDecodeError:
        return ""
    return str(fields.get("model_type", "")) if isinstance(fields, dict) else ""


def display_name(ref: str) -> str:
    """Return a model's name for pages that people publish: of a folder or URL only the end, without the path."""
    if "://" not in ref and not ref.startswith(("/", "~", ".")):
        return ref
    parts = ref.rstrip("/").split("/")
    return "/".join(parts[-2:] if parts[-1] == "model" else parts[-1:])  # `model`: the model of a run's output


def self_preference_warnings(
    judges: Mapping[str, str], candidates: Mapping[str, str], teacher: str | None
) -> list[str]:
    """Warn of each judge that shares a family with a candidate or with the teacher.

    Args:
        judges: the model of each, by name.
        candidates: likewise.
        teacher: the model that wrote the training dialogues, where it is known.

    Raises:
        StorageError: a model's folder cannot be read.
    """
    others = {f"candidate {name!r}": model for name, model in candidates.items()}
    if teacher:
        others[f"the teacher ({display_name(teacher)}, which wrote the training dialogues)"] = teacher
    families = {model: find_family(model) for model in {*judges.values(), *others.values()}}
    warnings = []
    for name, model in judges.items():
        family = families[model]
        related = [label for label, other in others.items() if other == model or (family and families[other] == family)]
        if related:
            shared = f"shares the family {family} with" if family else "is the same model as"
            warnings.append(
                f"judge {name!r} ({display_name(model)}) {shared} {_enumerate(related)}: judges favor text of their "
                "own family, so these scores may be too high; use a judge of another family"
            )
    return warnings


def _enumerate(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
