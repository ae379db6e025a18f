"""A frozen benchmark: a benchmark's folder with the example replies that its judges are shown, and a digest.

frozen.json                              what it was made of, written last
personas.json, questions/, rubrics/ ...  the layout of a checkout
evaluation/benchmark/                    tables of the questions and of the example replies
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from factory.errors import InputError
from factory.storage import file_io
from factory.storage.tables import compute_fingerprint

FROZEN = "frozen.json"


@dataclass(frozen=True)
class Frozen:
    """What a frozen benchmark was made of."""

    digest: str
    """Of its questions and rubrics (`benchmark_digest`)."""
    examples_digest: str
    """Of its example replies."""
    question_set: str
    protocol: Literal["light", "full"]
    prompt: str
    """The prompt of the example replies."""
    models: tuple[str, ...]
    """The models that wrote them, sorted."""
    writers: tuple[str, ...]
    """The judges of the config by which it was frozen that wrote them; their tables have these names."""
    questions: int
    examples: int
    """Questions that have example replies."""

    @property
    def whole_digest(self) -> str:
        """Of questions, rubrics and example replies."""
        return compute_fingerprint({"questions": self.digest, "examples": self.examples_digest})

    def document(self) -> dict[str, Any]:
        """Return the content of its file."""
        return asdict(self)


def read_frozen(folder: str) -> Frozen | None:
    """Return what a benchmark's folder was frozen from; None for one that was not.

    Raises:
        InputError: its file has another format.
    """
    path = file_io.join(folder, FROZEN)
    if not file_io.exists(path):
        return None
    document = file_io.read_document(path) or {}
    names = {field.name for field in fields(Frozen)}
    if document.keys() != names:
        raise InputError(f"benchmark {path}: is not as freeze-benchmark writes it; freeze the benchmark again")
    values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in document.items()}
    return Frozen(**values)
