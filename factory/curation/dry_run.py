"""What a run would do: the dry run checks everything that a run checks, and writes nothing."""

from rich.table import Table as Grid

from factory.config import RunConfig, Safety
from factory.curation.inputs import find_inputs
from factory.curation.minhash import banding_for
from factory.curation.rules.quality import RULES
from factory.curation.rules.real_people import RealPeople
from factory.curation.run import language_note
from factory.runtime.progress import Progress
from factory.storage import file_io


def check(config: RunConfig) -> None:
    """Check that all inputs are there.

    Raises:
        UserError: what a run would stop at.
    """
    find_inputs(config)


def plan(config: RunConfig, progress: Progress) -> None:
    """Check inputs and output, and print sources, rules and thresholds.

    Raises:
        UserError: what a run would stop at.
    """
    inputs, curation = find_inputs(config), config.curation
    file_io.check_writable(config.output)
    grid = Grid(title="Plan", title_justify="left", box=None, padding=(0, 2, 0, 0))
    grid.add_column("dialogues")
    for column in ("rows", "weight"):
        grid.add_column(column, justify="right")
    for source in inputs.sources:
        grid.add_row(source.name, f"{source.rows:,}", "all" if source.weight is None else f"{source.weight:g}")
    progress.show(grid)
    asked = [name for name, _ in RULES if name not in curation.quality.disabled_rules]
    limits = ", ".join(f"{name} {value}" for name, value in curation.quality.model_dump(exclude={"skip"}).items())
    progress.say(f"Rules: {', '.join(asked)}")
    progress.say(f"Thresholds: {limits}")
    if not inputs.book.languages:
        progress.say(language_note(config))
    progress.say(f"Near-duplicates: {_near_duplicates(curation.near_duplicates.threshold)}")
    progress.say(
        f"Benchmark: {inputs.benchmark.texts:,} texts of {inputs.benchmark.place}, "
        f"{curation.benchmark_words} words in a row"
    )
    progress.say(f"People: {_people(config.safety, inputs.people)}")
    most = curation.max_per_character or "all"
    progress.say(f"Dialogues a character: {most}; validation: {curation.validation_fraction:.1%} of the characters")
    progress.say(f"Output: {config.output} (can be written)")


def _near_duplicates(similarity: float | None) -> str:
    if similarity is None:
        return "stay"
    banding = banding_for(similarity)
    caught = ", ".join(f"{banding.caught(level):.0%} at {level}" for level in (0.6, 0.7, 0.8, 0.9))
    return f"from similarity {similarity} on, in {banding.bands} bands of {banding.rows}: finds {caught}"


def _people(safety: Safety, people: RealPeople | None) -> str:
    kinds = f"no {', '.join(safety.personal_data)}" if safety.personal_data else "personal data stay"
    names = f"none of {people.names:,} names of {people.place}" if people else "anybody may be named"
    words = "offensive replies stay" if safety.toxicity is None else f"no reply offensive by {safety.toxicity:g}"
    return f"{kinds}; {names}; {words}"
