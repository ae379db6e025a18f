"""What a plan is made of: tables that call a model, the engines that fill them, and the work between."""

from dataclasses import dataclass, field
from typing import Literal

from factory.planning.uncertainty import Draws

Kind = Literal["profiles", "generate", "rewrite", "answers", "general", "examples", "judgments"]


@dataclass(frozen=True)
class Stage:
    """A table whose rows an engine makes."""

    table: str
    kind: Kind
    rows: Draws | None
    """None where it is not known how many there are."""
    calls_a_row: float = 1


@dataclass(frozen=True)
class Crew:
    """The replicas of an engine that work on a phase."""

    kind: Literal["vllm", "served", "openai", "scripted"]
    model: str
    replicas: int = 1
    gpus_a_replica: int = 0
    """0 on a CPU, and where others run the model."""
    places: int = 64
    """Rows that one replica works on at a time."""


@dataclass(frozen=True)
class Phase:
    """Tables that are filled in one go by one engine. Phases of one `moment` run at the same time."""

    name: str
    stages: tuple[Stage, ...]
    crew: Crew
    moment: str


@dataclass(frozen=True)
class Intake:
    """Files that are read into a table: each by one task, or all by one where there is a limit."""

    table: str
    rows: Draws | None
    tasks: int


@dataclass(frozen=True)
class Pairing:
    """Instructions that meet their characters."""

    table: str
    instructions: Draws | None
    profiles: Draws | None
    rows: Draws | None


@dataclass(frozen=True)
class Training:
    """Dialogues that are trained on, before curation, and how."""

    base_model: str
    dialogues: Draws | None
    sequence_length: int
    epochs: int
    batch: int
    workers: int
    on_gpu: bool
    eval_steps: int
    validation_sequences: int
    validation_fraction: float
    save_total_limit: int
    recomputes: bool
    """Whether activations are computed again, which takes a third more."""


@dataclass(frozen=True)
class Outline:
    """All that a config asks for, in order: each moment of `order` is done when the one before is."""

    intakes: tuple[Intake, ...] = ()
    pairings: tuple[Pairing, ...] = ()
    phases: tuple[Phase, ...] = ()
    dialogues: Draws | None = None
    """Rows that curation reads; None where it is not planned, or they are not known."""
    curated: bool = False
    training: Training | None = None
    on_s3: bool = False
    notes: list[str] = field(default_factory=list)
