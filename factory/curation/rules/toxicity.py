"""Toxicity: how likely replies are offensive, by their English words.

The model is alt-profanity-check's: a linear model over bags of words, trained on comments that people
had labeled; its weights come with the package.
"""

import re
from collections.abc import Sequence

import numpy as np

from factory.curation.rules.context import DialogueContext

PART = 200
"""Characters of a reply that are scored together: an insult with 0.997 by itself has 0.19 in a reply of 2,000."""
_PARTS = re.compile(rf"\S[\s\S]{{0,{PART - 1}}}(?!\S)|\S{{{PART}}}")


def toxicities(dialogues: Sequence[DialogueContext]) -> np.ndarray:
    """Return the probability that the worst part of each dialogue's replies is offensive.

    Returns:
        float of shape (dialogues,), from 0 to 1.
    """
    texts = [
        (number, part)
        for number, dialogue in enumerate(dialogues)
        for reply in dialogue.replies
        for part in parts(reply)
    ]
    worst = np.zeros(len(dialogues))
    if texts:
        from profanity_check import predict_prob

        np.maximum.at(worst, [number for number, _ in texts], predict_prob([part for _, part in texts]))
    return worst


def parts(text: str) -> list[str]:
    """Split a text into parts of whole words."""
    return _PARTS.findall(text)
