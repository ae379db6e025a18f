"""Tables that changed settings archived, with their size; with --yes they are deleted.

character-factory prune demo [--yes] [section.key=value ...]
"""

from rich.table import Table as Grid

from factory.cli import Parser, with_absolute_paths
from factory.inference import stored_models
from factory.runtime.progress import Progress
from factory.storage import archive, file_io, folder_moves
from factory.storage.run_lock import hold_run_lock
from factory.storage.tables import INPUTS, MANIFEST, Table


def run() -> None:
    """Read the command line, list the archived tables, and delete them with --yes.

    Raises:
        UserError: the config is wrong, the output cannot be read, or a run works on it.
    """
    parser = Parser(__doc__)
    parser.add_argument("--yes", action="store_true", help="delete what is listed")
    arguments, config = parser.parse()
    output = with_absolute_paths(config).output
    progress = Progress()
    if not file_io.sizes(file_io.join(output, archive.FOLDER)):
        progress.print(f"Nothing is archived in {output}")
    elif not arguments.yes:
        _, total = _list(output, progress)
        progress.print(f"{total}; --yes deletes it, and these settings then need to be generated again")
    else:
        with hold_run_lock(output):
            for name in file_io.list_names(file_io.join(output, archive.FOLDER), ""):
                # After a kill, the mark that makes a restored table count may still be here.
                folder_moves.settle(output, f"{archive.FOLDER}/{name}", MANIFEST)
            names, total = _list(output, progress)
            for name in names:
                folder = file_io.join(output, archive.FOLDER, name)
                # These first, so that the rest of a folder is never restored.
                for document in (MANIFEST, stored_models.MANIFEST, INPUTS):
                    file_io.delete_file(file_io.join(folder, document))
                file_io.delete_folder(folder)
        progress.print(f"Deleted {total}")


def _list(output: str, progress: Progress) -> tuple[list[str], str]:
    """Print the archived folders; return their names, and a text of their total size."""
    sizes = file_io.sizes(file_io.join(output, archive.FOLDER))
    names = sorted({name.partition("/")[0] for name in sizes})
    grid = Grid(title="Archived", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("folder", "rows", "MB", "finished"):
        grid.add_column(column, justify="right" if column in ("rows", "MB") else "left")
    for name in names:
        table = Table(output, f"{archive.FOLDER}/{name}")
        size = sum(bytes_ for path, bytes_ in sizes.items() if path.startswith(f"{name}/"))
        finished = (
            "yes" if f"{name}/{stored_models.MANIFEST}" in sizes else (table.manifest() or {}).get("finished", "no")
        )
        grid.add_row(table.name, f"{table.rows_written():,}", f"{size / 1e6:,.1f}", str(finished))
    progress.show(grid)
    return names, f"{sum(sizes.values()) / 1e6:,.1f} MB in {file_io.join(output, archive.FOLDER)}"
