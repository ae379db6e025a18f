"""The check that the judge of `curation.judge` must pass before it judges dialogues.

It scores both replies of the built-in pairs of kind `generic`, one in character and one that any assistant could have
written, exactly as it scores dialogues, since these scores are what the rule goes by. Its verdicts are a table, so
that a check is made once.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from factory.config import RunConfig
from factory.errors import InputError
from factory.evaluation.dialogue_judge.dialogue_judge_steps import rule_of, verdict_job, with_its_judge
from factory.evaluation.evaluation_steps import run_judge_jobs
from factory.evaluation.judge_check.check_results import FOLDER, refuse_inaccurate
from factory.evaluation.judge_check.pairs import AnswerPair, read_pairs
from factory.evaluation.judge_clients import JudgeClient
from factory.evaluation.scoring.proportions import Proportion, proportion
from factory.inference.generation_step import TableJob
from factory.records import DialogueToJudge, Message, content_id
from factory.resources import RESOURCES
from factory.runtime.build_table import build_table
from factory.runtime.progress import Progress
from factory.storage import archive, file_io
from factory.storage.rows import Row, ok_row
from factory.storage.schemas import record_schema, with_common_columns
from factory.storage.tables import Table, compute_fingerprint

MORE_PAIRS = file_io.join(str(RESOURCES), "data", "generic-pairs.jsonl")
MIN_PAIRS = 40
"""Of 40 pairs, a judge that is right on 90 % of all fails a bar of 80 % in 2 % of cases, and one that is right on 65 %
passes it in 3 %; of the 14 of the judge check alone it would be 16 and 8 %."""


def generic_pairs() -> tuple[AnswerPair, ...]:
    """Return the pairs of a reply in character and a generic one: those of the judge check, and more."""
    return tuple(pair for pair in (*read_pairs(), *read_pairs(MORE_PAIRS)) if pair.kind == "generic")


def check_judge(config: RunConfig, progress: Progress) -> dict[str, Any]:
    """Let the judge score the pairs unless it has, and return its accuracy; empty where none is demanded.

    Raises:
        InputError: it is below `curation.judge.min_accuracy`.
    """
    rule = rule_of(config)
    if not rule.min_accuracy:
        return {}
    work, judge = _pairs_table(config, progress), rule.as_judge().name
    table = Table(config.output, f"{FOLDER}/{judge}/generic")

    def jobs_for(judges: Sequence[JudgeClient]) -> list[TableJob]:
        return [verdict_job(config, work, table, judges[0])]

    run_judge_jobs(with_its_judge(config), [jobs_for], progress)
    if archive.current_rehearsal():
        return {}
    right = accuracy([row for shard in table.shards() for row in table.read(shard).to_pylist()])
    key, pairs = "curation.judge.min_accuracy", "built-in pairs of a reply in character and a generic one"
    refuse_inaccurate(key, rule.min_accuracy, judge, asdict(right), f"{right.of or len(generic_pairs())} {pairs}")
    if right.of < MIN_PAIRS:
        raise InputError(
            f"{key} is {rule.min_accuracy}, but {judge!r} gave verdicts on only {right.of} of the "
            f"{len(generic_pairs())} {pairs}, and {MIN_PAIRS} are needed; see {table.path}, or raise "
            "curation.judge.sampling.max_tokens"
        )
    low, high = f"{right.low:.0%}", f"{right.high:.0%}"
    progress.print(f"judge: {judge} is right on {right.value:.0%} [{low}, {high}] of {right.of} {pairs}")
    return {"accuracy": asdict(right)}


def accuracy(rows: Sequence[Row]) -> Proportion:
    """Return how often the reply in character got the higher score for voice, by the verdicts on both replies.

    Equal scores are half a hit. A voice that the judge finds no room for counts as the best, as in the rule. Pairs with
    a failure are not counted.
    """
    voices = {row["dialogue_id"]: _voice(row) for row in rows if row["status"] == "ok"}
    sides = [(voices.get(_id(pair, "better")), voices.get(_id(pair, "worse"))) for pair in generic_pairs()]
    margins = [better - worse for better, worse in sides if better is not None and worse is not None]
    return proportion([0.5 if margin == 0 else float(margin > 0) for margin in margins])


def _voice(row: Row) -> int:
    return int(row["voice_score"]) if row["has_room"] else 5


def _id(pair: AnswerPair, side: str) -> str:
    return content_id(pair.id, side)


def pairs_as_dialogues() -> Iterator[DialogueToJudge]:
    """Yield both replies of each pair as a dialogue with the question."""
    for pair in generic_pairs():
        for side, reply in (("better", pair.better), ("worse", pair.worse)):
            messages = (Message("user", pair.question), Message("assistant", reply))
            character = content_id(pair.persona)
            yield DialogueToJudge(
                _id(pair, side), character, "generate", "generic-pairs", pair.persona, "", messages, ()
            )


def _pairs_table(config: RunConfig, progress: Progress) -> Table:
    table, rows = Table(config.output, f"{FOLDER}/generic"), [ok_row(one) for one in pairs_as_dialogues()]
    schema = with_common_columns(record_schema(DialogueToJudge))
    inputs = {"rows": compute_fingerprint({"rows": json.dumps(rows)})}
    build_table(table, inputs, len(rows), lambda: table.write("00000", rows, schema), progress)
    return table
