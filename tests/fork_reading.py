"""A second reading of the rules by which the paper's runner reads and counts, slow and without regular expressions.

It is written from a description of the rules, not from `factory.evaluation.parity`, which it checks.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev


def _number_at(text: str, start: int) -> int:
    """Return where the digits that begin at a place end."""
    end = start
    while end < len(text) and text[end].isdecimal():
        end += 1
    return end


def _marks(text: str, before: str, after: str, spaced: bool) -> list[tuple[int, int, str]]:
    """Return start, end and number of each mark: `before`, digits, `after`; with any spaces before its last part."""
    found, place = [], 0
    while (start := text.find(before, place)) >= 0:
        digits = start + len(before)
        end = _number_at(text, digits)
        place = start + 1
        if end == digits:
            continue
        head, tail = after.split("|") if spaced else (after, "")
        if not text.startswith(head, end):
            continue
        rest = end + len(head)
        while spaced and text.startswith(" ", rest):
            rest += 1
        if not text.startswith(tail, rest):
            continue
        found.append((start, rest + len(tail), text[digits:end]))
        place = rest + len(tail)
    return found


def read_examples(reply: str) -> str:
    """Return what a judge is shown of a reply that holds examples."""
    marks = _marks(reply, "Score ", ":|Response -", spaced=True)
    lines: list[str] = []
    for number, (_, end, digits) in enumerate(marks):
        is_last = number + 1 == len(marks)
        text = reply[end:] if is_last else reply[end : marks[number + 1][0]]
        while text.startswith(" "):
            text = text[1:]
        if text.startswith('"'):
            text = text[1:]
        # A closing quote goes where only line ends follow it: at the very end, one of them at most.
        bare = text
        while bare.endswith("\n") and (not is_last or bare == text):
            bare = bare[:-1]
        if bare.endswith('"'):
            text = bare[:-1]
        lines += f'Score {digits}: "{text.strip()}"'.split("\n")
        lines.append("")
    return "\n\n".join(line for line in lines if line.startswith("Score"))


def read_evaluations(reply: str) -> list[str]:
    """Return the texts after each numbered mark of a judge's reply."""
    marks = _marks(reply, "(", ") Evaluation:", spaced=False)
    texts = []
    for number, (_, end, _) in enumerate(marks, 1):
        texts.append(reply[end : marks[number][0] if number < len(marks) else len(reply)].strip())
    return texts


def read_number(evaluation: str) -> int:
    """Return the first number that directly follows the words, or 0."""
    words, place = "Therefore, the final score is", 0
    while (start := evaluation.find(words, place)) >= 0:
        place = start + len(words)
        digits = place
        while digits < len(evaluation) and evaluation[digits].isspace():
            digits += 1
        end = _number_at(evaluation, digits)
        if end > digits:
            return int(evaluation[digits:end])
    return 0


def score_of_call(reply: str) -> float:
    """Return the score of one call of a judge."""
    total, counted = 0, 0
    for evaluation in read_evaluations(reply):
        if number := read_number(evaluation):
            total, counted = total + number, counted + 1
    return total / counted if counted else 0.0


def scores_of_candidate(replies: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, tuple[float, float]]:
    """Return mean and population standard deviation of each task and of the PScore.

    Args:
        replies: the judge's replies by persona and task, in order; `Error` for a call that failed.
    """
    rows = []
    for tasks in replies.values():
        row = {task: fmean(score_of_call(reply) for reply in calls) for task, calls in tasks.items()}
        rows.append(row | {"PScore": fmean(row.values())})
    return {name: (fmean(row[name] for row in rows), pstdev(row[name] for row in rows)) for name in rows[0]}
