"""A comparison of two candidates as text for the terminal."""

from rich.console import Console
from rich.text import Text

from factory.lineage.comparison import AnswerComparison, ChangedAnswer, Outcome, PersonaOutcome
from factory.lineage.lineage_text import build_grid, escape, first_line, indented, labeled


def show_comparison(comparison: AnswerComparison, console: Console) -> None:
    """Print the outcome over all, by task and by persona, and the answers that changed most."""
    a, b = comparison.a, comparison.b
    where = a.output if a.output == b.output else f"{a.output} and {b.output}"
    console.print(Text(escape(f"{a.candidate} against {b.candidate}  in {where}"), "bold"))
    console.print(escape(f"by {', '.join(comparison.judges)}; a difference is {a.candidate}'s score minus the other's"))
    rows = {"all": comparison.overall, **comparison.tasks}
    console.print()
    console.print(indented(build_grid(["task", "difference", "wins", "losses", "ties"], [*map(_row, rows.items())])))
    if comparison.only_a or comparison.only_b:
        console.print(
            f"Without a scored partner: {comparison.only_a:,} answers of {escape(a.candidate)}, "
            f"{comparison.only_b:,} of {escape(b.candidate)}"
        )
    _show_personas(f"Personas that {a.candidate} plays better", comparison.best, console)
    _show_personas(f"Personas that {a.candidate} plays worse", comparison.worst, console)
    _show_answers(f"Answers of {a.candidate} that score higher", comparison.gained, comparison, console)
    _show_answers(f"Answers of {a.candidate} that score lower", comparison.lost, comparison, console)


def _row(named: tuple[str, Outcome]) -> list[str]:
    name, found = named
    return [escape(name), f"{found.difference:+.2f}", f"{found.wins:,}", f"{found.losses:,}", f"{found.ties:,}"]


def _show_personas(title: str, personas: tuple[PersonaOutcome, ...], console: Console) -> None:
    if personas:
        console.print()
        console.print(Text(escape(title), "bold"))
        rows = [[f"{each.outcome.difference:+.2f}", first_line(each.persona)] for each in personas]
        console.print(indented(build_grid(["difference", "persona"], rows)))


def _show_answers(
    title: str, answers: tuple[ChangedAnswer, ...], comparison: AnswerComparison, console: Console
) -> None:
    for number, answer in enumerate(answers):
        console.print()
        if not number:
            console.print(Text(escape(title), "bold"))
        console.print(
            indented(f"{answer.difference:+.2f}  {escape(answer.task)}, question {escape(answer.question_id)}")
        )
        for name, text in (("persona", answer.persona), ("question", answer.question)):
            console.print(indented(labeled(name, text)))
        for side, text, scores in (
            (comparison.a, answer.answer_a, answer.scores_a),
            (comparison.b, answer.answer_b, answer.scores_b),
        ):
            given = ", ".join(f"{judge} {score:g}" for judge, score in scores.items())
            console.print(indented(labeled(f"{side.candidate} ({given})", text)))
