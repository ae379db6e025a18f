"""The layout of a run's output: the name of every table and document, once.

Writers name a table by its kind, `DIALOGUES.table(output, strategy="rewrite", corpus="lima")`; readers find
the tables of a kind by its `regex` or `glob`. A new table is one line here, and every reader finds it.
"""

import re
from dataclasses import dataclass
from functools import cache, cached_property

from factory.config import RunConfig
from factory.storage import file_io
from factory.storage.tables import Table

SPLITS = ("train", "validation")
_PARTS = {"candidate": "(?!benchmark/)[^/]+", "split": "|".join(SPLITS), "strategy": "generate|rewrite"}
"""What the parts of names look like; by default anything without a slash."""


@dataclass(frozen=True)
class TableKind:
    """The tables of one kind; variable parts of their names, such as a corpus, are in braces."""

    template: str
    command: str
    """The step that builds them."""
    from_training_data: bool = False
    """Whether a run that trains on another run's data (`training.data`) reads it from there."""

    def name(self, **parts: str) -> str:
        """Return the name of one table."""
        return self.template.format(**parts)

    def table(self, output: str, **parts: str) -> Table:
        """Return one table of an output."""
        return Table(output, self.name(**parts))

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The names of all its tables, with a group per part."""
        return re.compile(re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{_PARTS.get(m[1], '[^/]+')})", self.template))

    @cached_property
    def glob(self) -> str:
        """A pattern that names all its tables, and that `parts` must confirm."""
        return re.sub(r"\{\w+\}", "*", self.template)

    def parts(self, name: str) -> dict[str, str] | None:
        """Return the parts of a table's name, or None for tables of other kinds."""
        match = self.regex.fullmatch(name)
        return match.groupdict() if match else None


PERSONAS = TableKind("personas", "synthesize", True)
INSTRUCTIONS = TableKind("instructions/{corpus}", "synthesize", True)
GIVEN_PROFILES = TableKind("given-profiles", "synthesize", True)
PROFILES = TableKind("profiles", "synthesize", True)
ASSIGNMENTS = TableKind("assignments/{corpus}", "synthesize", True)
DIALOGUES = TableKind("dialogues/{strategy}-{corpus}", "synthesize", True)
JUDGED = TableKind("judged/{strategy}-{corpus}", "curate", True)
CURATED = TableKind("curated/{split}", "curate", True)
PACKED = TableKind("packed/{split}", "train")
CHECKPOINTS = TableKind("checkpoints", "train")
BENCHMARK_PERSONAS = TableKind("evaluation/benchmark/personas", "evaluate")
BENCHMARK_QUESTIONS = TableKind("evaluation/benchmark/questions", "evaluate")
BENCHMARK_PROFILES = TableKind("evaluation/benchmark/profiles", "evaluate")
SCORE_EXAMPLES = TableKind("evaluation/benchmark/examples/{judge}", "evaluate")
GENERAL_ITEMS = TableKind("evaluation/benchmark/general", "evaluate")
ANSWERS = TableKind("evaluation/{candidate}/answers", "evaluate")
GENERAL_RESULTS = TableKind("evaluation/{candidate}/general", "evaluate")
BLOCK_VERDICTS = TableKind("evaluation/{candidate}/verdicts/{judge}", "evaluate")
JUDGMENTS = TableKind("evaluation/{candidate}/judgments/{judge}", "evaluate")

CANDIDATES = TableKind("candidates/{strategy}-{corpus}", "synthesize")
COMPARISONS = TableKind("comparisons/{strategy}-{corpus}", "synthesize")
PASSED_OVER = TableKind("passed_over/{strategy}-{corpus}", "synthesize")
FEEDBACK = TableKind("feedback", "chat")
PREFERENCES = TableKind("preferences", "export")
LABEL_ITEMS = TableKind("labels/items", "label")
LABELS = TableKind("labels/given", "label")

KINDS = (
    PERSONAS, INSTRUCTIONS, GIVEN_PROFILES, PROFILES, ASSIGNMENTS, DIALOGUES, JUDGED, CURATED, PACKED,
    CHECKPOINTS, BENCHMARK_PERSONAS, BENCHMARK_QUESTIONS, BENCHMARK_PROFILES, SCORE_EXAMPLES, GENERAL_ITEMS, ANSWERS,
    GENERAL_RESULTS, BLOCK_VERDICTS, JUDGMENTS,
)  # fmt: skip
"""All tables of a run, in the order in which the data flows. The tables of the judge check, of a new benchmark,
of best of n, of feedback, of labels and of preference pairs have folders of their own (`judge-check/`,
`benchmark-generation/`, `candidates/`, `comparisons/`, `passed_over/`, `feedback/`, `labels/`, `preferences/`), as
those of the evaluation of checkpoints have in `checkpoint-scores/`, and are not listed."""

CONFIG = "config.json"
"""The resolved settings of the last run."""
MODEL = "model"
"""The folder of the trained model."""
METRICS = "checkpoints/metrics.jsonl"
SCORES = "evaluation/scores.json"
CHECKPOINT_SCORES = "checkpoint-scores"
"""The folder of the evaluation of the training's checkpoints, which has its own `evaluation/` and `archive/`."""
CHECKPOINT_MODELS = f"{CHECKPOINT_SCORES}/models"
"""The folder of their exported models, a folder per step."""


@cache
def kind_of(name: str) -> TableKind | None:
    """Return the kind of a table by its name."""
    return next((kind for kind in KINDS if kind.parts(name) is not None), None)


def is_from_training_data(name: str) -> bool:
    """Return whether a run that trains on another run's data reads this table there."""
    kind = kind_of(name)
    return kind is not None and kind.from_training_data


def own_model(config: RunConfig) -> str:
    """Return the folder of the model that the run trains, as a candidate names it."""
    return file_io.join(config.output, MODEL)


def checkpoint_output(config: RunConfig) -> str:
    """Return the folder in which the training's checkpoints are scored, as that of a run."""
    return file_io.join(config.output, CHECKPOINT_SCORES)


def checkpoint_model(config: RunConfig, step: int) -> str:
    """Return the folder that the checkpoint of a step is exported to."""
    return file_io.join(config.output, CHECKPOINT_MODELS, f"step-{step}")


def own_candidates(config: RunConfig) -> list[str]:
    """Return the names of the candidates that are the model that the run trains."""
    return [one.name for one in config.evaluation.candidates if one.model == own_model(config)]
