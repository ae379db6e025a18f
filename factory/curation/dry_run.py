"""The dry run of curation: check everything that a run checks, and write nothing."""

from rich.table import Table as Grid

from factory.config import RunConfig, Safety
from factory.curation.curation_inputs import CurationInputs, find_inputs
from factory.curation.curation_run import language_note
from factory.curation.rules.real_people import RealPeople
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.text.minhash import banding_for


def check(config: RunConfig) -> None:
    """Check that all inputs exist.

    Raises:
        UserError: an input is missing or cannot be read.
    """
    find_inputs(config)


def plan(config: RunConfig, progress: Progress) -> CurationInputs:
    """Check inputs and output, print sources, rules and thresholds, and return the inputs.

    Raises:
        UserError: a run would stop with it.
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
    thresholds = {name: rule.model_dump() for name, rule in curation.quality.rules.items()}
    limits = [f"{name}.{key} {value}" for name, values in thresholds.items() for key, value in values.items()]
    progress.print(f"Rules: {', '.join(thresholds)}")
    for rule in curation.custom_rules:
        progress.print(f"Custom rule: {rule.name} rejects {rule.pattern!r} {rule.when} in the {rule.where}")
    progress.print(f"Thresholds: {', '.join(limits)}")
    if not inputs.languages:
        progress.print(language_note(config))
    progress.print(f"Near-duplicates: {_near_duplicates(curation.near_duplicates.threshold)}")
    progress.print(
        f"Benchmark: {inputs.benchmark.texts:,} texts of {inputs.benchmark.path}, "
        f"{curation.benchmark_words} words in a row"
    )
    progress.print(f"Safety: {_safety(config.safety, inputs.people)}")
    limit = curation.max_per_character or "all"
    held_out = f"{curation.validation_fraction:.1%} of the characters"
    progress.print(f"Dialogues per character: {limit}; validation: {held_out}")
    progress.print(f"Output: {config.output} (can be written)")
    return inputs


def _near_duplicates(threshold: float | None) -> str:
    if threshold is None:
        return "kept"
    banding = banding_for(threshold)
    recall = ", ".join(f"{banding.recall(level):.0%} at {level}" for level in (0.6, 0.7, 0.8, 0.9))
    return f"similarity of at least {threshold}, in {banding.bands} bands of {banding.rows}: finds {recall}"


def _safety(safety: Safety, people: RealPeople | None) -> str:
    kinds = f"no {', '.join(safety.personal_data)}" if safety.personal_data else "personal data allowed"
    names = f"none of {people.names:,} names of {people.path}" if people else "real people allowed"
    words = "offensive replies allowed" if safety.toxicity is None else f"toxicity below {safety.toxicity:g}"
    return f"{kinds}; {names}; {words}"
