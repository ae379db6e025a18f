"""Publish an export to a data set repository on the Hugging Face Hub, or a trained model to one of models."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from factory.errors import ConfigError, FactoryError, UnreachableError, UserError
from factory.export.sources import CHARACTERS_PART
from factory.export.write_export import CARD
from factory.inference.hub_models import TOKENIZER_FILES
from factory.run_output.layout import SPLITS
from factory.storage import file_io

TOKEN = "HF_TOKEN"


@dataclass(frozen=True)
class Kind:
    """What is published."""

    repo_type: str
    files: list[str]
    """The files to upload besides the card, and to delete from an earlier version in the same commit."""
    message: str
    """Of the commit."""
    in_public: str
    """How to publish it in public."""


DATASET = Kind(
    "dataset",
    [f"{part}-?????-of-?????.{ext}" for part in (*SPLITS, CHARACTERS_PART) for ext in ("jsonl", "parquet")],
    "Export of the character factory",
    "omit --private",
)
MODEL = Kind(
    "model",
    ["config.json", "generation_config.json", "model*.safetensors*", "adapter_*", "Modelfile", *TOKENIZER_FILES],
    "Model of the character factory",
    "give --public",
)


def check_access(repo: str) -> None:
    """Check what can be checked without a request to the Hub.

    Raises:
        ConfigError: the name is not valid, there is no token, or the client is set to stay offline.
    """
    try:
        validate_repo_id(repo)
        valid = repo.count("/") == 1
    except HFValidationError:
        valid = False
    if not valid:
        raise ConfigError(f"--push-to-hub {repo}: give it as OWNER/NAME, in letters, digits, '-', '_' and '.'")
    if constants.HF_HUB_OFFLINE:
        raise ConfigError(f"--push-to-hub {repo}: HF_HUB_OFFLINE is set; unset it, or omit --push-to-hub")
    if not os.environ.get(TOKEN):
        raise ConfigError(
            f"--push-to-hub {repo}: {TOKEN} is not set; set it to a token with write access "
            "(https://huggingface.co/settings/tokens)"
        )


def publish(folder: str, repo: str, kind: Kind, private: bool) -> str:
    """Upload a finished folder and return its address; after an interruption, the same command continues.

    Raises:
        UserError: the Hub refuses it, or `private` is set and the repository is public.
        UnreachableError: it does not answer.
    """
    api = HfApi(token=os.environ[TOKEN])
    try:
        return _publish(api, folder, repo, kind, private)
    except FactoryError:
        raise
    except HfHubHTTPError as problem:
        raise UserError(f"--push-to-hub {repo}: {_explain(problem)}") from None
    except Exception as problem:  # the client raises the errors of its transport libraries
        raise UnreachableError(
            f"--push-to-hub {repo}: {api.endpoint} does not answer ({type(problem).__name__}: {_one_line(problem)}); "
            "nothing is lost, and the same command only uploads it"
        ) from None


def _publish(api: HfApi, folder: str, repo: str, kind: Kind, private: bool) -> str:
    # Unless it is to be private, the default of the owner applies, which may be private.
    url = api.create_repo(repo, repo_type=kind.repo_type, private=private or None, exist_ok=True)
    if private and not api.repo_info(repo, repo_type=kind.repo_type).private:
        raise UserError(
            f"--push-to-hub {repo}: exists already and is public; make it private in its settings, "
            f"give another name, or {kind.in_public}"
        )
    with _local_copy(folder) as local:
        api.upload_folder(
            repo_id=repo,
            repo_type=kind.repo_type,
            folder_path=local,
            allow_patterns=[CARD, *kind.files],
            delete_patterns=kind.files,
            commit_message=kind.message,
        )
    return str(url)


@contextmanager
def _local_copy(folder: str) -> Iterator[str]:
    """Yield a folder on the local disk with the files."""
    if "://" not in folder:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="character-factory-export-") as temporary:
        for name in file_io.sizes(folder):
            file_io.get_file(file_io.join(folder, name), str(Path(temporary) / name))
        yield temporary


def _explain(problem: HfHubHTTPError) -> str:
    status = problem.response.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        return f"the Hub refuses the token in {TOKEN} (401); create a new one with write access"
    if status == HTTPStatus.FORBIDDEN:
        return f"the token in {TOKEN} may not write there (403); grant it write access, or give another OWNER"
    return f"the Hub refuses it ({status}): {_one_line(problem.server_message or problem)}"


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())[:200]
