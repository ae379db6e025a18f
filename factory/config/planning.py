"""Settings of `plan` and `trace`, which inspect a run; no run reads them."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from factory.config.paths import LocalPath
from factory.config.sections import Section


class StageFigures(Section):
    """Tokens per row and throughput of one kind of table, in place of a pilot's."""

    prompt_tokens: float | None = Field(None, gt=0)
    output_tokens: float | None = Field(None, gt=0)
    tokens_per_second: float | None = Field(None, gt=0)
    """Generated tokens per second of one replica at full batch."""


class Gpus(Section):
    """The kind of GPU of each part of a run, by its name in the price table."""

    synthesis: str = "h100"
    """Of the section `engine`."""
    judges: str = "h100"
    """Of judges and candidates."""
    training: str = "h100"


def _same_kind(value: Any) -> Any:
    return dict.fromkeys(Gpus.model_fields, value) if isinstance(value, str) else value


class Planning(Section):
    """Numbers that `make plan` takes as given; they override the pilot's."""

    profiles: StageFigures = StageFigures()
    generate: StageFigures = StageFigures()
    rewrite: StageFigures = StageFigures()
    verdicts: StageFigures = StageFigures()
    answers: StageFigures = StageFigures()
    general: StageFigures = StageFigures()
    examples: StageFigures = StageFigures()
    judgments: StageFigures = StageFigures()
    tokens_per_second: float | None = Field(None, gt=0)
    """Generated tokens per second of one replica of `engine` at full batch, for all tables that it fills."""
    startup_seconds: float | None = Field(None, ge=0)
    """Until an engine is ready; null: as in the pilot."""
    dialogue_tokens: float | None = Field(None, gt=0)
    """Tokens per training dialogue; null: as in the pilot."""
    training_tokens_per_second: float | None = Field(None, gt=0)
    """Of one training process; null: as in the pilot, else from the model's size, `mfu` and the GPU's speed."""
    mfu: float = Field(0.4, gt=0, le=1)
    """Model FLOPs utilization: the part of a GPU's peak speed that training reaches."""
    gpu: Annotated[Gpus, BeforeValidator(_same_kind)] = Gpus()
    """One kind of GPU for all parts, or one per part: {synthesis: h100, judges: l40s, training: h100}."""
    prices: LocalPath | None = None
    """The price table; null: `cluster/prices.yaml`."""
    cpus: int | None = Field(None, ge=1)
    """CPU cores for reading and curation; null: those that come with the GPUs, or this machine's."""


class Attribution(Section):
    """Training-data attribution that `make trace` shows."""

    rows: int = Field(20, ge=1)
    """Maximum number of rows per table."""
    worst: int = Field(3, ge=1)
    """Number of lowest-scoring answers per task."""
    nearest: int = Field(5, ge=1)
    """Number of most similar training examples per answer."""
