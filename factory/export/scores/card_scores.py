"""The scores of a run's own model in its card: as metadata, and as a table."""

from collections.abc import Sequence

import yaml
from huggingface_hub import ModelCard, ModelCardData

from factory.config import RunConfig
from factory.errors import InputError
from factory.evaluation.scoring.markdown import escape, markdown_table
from factory.evaluation.scoring.pscore import PSCORE
from factory.evaluation.scoring.scores_schema import CandidateScores, Scores
from factory.export.scores.model_index import eval_results
from factory.export.scores.score_files import read_scores
from factory.export.write_export import CARD
from factory.run_output import layout
from factory.storage import file_io

HEADING = "\n## Scores\n"
"""Begins the last section of a card."""


def add_scores_to_card(config: RunConfig) -> None:
    """Put the scores of a run into the card of the model that it trained, in place of earlier ones.

    A run without such a model, or that does not evaluate it, has nothing to put.

    Raises:
        InputError: the card was edited, and its front matter cannot be read any more.
    """
    path, names = file_io.join(layout.own_model(config), CARD), layout.own_candidates(config)
    text = file_io.read_if_there(path)
    if text is None or not names:
        return
    scores = read_scores(config.output)
    shown = [one for one in scores.candidates if one.name in names and not one.scores.blank]
    try:
        card = with_scores(text.decode(), scores, shown)
    except (yaml.YAMLError, ValueError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise InputError(f"{path}: its front matter cannot be read ({reason}); repair it, or delete the file") from None
    file_io.write_bytes(path, card.encode())


def with_scores(text: str, scores: Scores, candidates: Sequence[CandidateScores]) -> str:
    """Return a model card with the scores of candidates that are its model, and without earlier ones."""
    card = ModelCard(text.partition(HEADING)[0])
    results = [result for one in candidates for result in eval_results(scores, one)]
    assert isinstance(card.data, ModelCardData)
    card.data.model_name, card.data.eval_results = (candidates[0].name, results) if results else (None, None)
    return f"{str(card).rstrip()}\n" + (_section(scores, candidates) if results else "")


def _section(scores: Scores, candidates: Sequence[CandidateScores]) -> str:
    benchmark, judges = scores.benchmark, ", ".join(escape(judge.model) for judge in scores.judges)
    rows = [
        [name, escape(one.condition), f"{score.mean:.2f}", _interval(score.low, score.high), f"{score.personas:,}"]
        for one in candidates
        for name, score in {PSCORE: one.scores.pscore, **one.scores.tasks}.items()
        if score.mean is not None
    ]
    head = ["score", "character given as", "mean", "95 % interval", "personas"]
    return (
        f"{HEADING}\nBy the benchmark {escape(benchmark.name)} (protocol {scores.protocol}, digest "
        f"`{benchmark.digest}`), on a scale from 1 to 5, judged by {judges}.\n\n{markdown_table(head, rows, 2)}\n"
    )


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.2f} to {high:.2f}"
