"""Arrow schemas of all tables: the fields of a record, followed by the common columns."""

import dataclasses
from collections.abc import Collection
from typing import Any

import pyarrow as pa

from factory.records import (
    Answer,
    AnswerBlock,
    Assignment,
    BlockVerdict,
    CandidateChoice,
    CandidateDialogue,
    Dialogue,
    Example,
    Feedback,
    GeneralItem,
    GeneralResult,
    Instruction,
    JudgedDialogue,
    Judgment,
    Label,
    LabelItem,
    Message,
    PassedOver,
    Persona,
    PersonaQuestions,
    PersonaSettings,
    PersonaTask,
    Preference,
    PreferencePair,
    Profile,
    Question,
    Score,
    ScoreExamples,
)

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    Score: pa.int8(),
    str | None: pa.string(),
    float: pa.float64(),
    bool | None: pa.bool_(),
    int | None: pa.int32(),
    float | None: pa.float64(),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[int, ...]: pa.list_(pa.int64()),
    tuple[Message, ...]: MESSAGES,
}

THOUGHT_COLUMNS = [pa.field("thoughts", pa.list_(pa.string())), pa.field("thought_tokens", pa.int32())]
"""Tables of earlier versions end before these."""
LATER_COLUMNS = [
    pa.field("attempts", pa.int64()),
    pa.field("draw", pa.int64()),
    pa.field("origin", pa.string()),
    pa.field("card", pa.string()),
    pa.field("facts", pa.string()),
    pa.field("strata", pa.string()),
    pa.field("flags", pa.string()),
]
"""Columns of answers, judgments, profiles and personas, which those of earlier versions lack; who asks for one by name
gets nulls there."""
COMMON_COLUMNS = [
    pa.field("status", pa.string()),
    pa.field("reason", pa.string()),
    pa.field("detail", pa.string()),
    pa.field("prompt", pa.string()),
    pa.field("model", pa.string()),
    pa.field("prompt_tokens", pa.int32()),
    pa.field("output_tokens", pa.int32()),
    pa.field("cached_tokens", pa.int32()),
    *THOUGHT_COLUMNS,
]
"""The last columns of most tables. `cached_tokens` are prompt tokens served from the prefix cache. `thoughts` has what
a reasoning model wrote before each reply, null where it shows none; `thought_tokens` are output tokens too."""


def lacking_columns(asked: Collection[str], written: Collection[str]) -> list[pa.Field]:
    """Return those of `LATER_COLUMNS` that are asked for and were not written."""
    return [field for field in LATER_COLUMNS if field.name in asked and field.name not in written]


def record_schema(record: type) -> pa.Schema:
    """Return the Arrow schema of a record's fields."""
    return pa.schema([pa.field(f.name, _ARROW_TYPES[f.type]) for f in dataclasses.fields(record)])


def with_common_columns(schema: pa.Schema) -> pa.Schema:
    """Return a schema followed by the common columns."""
    return pa.schema([*schema, *COMMON_COLUMNS])


SOURCE_COLUMNS = [pa.field("source", pa.int64()), pa.field("row", pa.int64())]
PERSONAS = with_common_columns(pa.schema([*record_schema(Persona), *SOURCE_COLUMNS]))
INSTRUCTIONS = with_common_columns(record_schema(Instruction))
ASSIGNMENTS = record_schema(Assignment)
PROFILES = with_common_columns(record_schema(Profile))
GIVEN_PROFILES = with_common_columns(pa.schema([*record_schema(Profile), *SOURCE_COLUMNS]))
DIALOGUES = with_common_columns(record_schema(Dialogue))
JUDGED_DIALOGUES = with_common_columns(record_schema(JudgedDialogue))
CANDIDATES = with_common_columns(record_schema(CandidateDialogue))
COMPARISONS = with_common_columns(record_schema(CandidateChoice))
PASSED_OVER = with_common_columns(record_schema(PassedOver))
EXAMPLES = with_common_columns(record_schema(Example))
PERSONA_SETTINGS = with_common_columns(record_schema(PersonaSettings))
PERSONA_TASKS = record_schema(PersonaTask)
PERSONA_QUESTIONS = with_common_columns(record_schema(PersonaQuestions))
QUESTIONS = with_common_columns(record_schema(Question))
ANSWERS = with_common_columns(record_schema(Answer))
SCORE_EXAMPLES = with_common_columns(record_schema(ScoreExamples))
JUDGMENTS = with_common_columns(record_schema(Judgment))
ANSWER_BLOCKS = record_schema(AnswerBlock)
BLOCK_VERDICTS = with_common_columns(record_schema(BlockVerdict))
PREFERENCES = with_common_columns(record_schema(Preference))
PREFERENCE_PAIRS = with_common_columns(record_schema(PreferencePair))
GENERAL_ITEMS = with_common_columns(record_schema(GeneralItem))
GENERAL_RESULTS = with_common_columns(record_schema(GeneralResult))
LABEL_ITEMS = with_common_columns(record_schema(LabelItem))
LABELS = with_common_columns(record_schema(Label))
FEEDBACK = with_common_columns(record_schema(Feedback))
