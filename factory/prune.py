"""What lies in an output's `superseded/`, and the only thing that deletes it."""

import argparse

from rich.table import Table as Grid

from factory import aside, lease, models, moving, storage
from factory.config_file import load_config
from factory.job import Parser
from factory.progress import Progress
from factory.tables import MANIFEST, SETTINGS, Table


def prune(description: str | None) -> None:
    """Read the command line, and list what was set aside; delete it where that is asked for.

    Raises:
        UserError: the config is wrong, or the output cannot be read, or a run works on it.
    """
    arguments = _parse(description)
    config = load_config(arguments.config, arguments.overrides)
    output = config.with_paths(storage.input_path, storage.output_path).output
    progress = Progress()
    if not storage.sizes(storage.join(output, aside.FOLDER)):
        progress.say(f"Nothing is set aside in {output}")
    elif not arguments.yes:
        _, whole = _list(output, progress)
        progress.say(f"{whole}; --yes deletes it, and then these settings are paid for again")
    else:
        with lease.held(output):
            for name in storage.list_names(storage.join(output, aside.FOLDER), ""):
                # A kill may have left the mark here by which a table that was taken back is whole.
                moving.settle(output, f"{aside.FOLDER}/{name}", MANIFEST)
            names, whole = _list(output, progress)
            for name in names:
                folder = storage.join(output, aside.FOLDER, name)
                for document in (MANIFEST, models.MANIFEST, SETTINGS):  # first: a rest of a folder must not come back
                    storage.delete_file(storage.join(folder, document))
                storage.delete_folder(folder)
        progress.say(f"Deleted {whole}")


def _list(output: str, progress: Progress) -> tuple[list[str], str]:
    """Show what is set aside; returns the names of the folders, and the size of all."""
    sizes = storage.sizes(storage.join(output, aside.FOLDER))
    names = sorted({name.partition("/")[0] for name in sizes})
    grid = Grid(title="Set aside", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("folder", "rows", "MB", "finished"):
        grid.add_column(column, justify="right" if column in ("rows", "MB") else "left")
    for name in names:
        table = Table(output, f"{aside.FOLDER}/{name}")
        size = sum(bytes_ for path, bytes_ in sizes.items() if path.startswith(f"{name}/"))
        finished = "yes" if f"{name}/{models.MANIFEST}" in sizes else (table.manifest() or {}).get("finished", "no")
        grid.add_row(table.name, f"{table.rows_written():,}", f"{size / 1e6:,.1f}", str(finished))
    progress.show(grid)
    return names, f"{sum(sizes.values()) / 1e6:,.1f} MB in {storage.join(output, aside.FOLDER)}"


def _parse(description: str | None) -> argparse.Namespace:
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's settings (YAML)")
    parser.add_argument("--yes", action="store_true", help="delete what is listed")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings laid over the file's")
    return parser.parse_intermixed_args()
