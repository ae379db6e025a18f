"""The worst answers of a task and the training examples near them, as text for the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from factory.lineage.attribution import AttributionResult, WorstAnswer
from factory.lineage.lineage_text import build_grid, escape, first_line, indented, labeled

CAVEAT = "Near means similar in words: a lead, not proof that an example is the cause. --id shows an example's origin."


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar over the training examples, on a terminal only; it disappears at the end."""
    columns = (TextColumn("comparing training examples"), BarColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("compare", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def show_attribution(attribution: AttributionResult, console: Console) -> None:
    """Print the worst answers, each with its judgments and the examples near it."""
    counts = f"the {len(attribution.worst)} lowest of {attribution.judged:,} answers of {attribution.candidate}"
    console.print(Text(escape(f"{attribution.task}  {counts} in {attribution.output}"), "bold"))
    console.print(f"compared with {attribution.compared:,} training examples. {CAVEAT}")
    for note in attribution.notes:
        console.print(Text(f"note: {escape(note)}", "yellow"))
    for answer in attribution.worst:
        _show(answer, console)


def _show(answer: WorstAnswer, console: Console) -> None:
    expected = "" if answer.expected_score is None else f" (expected {answer.expected_score:.2f})"
    console.print()
    console.print(Text(f"score {answer.score:.2f}{expected}  question {escape(answer.question_id)}", "bold"))
    for name in ("persona", "question", "answer"):
        console.print(indented(labeled(name, getattr(answer, name))))
    for judgment in answer.judgments:
        score = judgment["reason"] if judgment["score"] is None else judgment["score"]
        console.print(indented(labeled(f"{judgment['judge']} {score}", judgment["reasoning"] or "")))
    console.print()
    if not answer.nearest:
        console.print(indented("no training example has a word in common with it"))
        return
    rows = [
        [f"{near.similarity:.2f}", escape(near.dialogue_id), escape(near.source), first_line(near.reply)]
        for near in answer.nearest
    ]
    console.print(indented(build_grid(["similarity", "dialogue_id", "source", "reply"], rows)))
