"""How offensive replies are, by the words of English that they hold.

The model is alt-profanity-check's: a linear one over bags of words, learned on comments that people
had marked, whose weights come with the package.
"""

import re
from collections.abc import Sequence

import numpy as np

from factory.curation.rules.context import DialogueContext

PART = 200
"""Characters of a reply that are judged together: an insult that has 0.997 by itself has 0.19 in a reply of 2,000."""
_PARTS = re.compile(rf"\S[\s\S]{{0,{PART - 1}}}(?!\S)|\S{{{PART}}}")


def toxicities(cases: Sequence[DialogueContext]) -> np.ndarray:
    """How likely the worst part of each dialogue's replies is offensive, all of them at once.

    Returns:
        float of shape (cases,), from 0 to 1.
    """
    texts = [(place, part) for place, case in enumerate(cases) for reply in case.replies for part in parts(reply)]
    worst = np.zeros(len(cases))
    if texts:
        from profanity_check import predict_prob

        np.maximum.at(worst, [place for place, _ in texts], predict_prob([part for _, part in texts]))
    return worst


def parts(text: str) -> list[str]:
    """A text in pieces of some words."""
    return _PARTS.findall(text)
