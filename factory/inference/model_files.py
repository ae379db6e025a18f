"""Models by the name that a config gives: `embedded`, a local folder, `s3://...`, `gs://...`, or a Hugging Face id.

`locate` checks before a run that a model exists, and returns its revision; `fetch` downloads it once
to the machine that calls it, and returns a local folder. The revision of a folder is a hash of its
files, so a copy of a model elsewhere is the same model. A folder of adapters is the model that they
make of their base, which is merged in the cache of each machine.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from factory.config import EMBEDDED
from factory.errors import ModelError
from factory.inference.adapter_models import base_of_adapters, merge_adapters
from factory.inference.embedded_model import convert_embedded, embedded_revision
from factory.inference.hub_models import check_hub_id, download_from_hub, hub_revision, split_revision
from factory.inference.stored_models import (
    bucket_revision,
    bucket_version,
    download_from_bucket,
    files_revision,
    folder_revision,
)
from factory.storage import file_io
from factory.storage.cache import cache_folder


@dataclass(frozen=True)
class Located:
    """A model that exists: its name in the config, and its revision, which is a commit for one on the hub."""

    ref: str
    revision: str

    @property
    def pinned(self) -> str:
        """The name for `fetch`: all machines get this revision, even if the hub gets a newer one meanwhile."""
        if re.fullmatch("[0-9a-f]{40}", self.revision):
            return f"{split_revision(self.ref)[0]}@{self.revision}"
        return self.ref


def locate(ref: str) -> Located:
    """Check that a model exists, without loading it.

    Raises:
        ModelError: there is no such model.
        UnreachableError: it is remote, not in a local cache, and its host does not answer.
    """
    if base := base_of_adapters(ref):
        return Located(ref, f"{files_revision(ref)}-{locate(base).revision[:12]}")
    if ref == EMBEDDED:
        return Located(ref, embedded_revision())
    if ref.startswith(file_io.BUCKETS):
        return Located(ref, bucket_revision(ref))
    if Path(ref).is_dir():
        return Located(ref, folder_revision(ref))
    check_hub_id(ref)
    return Located(ref, hub_revision(ref))


def fetch(ref: str, weights: bool = True) -> str:
    """Download a model to this machine and return its folder; several processes may call it at once.

    Args:
        ref: the model as the config names it, or a `Located.pinned`.
        weights: False if the tokenizer and the config are enough.

    Raises:
        ModelError: it cannot be downloaded.
    """
    if base := base_of_adapters(ref):
        name = f"adapted-{locate(ref).revision}" + ("" if weights else "-tokenizer")
        return _fetch_once(name, lambda folder: _merge(base, ref, folder, weights))
    if ref == EMBEDDED:
        return _fetch_once(f"smollm2-135m-instruct-{embedded_revision()}", convert_embedded)
    if ref.startswith(file_io.BUCKETS):
        name = f"bucket-{bucket_version(ref)}" + ("" if weights else "-tokenizer")
        return _fetch_once(name, lambda folder: download_from_bucket(ref, folder, weights))
    if Path(ref).is_dir():
        return ref
    check_hub_id(ref)
    return download_from_hub(ref, weights)


def read_json(folder: str, name: str) -> dict[str, Any]:
    """Return the content of a JSON file of a model's folder.

    Raises:
        ModelError: it is no JSON object.
    """
    try:
        content = json.loads(Path(folder, name).read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise ModelError(f"model {folder!r}: its {name} cannot be read ({reason})") from None
    if not isinstance(content, dict):
        raise ModelError(f"model {folder!r}: its {name} holds no JSON object")
    return content


def whole_number(value: Any) -> int | None:
    """Return a value of a model's config if it is a positive integer."""
    return value if type(value) is int and value > 0 else None


def config_number(config: dict[str, Any], name: str) -> int | None:
    """Return a positive integer of a model's config; a vision-language model has those of its text a level deeper."""
    text = config.get("text_config")
    nested = text if isinstance(text, dict) else {}
    return whole_number(config.get(name) or nested.get(name))


def _merge(base: str, ref: str, folder: Path, weights: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        adapters = ref
        if ref.startswith(file_io.BUCKETS):
            adapters = temporary
            download_from_bucket(ref, Path(adapters), weights=True)
        merge_adapters(fetch(base, weights), adapters, folder, weights)


def _fetch_once(name: str, build: Callable[[Path], None]) -> str:
    target = cache_folder() / name
    if target.is_dir():
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            for left in target.parent.glob(f"{name}.*/"):  # by a killed process, as only one holds the lock
                shutil.rmtree(left, ignore_errors=True)
            draft = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=target.parent))
            try:
                build(draft)
                draft.chmod(0o755)
                draft.rename(target)  # a kill before this line leaves a draft, never half a model
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return str(target)
