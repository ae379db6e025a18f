"""What is installed is what was locked: each package is pinned, and each of its files has a hash that is checked."""

import re
import subprocess

import pytest

from factory.resources import RESOURCES

LOCKS = ("cpu", "gpu")
PACKAGE = re.compile(r"^([a-z0-9._-]+)==(\S+) *(?:;[^\\\n]*)?\\?\n((?:    --hash=\S+ ?\\?\n)*)", re.MULTILINE)


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """Each package's version and hashes."""
    text = (RESOURCES / "locks" / f"{name}.txt").read_text()
    found = {
        package: (version, re.findall(r"--hash=(\S+)", hashes)) for package, version, hashes in PACKAGE.findall(text)
    }
    assert len(found) == len(re.findall(r"^[^ #\n]", text, re.MULTILINE))  # nothing in it is anything else
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name):
    packages = locked(name)
    assert {"torch", "ray", "gradio", "uv", "hatchling", "setuptools"} <= set(packages)
    for package, (_, hashes) in packages.items():
        assert hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)


def test_torch_has_the_hash_of_each_python_that_fits():
    version, hashes = locked("cpu")["torch"]
    assert version.endswith("+cpu")
    assert len(hashes) >= 2, "add the other Python's from PyTorch's index: see CPU_TORCH in the Makefile"


def commands(*arguments: str) -> str:
    """What make would do, on a machine without a `.venv`."""
    asked = ["make", "--dry-run", "--always-make", *arguments]
    ran = subprocess.run(asked, cwd=RESOURCES, capture_output=True, text=True, check=True)
    return ran.stdout.replace("\\\n", "")


@pytest.mark.parametrize("name", LOCKS)
def test_the_set_up_checks_the_hashes(name, tmp_path):
    told = commands("setup", f"ACCELERATOR={name}")
    (sync,) = re.findall(r"^.*uv pip sync.*$", told, re.MULTILINE)
    assert {"--require-hashes", f"--build-constraint locks/{name}.txt"} <= set(
        re.findall(r"--[a-z-]+(?: locks/\S+)?", sync)
    )
    (first,) = re.findall(r"^.*-m pip install.*$", told, re.MULTILINE)
    assert "--require-hashes" in first
    (awk,) = re.findall(r"^awk .*$", told, re.MULTILINE)
    own = awk.replace(".venv/uv.txt", str(tmp_path / "uv.txt"))
    subprocess.run(own, shell=True, cwd=RESOURCES, check=True)
    version, hashes = locked(name)["uv"]
    text = (tmp_path / "uv.txt").read_text()
    assert text.startswith(f"uv=={version} ")
    assert re.findall(r"--hash=(\S+)", text) == hashes


def test_the_lock_is_written_with_hashes():
    assert commands("lock").count("--generate-hashes") == len(LOCKS)


@pytest.mark.parametrize("name", LOCKS)
def test_images_check_the_hashes(name):
    text = (RESOURCES / "cluster" / f"Dockerfile.{name}").read_text().replace("\\\n", "")
    lock = f"locks/{name}.txt"
    (install,) = re.findall(r"uv pip install [^&\n]*--requirement /tmp/run.txt", text)
    for option in ("--require-hashes", f"--constraint {lock}", f"--build-constraint {lock}"):
        assert option in install
