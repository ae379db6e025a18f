"""Add the versions of prompts that are not yet in versions.txt (`make prompts-lock`)."""

from factory.config.prompt_places import BUILT_IN
from factory.inference.prompts import load_prompt


def main() -> None:
    """Append each new version with its hash; a known version whose text changed is refused."""
    versions = BUILT_IN / "versions.txt"
    known = dict(line.split("#") for line in versions.read_text().split()) if versions.exists() else {}
    for path in sorted(BUILT_IN.glob("*.md")):
        if path.stem == "README":
            continue
        version, digest = load_prompt(path.stem).ref.split("#")
        if known.get(version, digest) != digest:
            raise SystemExit(f"{path.name}: its text changed, but its version did not; raise `version`")
        if version not in known:
            with versions.open("a") as file:
                file.write(f"{version}#{digest}\n")
            print(f"added {version}#{digest}")


if __name__ == "__main__":
    main()
