"""Tables that changed settings archived, and models of scored checkpoints, with their size; --yes deletes them.

character-factory prune demo [--yes] [section.key=value ...]
"""

from rich.table import Table as Grid

from factory.cli import Parser, with_absolute_paths
from factory.inference import stored_models
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.storage import archive, file_io, folder_moves
from factory.storage.run_lock import hold_run_lock
from factory.storage.tables import INPUTS, MANIFEST, Table

PRUNABLE = (
    archive.FOLDER, f"{layout.CHECKPOINT_SCORES}/{archive.FOLDER}", layout.CHECKPOINT_MODELS,
)  # fmt: skip
"""Folders whose subfolders can be deleted."""


def run() -> None:
    """Read the command line, list what can be deleted, and delete it with --yes.

    Raises:
        UserError: the config is wrong, the output cannot be read, or a run works on it.
    """
    parser = Parser(__doc__)
    parser.add_argument("--yes", action="store_true", help="delete what is listed")
    arguments, config = parser.parse()
    output = with_absolute_paths(config).output
    progress = Progress()
    if not any(file_io.sizes(file_io.join(output, folder)) for folder in PRUNABLE):
        progress.print(f"Nothing is archived in {output}")
    elif not arguments.yes:
        _, total = _list(output, progress)
        progress.print(f"{total}; --yes deletes it, and what is needed again must then be made anew")
    else:
        with hold_run_lock(output):
            for folder in PRUNABLE:
                for name in file_io.list_names(file_io.join(output, folder), ""):
                    # After a kill, the mark that makes a restored table count may still be here.
                    folder_moves.settle(output, f"{folder}/{name}", MANIFEST)
            names, total = _list(output, progress)
            for name in names:
                # These first, so that the rest of a folder is never restored.
                for document in (MANIFEST, stored_models.MANIFEST, INPUTS):
                    file_io.delete_file(file_io.join(output, name, document))
                file_io.delete_folder(file_io.join(output, name))
        progress.print(f"Deleted {total}")


def _list(output: str, progress: Progress) -> tuple[list[str], str]:
    """Print the folders that can be deleted; return their names, and a text of their total size."""
    sizes: dict[str, int] = {}
    names: set[str] = set()
    for folder in PRUNABLE:
        found = file_io.sizes(file_io.join(output, folder))
        sizes |= {f"{folder}/{name}": size for name, size in found.items()}
        names |= {f"{folder}/{name.partition('/')[0]}" for name in found}
    grid = Grid(title="Can be deleted", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("folder", "rows", "MB", "finished"):
        grid.add_column(column, justify="right" if column in ("rows", "MB") else "left")
    for name in sorted(names):
        table = Table(output, name)
        size = sum(bytes_ for path, bytes_ in sizes.items() if path.startswith(f"{name}/"))
        finished = (
            "yes" if f"{name}/{stored_models.MANIFEST}" in sizes else (table.manifest() or {}).get("finished", "no")
        )
        grid.add_row(table.name, f"{table.rows_written():,}", f"{size / 1e6:,.1f}", str(finished))
    progress.show(grid)
    return sorted(names), f"{sum(sizes.values()) / 1e6:,.1f} MB in {output}"
