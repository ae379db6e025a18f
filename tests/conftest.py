"""What holds for all tests."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest

# A shell's background jobs ignore SIGINT, and so would every job that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests and the jobs that they start depend on nothing that is set or runs on this machine: no cluster of somebody's, no
# bucket, no key. The cache of models stays, since converting one takes half a minute.
MACHINE = ("RAY_", "AWS_", "GOOGLE_", "OPENAI_", "HF_", "CHAT_", "JUDGES_", "FACTORY_")
for name in [name for name in os.environ if name.startswith(MACHINE) and name != "FACTORY_CACHE"]:
    del os.environ[name]
# Read when Ray is imported: a call that would start Ray by accident, or join one, is an error.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"


@pytest.fixture(scope="session", autouse=True)
def own_ray_folder() -> Iterator[None]:
    """Keep Ray's files, and the note of a running head, apart from those of the machine's own Ray."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need a short path
        patch.setenv("RAY_TMPDIR", folder)
        yield
        shutil.rmtree(folder, ignore_errors=True)
