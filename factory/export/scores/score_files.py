"""Write a run's scores for other tools, one file per candidate.

<folder>/<candidate>.yaml      model-index
<folder>/<candidate>.json      inspect, lm-eval
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from pydantic import ValidationError

from factory.errors import InputError
from factory.evaluation.scoring.scores_schema import CandidateScores, Scores
from factory.export.export_files import draft
from factory.export.scores.harness_results import harness_results
from factory.export.scores.inspect_log import inspect_log
from factory.export.scores.model_index import model_index
from factory.run_output import layout
from factory.storage import file_io

Format = Literal["model-index", "inspect", "lm-eval"]
SUFFIXES: dict[Format, str] = {"model-index": "yaml", "inspect": "json", "lm-eval": "json"}


def read_scores(output: str) -> Scores:
    """Read the scores of a run.

    Raises:
        InputError: it has none, or those of another version.
    """
    path = file_io.join(output, layout.SCORES)
    document = file_io.read_document(path)
    if document is None:
        raise InputError(f"{path}: no scores; evaluate the run first")
    try:
        return Scores.model_validate(document)
    except ValidationError as problem:
        name = ".".join(map(str, problem.errors()[0]["loc"]))
        raise InputError(f"{path}: {name} is not as this version writes it; evaluate the run again") from None


def export_scores(output: str, format: Format, folder: str) -> list[str]:
    """Write one file per candidate, and return their paths.

    Raises:
        InputError: as `read_scores`.
        StorageError: the folder cannot be written.
    """
    scores, finished = read_scores(output), datetime.now(UTC)
    paths = []
    for candidate in scores.candidates:
        name = f"{candidate.name}.{SUFFIXES[format]}"
        with file_io.storage_errors(folder), draft(folder, name) as path:
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(_texts(scores, candidate, format, output, finished))
            file_io.put_file(path, file_io.join(folder, name))
        paths.append(file_io.join(folder, name))
    return paths


def _texts(
    scores: Scores, candidate: CandidateScores, format: Format, output: str, finished: datetime
) -> Iterator[str]:
    if format == "inspect":
        yield from inspect_log(scores, candidate, output, finished)
    elif format == "lm-eval":
        yield harness_results(scores, candidate, finished)
    else:
        yield model_index(scores, candidate)
