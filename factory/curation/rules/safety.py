"""Safety rules: what protects people. They are applied first, because the details of other rejects quote the replies.

They add 4 % to the time of the filter: for replies of 220 words 8.06 ms per dialogue without them (600 dialogues,
one core), and 0.01 ms for personal data, 0.16 ms for names and 0.15 ms for offensive words.
"""

from factory.config import PERSONAL_DATA, Safety
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.personal_data import personal_data
from factory.curation.rules.real_people import RealPeople, real_person
from factory.records import Reject


def check_safety(
    dialogue: DialogueContext, safety: Safety, people: RealPeople | None, toxicity: float
) -> Reject | None:
    """Return the first reason against a dialogue, or None.

    Args:
        dialogue: the dialogue.
        safety: which rules are applied.
        people: the names that may not appear; None: any may.
        toxicity: the probability that its replies are offensive.
    """
    found = personal_data(dialogue, safety) if safety.personal_data else None
    if found:
        return Reject(PERSONAL_DATA, found)
    found = real_person(dialogue, people) if people else None
    if found:
        return Reject("real_person", found)
    if safety.toxicity is not None and toxicity >= safety.toxicity:
        return Reject("toxic", f"offensive with a probability of {toxicity:.2f}")
    return None
