"""Models on the Hugging Face hub: `org/name`, or `org/name@revision`."""

from pathlib import Path

from factory.errors import ModelError, UnreachableError

SMALL_FILES = ["*.json", "*.model", "*.txt", "*.jinja"]
"""All files of a tokenizer and a config."""
TOKENIZER_FILES = [
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "*.jinja", "vocab.*", "merges.txt", "*.model",
]  # fmt: skip
"""Those of a tokenizer with its chat template."""


def check_hub_id(ref: str) -> None:
    """Check that a name has the form of a hub id.

    Raises:
        ModelError: it has not.
    """
    if ref.startswith(("/", ".", "~")) or ref.count("/") != 1:
        raise ModelError(
            f"model {ref!r}: no such folder on this machine; give `embedded`, a Hugging Face folder that every machine "
            "of the run sees at this path (a shared disk), s3://..., or a hub id like org/name"
        )


def split_revision(ref: str) -> tuple[str, str | None]:
    """Return a hub id and the revision that it is pinned to, as in org/name@revision."""
    name, _, revision = ref.partition("@")
    return name, revision or None


def hub_revision(ref: str) -> str:
    """Return the commit of a model on the hub, from the local cache if it is there.

    Raises:
        ModelError: there is no such model.
        UnreachableError: the hub does not answer.
    """
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        HFValidationError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, revision = split_revision(ref)
    try:
        config = try_to_load_from_cache(name, "config.json", revision=revision)
        if not isinstance(config, str):
            HfApi().model_info(name, timeout=10)  # a download waits half a minute for a hub that does not answer
            # Not the commit of this answer: a download records what `main` is, so later runs here need no hub.
            config = hf_hub_download(name, "config.json", revision=revision)
        return Path(config).parent.name
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(
            f"model {ref!r}: neither a folder here nor on the Hugging Face hub (a gated one needs HF_TOKEN)"
        ) from None
    except RevisionNotFoundError:
        raise ModelError(f"model {ref!r}: {name} has no revision {revision!r} on the Hugging Face hub") from None
    except RemoteEntryNotFoundError:
        raise ModelError(f"model {ref!r}: has no config.json on the Hugging Face hub, so it is no model") from None
    except Exception as problem:  # the hub's client raises its transport's own errors
        raise UnreachableError(f"model {ref!r}: the Hugging Face hub does not answer: {_one_line(problem)}") from None


def download_from_hub(ref: str, weights: bool) -> str:
    """Download a model to the hub's cache, and return its folder there.

    Raises:
        ModelError: it cannot be downloaded.
    """
    from huggingface_hub import snapshot_download

    name, revision = split_revision(ref)
    revision = revision or hub_revision(ref)
    files = [*SMALL_FILES, *(["*.safetensors"] if weights else [])]
    try:
        return str(snapshot_download(name, revision=revision, allow_patterns=files))
    except Exception as problem:
        raise ModelError(f"model {ref!r}: cannot be downloaded: {_one_line(problem)}") from problem


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:200]
