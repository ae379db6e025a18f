"""A tokenizer's own files in a model's folder: byte for byte, but for what a tuned model needs.

`save_pretrained` writes them anew, in a form that transformers 4 does not read, and without a `tokenizer.model`.
"""

import json
import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from factory.inference import model_files
from factory.inference.hub_models import TOKENIZER_FILES

CONFIG, SPECIAL, TEMPLATE = "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"
KNOWN_CLASS = "PreTrainedTokenizerFast"
"""The class for any tokenizer.json, which both transformers 4 and 5 have."""
NEW_CLASS = "TokenizersBackend"
"""The name that transformers 5 gives it."""
SPECIAL_TOKEN = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
"""How a control token that is added stands in a tokenizer's files."""
PROBE = "Ada's 3 loaves,\n\n  done… 빵 🍞 Übung  x == 1234567;\tYou're here?"


def save_tokenizer(
    tokenizer: Any, source: str, target: str, template: str, end_of_turn: str, added: Mapping[str, int]
) -> None:
    """Copy a tokenizer's files to a folder, with a chat template and the token at which a tuned model stops.

    A Base model's tokenizer ends a text with another token than a chat template ends a turn with.

    Args:
        tokenizer: as it was loaded.
        source: the Hugging Face folder that it comes from.
        target: the folder to write to.
        template: the chat template.
        end_of_turn: the token that ends a turn.
        added: tokens that the vocabulary of its files lacks, with their ids.

    Raises:
        ModelError: a file of the tokenizer holds no JSON object.
    """
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(source).iterdir()):
        if path.is_file() and any(fnmatch(path.name, pattern) for pattern in TOKENIZER_FILES):
            shutil.copyfile(path, folder / path.name)
    changes: dict[str, Any] = {}
    if str(tokenizer.eos_token) != end_of_turn:
        changes["eos_token"] = end_of_turn
        if (folder / SPECIAL).exists():
            _rewrite(folder / SPECIAL, model_files.read_json(target, SPECIAL) | changes)
    config = model_files.read_json(target, CONFIG) if (folder / CONFIG).exists() else {}
    if template != _default(tokenizer.chat_template):
        (folder / TEMPLATE).write_text(template, encoding="utf-8")
        changes |= {"chat_template": template} if "chat_template" in config else {}
    if added:
        entries = {str(number): SPECIAL_TOKEN | {"content": token} for token, number in added.items()}
        content = model_files.read_json(target, "tokenizer.json")
        content["added_tokens"] += [{"id": int(number)} | entry for number, entry in entries.items()]
        _rewrite(folder / "tokenizer.json", content)
        if "added_tokens_decoder" in config:
            changes["added_tokens_decoder"] = config["added_tokens_decoder"] | entries
    changed = _for_transformers_4(config) | changes
    if changed != config:
        _rewrite(folder / CONFIG, changed)
    plain = changed["tokenizer_class"] == KNOWN_CLASS or not (folder / "tokenizer.json").exists()
    if not plain and _reads_otherwise(target, tokenizer):
        _rewrite(folder / CONFIG, changed | {"tokenizer_class": KNOWN_CLASS})


def _default(template: Any) -> Any:
    return template.get("default") if isinstance(template, dict) else template


def _for_transformers_4(config: dict[str, Any]) -> dict[str, Any]:
    """Return a tokenizer_config.json whose class and special tokens transformers 4 reads."""
    config = dict(config)
    if config.setdefault("tokenizer_class", KNOWN_CLASS) == NEW_CLASS:
        config["tokenizer_class"] = KNOWN_CLASS
    if isinstance(config.get("extra_special_tokens"), list):  # a mapping in transformers 4
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    return config


def _reads_otherwise(folder: str, tokenizer: Any) -> bool:
    """Return whether the class that a folder's config names makes other tokens than the tokenizer that we trained with.

    Some of transformers 5 take the vocabulary alone from tokenizer.json: `LlamaTokenizer`, for one of bytes.
    """
    from transformers import AutoTokenizer

    try:
        ids = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)(PROBE)["input_ids"]
    except Exception:  # whatever it raises, the class does not fit the file
        return True
    return bool(ids != tokenizer(PROBE)["input_ids"])


def _rewrite(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
