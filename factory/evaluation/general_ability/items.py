"""Instructions without a role, which show whether tuning on roles reduced a model's general ability.

A plain instruction has a good reply, and the candidate computes its likelihood. A verifiable instruction is answered
at temperature 0, and a program checks the reply.
"""

import json
import math
from collections.abc import Mapping

from factory.evaluation.general_ability.ifeval import BUILT_IN as VERIFIABLE
from factory.evaluation.general_ability.ifeval import VerifiableInstruction, followed, read_verifiable
from factory.records import Completion, GeneralItem, GeneralResult, Message, Reject, Request, content_id
from factory.resources import RESOURCES
from factory.storage import file_io
from factory.storage.rows import to_messages
from factory.text.normalize import is_text

PLAIN = file_io.join(str(RESOURCES), "data", "general", "plain.jsonl")


def general_items(plain: str = PLAIN, verifiable: str = VERIFIABLE) -> list[GeneralItem]:
    """Return all instructions, in the order of the files."""
    dialogues = [to_messages(json.loads(line)) for line in file_io.read_bytes(plain).splitlines()]
    items = [GeneralItem(content_id(*(message.content for message in turns)), "plain", turns) for turns in dialogues]
    by_id = instructions_by_id(verifiable).items()
    return items + [GeneralItem(key, "verifiable", (Message("user", each.instruction),)) for key, each in by_id]


def instructions_by_id(path: str = VERIFIABLE) -> dict[str, VerifiableInstruction]:
    """Return the verifiable instructions by their ids: hashes of instruction and checks."""
    return {content_id(each.model_dump_json()): each for each in read_verifiable(path)}


def render_general(item: GeneralItem) -> Request:
    """Ask as a user would, without a role."""
    if item.kind == "plain":
        return Request(item.messages, score_only=True)
    return Request(item.messages, temperature=0)


def parse_general(
    candidate: str, instructions: Mapping[str, VerifiableInstruction], item: GeneralItem, completion: Completion
) -> GeneralResult | Reject:
    """Take the likelihood, or check the reply as it is; an empty reply follows nothing."""
    ids = general_ids(candidate, item)
    if item.kind == "plain":
        likelihood, tokens = completion.log_likelihood, completion.output_tokens
        if likelihood is None or not math.isfinite(likelihood) or not tokens:
            return Reject("engine_error", f"the log-likelihood of the reply is {likelihood}, over {tokens} tokens")
        return GeneralResult(**ids, answer=None, followed=None, log_likelihood=likelihood, tokens=tokens)
    answer = completion.replies[-1].strip()
    if not is_text(answer):
        return Reject("invalid_text", answer)
    follows = followed(instructions[item.item_id], answer)
    return GeneralResult(**ids, answer=answer, followed=follows, log_likelihood=None, tokens=None)


def general_ids(candidate: str, item: GeneralItem) -> dict[str, str]:
    """Return the columns that a result and its reject share."""
    return {"candidate": candidate, "item_id": item.item_id, "kind": item.kind}
