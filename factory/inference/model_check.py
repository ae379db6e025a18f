"""Checks a model's folder before anything runs, in a process of its own.

A chat template is a foreign program, and a tokenizer file is read by a parser that may panic: an endless
loop in either cannot be interrupted inside our own process, nor its memory limited. So they run in one
that has a deadline, and an error comes back as one line: 1.2 s, of which loading the tokenizer takes 1.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil

import factory
from factory.config import EMBEDDED
from factory.errors import ModelError
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer
from factory.inference.model_files import Located
from factory.inference.tokenizer_files import NoTemplateError

LOADING_S = 300
"""Also on a slow disk, with vLLM to import."""
RENDERING_S = 10
"""Rendering some messages takes a thousandth of that."""
RENDERING_BYTES = 2**31


def check_chat(
    located: Located, template: str | None = None, kwargs: Mapping[str, Any] | None = None, trusted: bool = False
) -> None:
    """Check now what every row would meet later: that a model's chat template exists and accepts our chats.

    Raises:
        ModelError: it does not.
    """
    if located.ref != EMBEDDED:
        _check_once(located.pinned, template, json.dumps(kwargs or {}, sort_keys=True), trusted)


@cache
def _check_once(model: str, template: str | None, kwargs: str, trusted: bool) -> None:
    check_folder(model_files.fetch(model, weights=False), template, json.loads(kwargs), trusted=trusted)


def check_folder(
    folder: str,
    template: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    by: str = "vllm",
    trusted: bool = False,
    new_tokens: Sequence[str] = (),
) -> None:
    """Check that a tokenizer, its chat template and a config can be used, within a deadline.

    Args:
        folder: a local Hugging Face folder.
        template: a Jinja chat template in place of the tokenizer's own.
        kwargs: variables of the template.
        by: what will load the model, `vllm` or `transformers`.
        trusted: whether vLLM may run code that comes with the model.
        new_tokens: control tokens that the vocabulary gets if it lacks them.

    Raises:
        ModelError: one is broken, runs for too long, or needs code of its own.
    """
    arguments = {
        "folder": folder, "template": template, "kwargs": dict(kwargs or {}), "by": by, "trusted": trusted,
        "new_tokens": list(new_tokens),
    }  # fmt: skip
    # The package as this process has it, and (-P) nothing of the folder that this process is in.
    path = [str(Path(factory.__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "factory.inference.model_check"],
            input=json.dumps(arguments | {"rendering_s": RENDERING_S}),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LOADING_S,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(f"model {folder!r}: its tokenizer is not loaded in {LOADING_S} s; check its files") from None
    if done.returncode == -signal.SIGALRM:
        raise ModelError(
            f"model {folder!r}: its chat template does not end: a chat of six messages is not rendered in "
            f"{RENDERING_S} s; take another model, or a folder of it with another chat_template.jinja"
        )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1][:300]
        raise ModelError(f"model {folder!r}: its tokenizer cannot be loaded ({said}); check its files")
    found = json.loads(done.stdout.splitlines()[-1])
    if found["problem"]:
        raise (NoTemplateError if found["lacks_template"] else ModelError)(found["problem"])


def main() -> None:
    """Check the folder that stdin names, and print what is wrong."""
    problem: ModelError | None = None
    try:
        _check(**json.load(sys.stdin))
    except ModelError as found:
        problem = found
    result = {"problem": str(problem or ""), "lacks_template": isinstance(problem, NoTemplateError)}
    print(f"\n{json.dumps(result)}")


def _check(
    folder: str,
    template: str | None,
    kwargs: dict[str, Any],
    by: str,
    trusted: bool,
    new_tokens: list[str],
    rendering_s: float,
) -> None:
    config = model_files.read_json(folder, "config.json")
    tokenizer = ChatTokenizer(folder, template, kwargs, new_tokens)
    with _limits(rendering_s):
        tokenizer.check_roles(model_files.config_number(config, "vocab_size"))
    if config.get("auto_map") and not trusted:  # transformers and vLLM take seconds to import
        _check_code(folder, by)


@contextmanager
def _limits(seconds: float) -> Iterator[None]:
    """Limit this process to some more memory than it uses now, and to a number of seconds."""
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    held = psutil.Process().memory_info().vms + RENDERING_BYTES
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (held if most == resource.RLIM_INFINITY else min(held, most), most))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (before, most))
    signal.setitimer(signal.ITIMER_REAL, 0)


def _check_code(folder: str, by: str) -> None:
    """Check that the libraries have code for a model whose config names its own, as newer ones may."""
    from transformers import AutoConfig

    loaders: list[Any] = [AutoConfig.from_pretrained]
    if by == "vllm":
        from vllm.transformers_utils.config import get_config

        loaders.append(get_config)
    for load in loaders:
        try:
            load(folder, trust_remote_code=False)
            return
        except Exception:  # whatever they raise, they cannot load it
            continue
    raise ModelError(
        f"model {folder!r}: needs code of its own (`auto_map` in its config.json), which is not run here; take a model "
        f"that {by} has code for"
    )


if __name__ == "__main__":
    main()
