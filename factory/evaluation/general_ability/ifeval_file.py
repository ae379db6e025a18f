"""IFEval's published file, `input_data.jsonl`, in place of the built-in verifiable instructions.

A line has a `prompt`, the names of its rules in `instruction_id_list`, and the arguments of each in `kwargs`, where
Hugging Face's copy has null for those that a rule does not take.
"""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from factory.errors import InputError
from factory.evaluation.general_ability.ifeval import Published, VerifiableInstruction
from factory.evaluation.general_ability.ifeval_rules import check_arguments
from factory.storage import file_io


class _Line(TypedDict):
    key: int | str
    prompt: Annotated[str, Field(min_length=1)]
    instruction_id_list: Annotated[list[str], Field(min_length=1)]
    kwargs: list[dict[str, Any] | None]


_LINE = TypeAdapter(_Line)


def read_ifeval(path: str) -> tuple[VerifiableInstruction, ...]:
    """Read the instructions, in the order of the file.

    Raises:
        InputError: the file is missing, or a line has another form or an unknown rule.
    """
    if not file_io.exists(path):
        raise InputError(f"evaluation.ifeval {path}: no such file; it takes IFEval's input_data.jsonl, or null")
    lines = enumerate(file_io.read_bytes(path).splitlines(), 1)
    return tuple(_read(f"evaluation.ifeval {path}, line {number}", line) for number, line in lines if line.strip())


def _read(place: str, line: bytes) -> VerifiableInstruction:
    try:
        row = _LINE.validate_json(line)
        given = [{name: value for name, value in (each or {}).items() if value is not None} for each in row["kwargs"]]
        checks = tuple(
            Published(kind="ifeval", rule=rule, arguments=arguments)
            for rule, arguments in zip(row["instruction_id_list"], given, strict=True)
        )
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise InputError(f"{place}: {where}: {first['msg']}; use IFEval's own input_data.jsonl") from None
    except ValueError:
        counts = f"{len(row['instruction_id_list'])} rules and {len(row['kwargs'])} kwargs"
        raise InputError(f"{place}: has {counts}; each rule needs its own") from None
    for check in checks:
        check_arguments(place, check.rule, check.arguments)
    return VerifiableInstruction(id=f"ifeval-{row['key']}", instruction=row["prompt"], checks=checks)
