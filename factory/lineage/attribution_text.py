"""The worst answers of a task and what is near them, for people."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from factory.lineage.attribution import Blame, Low
from factory.lineage.lineage_text import grid, indented, labelled, line, plain

CAVEAT = "Near means similar in words, which is no proof that an example is the cause; --id shows where one comes from."


@contextmanager
def watching(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar over the training examples, on the terminal alone, that is gone when all were looked at."""
    columns = (TextColumn("comparing training examples"), BarColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("compare", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def show_blame(blamed: Blame, console: Console) -> None:
    """Print the worst answers, each with its judgments and the examples near it."""
    title = f"{blamed.task}  the {len(blamed.worst)} lowest of {blamed.judged:,} answers of {blamed.candidate}"
    console.print(Text(plain(f"{title} in {blamed.output}"), "bold"))
    console.print(f"beside {blamed.compared:,} training examples. {CAVEAT}")
    for note in blamed.notes:
        console.print(Text(f"note: {plain(note)}", "yellow"))
    for low in blamed.worst:
        _show(low, console)


def _show(low: Low, console: Console) -> None:
    expected = "" if low.expected_score is None else f" (expected {low.expected_score:.2f})"
    console.print()
    console.print(Text(f"score {low.score:.2f}{expected}  question {plain(low.question_id)}", "bold"))
    for name in ("persona", "question", "answer"):
        console.print(indented(labelled(name, getattr(low, name))))
    for one in low.judgments:
        given = one["reason"] if one["score"] is None else one["score"]
        console.print(indented(labelled(f"{one['judge']} {given}", one["reasoning"] or "")))
    console.print()
    if not low.nearest:
        console.print(indented("no training example has a word in common with it"))
        return
    rows = [
        [f"{near.similarity:.2f}", plain(near.dialogue_id), plain(near.source), line(near.reply)]
        for near in low.nearest
    ]
    console.print(indented(grid(["similarity", "dialogue_id", "source", "reply"], rows)))
