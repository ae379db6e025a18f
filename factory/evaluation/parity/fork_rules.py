"""How the runner of the paper reads replies and counts scores, rule by rule, its oddities included.

It is OpenCharacter's fork of PersonaGym. Nothing here is how this factory scores: `compute_scores` does that.
"""

import re
from collections.abc import Sequence

FAILED = "Error"
"""What the runner takes for the reply of a call that failed; it judges that as an answer."""
BLOCK = 5
"""Questions that it judges in one call."""

_EXAMPLE = re.compile(r"Score (\d++): *+Response -")
_EVALUATION = re.compile(r"\((\d++)\) Evaluation:")
_SCORE = re.compile(r"Therefore, the final score is\s*+(\d{1,18})")


def shown_examples(reply: str) -> tuple[str, ...]:
    """Return the example replies as the judge is shown them: of each its first line, with an opening quote.

    The closing quote is lost with the later lines. Examples with other marks give nothing.
    """
    marked = _marked(_EXAMPLE, reply)
    quoted = [
        f'Score {number}: "{_without_quotes(text, place == len(marked))}"'
        for place, (number, text) in enumerate(marked, 1)
    ]
    return tuple(line for line in "\n\n".join(quoted).split("\n") if line.startswith("Score"))


def _marked(mark: re.Pattern[str], reply: str) -> list[tuple[str, str]]:
    """Return the number of each mark, and the text from there to the next."""
    _, *pieces = mark.split(reply)
    return list(zip(pieces[::2], pieces[1::2], strict=True))


def _without_quotes(text: str, is_last: bool) -> str:
    text = text.lstrip(" ").removeprefix('"')
    bare = text.removesuffix("\n") if is_last else text.rstrip("\n")
    return (bare[:-1] if bare.endswith('"') else text).strip()


def evaluations(reply: str) -> list[tuple[int, str]]:
    """Return the numbered evaluations of a judge's reply; what precedes the first is lost."""
    return [(int(number[:9]), text.strip()) for number, text in _marked(_EVALUATION, reply)]


def counted_scores(reply: str) -> tuple[int, ...]:
    """Return the score of each evaluation as it is counted: any whole number, and 0 where none is found."""
    found = (_SCORE.search(text) for _, text in evaluations(reply))
    return tuple(int(match[1]) if match else 0 for match in found)


def call_score(scores: Sequence[int]) -> float:
    """Return the score of a call: the mean of those that are not 0, or 0 if there is none."""
    counted = [score for score in scores if score]
    return sum(counted) / len(counted) if counted else 0.0
