"""A prompt's text and its version go together: every version that ever was keeps its hash."""

from pathlib import Path

import pytest

from factory.inference.prompts import BUILT_IN, load_prompt

VERSIONS = BUILT_IN / "versions.txt"
PROMPTS = sorted(path.stem for path in BUILT_IN.glob("*.md") if path.stem != "README")


def known_versions() -> dict[str, str]:
    return dict(line.split("#") for line in VERSIONS.read_text().split())


@pytest.mark.parametrize("prompt_id", PROMPTS)
def test_a_changed_prompt_has_a_new_version(prompt_id):
    version, digest = load_prompt(prompt_id).ref.split("#")
    assert known_versions().get(version) == digest, (
        f"{prompt_id}.md changed: raise its version and run `make prompts-lock`"
    )


def test_no_version_is_listed_twice():
    versions = [line.split("#")[0] for line in VERSIONS.read_text().split()]
    assert len(versions) == len(set(versions))


def test_every_prompt_is_told_of_in_the_readme():
    readme = Path(BUILT_IN / "README.md").read_text()
    assert all(f"`{prompt_id}.md`" in readme for prompt_id in PROMPTS)
