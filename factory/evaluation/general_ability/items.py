"""Instructions without a role, for what tuning on roles may cost: can a model still do what it is plainly asked?

A plain instruction comes with a good reply, and the candidate says how likely it finds that reply. A
verifiable one is answered at temperature 0, and a program checks what was asked for.
"""

import json
import math
from collections.abc import Mapping

from factory.evaluation.general_ability.ifeval import BUILT_IN as VERIFIABLE
from factory.evaluation.general_ability.ifeval import Verifiable, followed, read_verifiable
from factory.records import Completion, GeneralItem, GeneralResult, Message, Reject, Request, content_id
from factory.resources import RESOURCES
from factory.storage import file_io
from factory.storage.rows import to_messages
from factory.text.normalize import is_text

PLAIN = file_io.join(str(RESOURCES), "data", "general", "plain.jsonl")


def general_items(plain: str = PLAIN, verifiable: str = VERIFIABLE) -> list[GeneralItem]:
    """All instructions, in the order of the files."""
    dialogues = [to_messages(json.loads(line)) for line in file_io.read_bytes(plain).splitlines()]
    items = [GeneralItem(content_id(*(said.content for said in each)), "plain", each) for each in dialogues]
    asked = instructions_by_id(verifiable).items()
    return items + [GeneralItem(key, "verifiable", (Message("user", one.instruction),)) for key, one in asked]


def instructions_by_id(path: str = VERIFIABLE) -> dict[str, Verifiable]:
    """The verifiable instructions by the ids of their items: hashes of all that decides the result."""
    return {content_id(one.model_dump_json()): one for one in read_verifiable(path)}


def render_general(item: GeneralItem) -> Request:
    """Ask as a user would, with no word of a role."""
    if item.kind == "plain":
        return Request(item.messages, score_only=True)
    return Request(item.messages, temperature=0)


def parse_general(
    candidate: str, instructions: Mapping[str, Verifiable], item: GeneralItem, completion: Completion
) -> GeneralResult | Reject:
    """Take the likelihood, or check the reply as it stands; an empty one follows nothing."""
    ids = general_ids(candidate, item)
    if item.kind == "plain":
        likelihood, tokens = completion.log_likelihood, completion.output_tokens
        if likelihood is None or not math.isfinite(likelihood) or not tokens:
            return Reject("engine_error", f"the log-likelihood of the reply is {likelihood}, over {tokens} tokens")
        return GeneralResult(**ids, answer=None, followed=None, log_likelihood=likelihood, tokens=tokens)
    answer = completion.replies[-1].strip()
    if not is_text(answer):
        return Reject("invalid_text", answer)
    held = followed(instructions[item.item_id], answer)
    return GeneralResult(**ids, answer=answer, followed=held, log_likelihood=None, tokens=None)


def general_ids(candidate: str, item: GeneralItem) -> dict[str, str]:
    """Return the columns that a result and its reject share."""
    return {"candidate": candidate, "item_id": item.item_id, "kind": item.kind}
