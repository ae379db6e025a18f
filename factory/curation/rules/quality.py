"""Quality rules: what makes a reply unfit for training."""

from factory.config import Quality
from factory.curation.rules.context import DialogueContext
from factory.records import Reject


def check_quality(dialogue: DialogueContext, quality: Quality) -> Reject | None:
    """Return the first rule that a dialogue breaks and what was found, or None."""
    for reason, rule in quality.rules.items():
        found = rule.find(dialogue)
        if found is not None:
            return Reject(reason, found)
    return None
