"""An export to a data set repository on the Hugging Face Hub, by its own client."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from factory.errors import ConfigError, FactoryError, UnreachableError, UserError
from factory.export.sources import CHARACTERS_PART, SPLITS
from factory.export.write_export import CARD
from factory.storage import file_io

TOKEN = "HF_TOKEN"
REPO_TYPE = "dataset"
FILES = [f"{part}-?????-of-?????.{ext}" for part in (*SPLITS, CHARACTERS_PART) for ext in ("jsonl", "parquet")]
"""What is uploaded besides the card, and what of an earlier export is deleted with the same commit."""


def check_access(repo: str) -> None:
    """Check what can be told without asking the Hub.

    Raises:
        ConfigError: the name is none, there is no token, or the client is told to stay offline.
    """
    try:
        validate_repo_id(repo)
        named = repo.count("/") == 1
    except HFValidationError:
        named = False
    if not named:
        raise ConfigError(f"--push-to-hub {repo}: give it as OWNER/NAME, in letters, digits, '-', '_' and '.'")
    if constants.HF_HUB_OFFLINE:
        raise ConfigError(f"--push-to-hub {repo}: HF_HUB_OFFLINE is set; unset it, or leave --push-to-hub out")
    if not os.environ.get(TOKEN):
        raise ConfigError(
            f"--push-to-hub {repo}: {TOKEN} is not set; put a token with the right to write into it "
            "(https://huggingface.co/settings/tokens)"
        )


def publish(folder: str, repo: str, private: bool) -> str:
    """Upload a finished export, and return its address; interrupted, the same command goes on.

    Raises:
        UserError: the Hub refuses it, or a repository that was to be private is public.
        UnreachableError: it does not answer.
    """
    api = HfApi(token=os.environ[TOKEN])
    try:
        return _publish(api, folder, repo, private)
    except FactoryError:
        raise
    except HfHubHTTPError as problem:
        raise UserError(f"--push-to-hub {repo}: {_told(problem)}") from None
    except Exception as problem:  # the hub's client raises its transports' own errors
        raise UnreachableError(
            f"--push-to-hub {repo}: {api.endpoint} does not answer ({type(problem).__name__}: {_one_line(problem)}); "
            "the export is finished, so the same command only uploads it"
        ) from None


def _publish(api: HfApi, folder: str, repo: str, private: bool) -> str:
    # Without --private the owner's own default holds, which may be private.
    url = api.create_repo(repo, repo_type=REPO_TYPE, private=private or None, exist_ok=True)
    if private and not api.repo_info(repo, repo_type=REPO_TYPE).private:
        raise UserError(
            f"--push-to-hub {repo}: is there already, and public; make it private in its settings, "
            "name another one, or leave --private out"
        )
    with _here(folder) as local:
        api.upload_folder(
            repo_id=repo,
            repo_type=REPO_TYPE,
            folder_path=local,
            allow_patterns=[CARD, *FILES],
            delete_patterns=FILES,
            commit_message="Export of the character factory",
        )
    return str(url)


@contextmanager
def _here(folder: str) -> Iterator[str]:
    """The export on this machine's disk."""
    if "://" not in folder:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="character-factory-export-") as temporary:
        for name in file_io.sizes(folder):
            file_io.get_file(file_io.join(folder, name), str(Path(temporary) / name))
        yield temporary


def _told(problem: HfHubHTTPError) -> str:
    status = problem.response.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        return f"the Hub refuses the token in {TOKEN} (401); make a new one with the right to write"
    if status == HTTPStatus.FORBIDDEN:
        return f"the token in {TOKEN} may not write there (403); give it that right, or name another OWNER"
    return f"the Hub refuses it ({status}): {_one_line(problem.server_message or problem)}"


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())[:200]
