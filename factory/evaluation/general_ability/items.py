"""Instructions without a role, which show whether tuning on roles reduced a model's general ability.

A plain instruction has a good reply, and the candidate computes its likelihood. A verifiable instruction is answered
at temperature 0, and a program checks the reply.
"""

import json
import math
from collections.abc import Mapping

from factory.config.evaluation import Evaluation
from factory.evaluation.general_ability.ifeval import VerifiableInstruction, followed, read_verifiable
from factory.evaluation.general_ability.ifeval_file import read_ifeval
from factory.records import Completion, GeneralItem, GeneralResult, Message, Reject, Request, content_id
from factory.resources import RESOURCES
from factory.storage import file_io
from factory.storage.rows import to_messages
from factory.text.normalize import is_text

PLAIN = file_io.join(str(RESOURCES), "data", "general", "plain.jsonl")


def general_items(ifeval: str | None = None, limit: int | None = None) -> list[GeneralItem]:
    """Return all instructions: the plain ones in the order of their file, then `verifiable_instructions`."""
    dialogues = [to_messages(json.loads(line)) for line in file_io.read_bytes(PLAIN).splitlines()]
    items = [GeneralItem(content_id(*(message.content for message in turns)), "plain", turns) for turns in dialogues]
    by_id = verifiable_instructions(ifeval, limit).items()
    return items + [GeneralItem(key, "verifiable", (Message("user", each.instruction),)) for key, each in by_id]


def count_items(evaluation: Evaluation) -> int:
    """Return how many instructions each candidate gets."""
    return len(general_items(evaluation.ifeval, evaluation.general_limit)) if evaluation.general else 0


def verifiable_instructions(ifeval: str | None = None, limit: int | None = None) -> dict[str, VerifiableInstruction]:
    """Return verifiable instructions by their ids: hashes of instruction and checks.

    Args:
        ifeval: IFEval's published file; None: the built-in instructions.
        limit: how many, in the order of their ids, so that those of all forms are among them; None: all.

    Raises:
        InputError: as `read_ifeval`.
    """
    found = read_ifeval(ifeval) if ifeval else read_verifiable()
    by_id = {content_id(each.model_dump_json(exclude={"id"})): each for each in found}
    return dict(sorted(by_id.items())[:limit])


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
