"""A commented config to start from: for a laptop, for eight GPUs, or for an API key.

character-factory init laptop|gpus|api [FILE]
"""

from pathlib import Path

from factory.cli import CONFIGS, Parser
from factory.errors import ConfigError

TEMPLATES = CONFIGS / "init"
SCHEMA = CONFIGS / "config.schema.json"


def run() -> None:
    """Read the command line and write the config.

    Raises:
        ConfigError: the file exists already.
    """
    parser = Parser(__doc__)
    parser.add_argument("kind", choices=kinds(), help="where it is to run")
    parser.add_argument("file", nargs="?", type=Path, default=Path("run.yaml"), help="default: run.yaml")
    arguments = parser.parse_args()
    text = (TEMPLATES / f"{arguments.kind}.yaml").read_text()
    try:
        arguments.file.parent.mkdir(parents=True, exist_ok=True)
        with arguments.file.open("x") as file:
            file.write(f"# yaml-language-server: $schema={SCHEMA.as_uri()}\n{text}")
    except FileExistsError:
        raise ConfigError(f"{arguments.file} exists; name another file, or move it away") from None
    except OSError as problem:
        raise ConfigError(f"{arguments.file}: {problem.strerror}; name a file that can be written") from None
    print(f"Wrote {arguments.file}. Next: character-factory synthesize {arguments.file} --dry-run")


def kinds() -> list[str]:
    """Return the names of the templates."""
    return sorted(path.stem for path in TEMPLATES.glob("*.yaml"))
