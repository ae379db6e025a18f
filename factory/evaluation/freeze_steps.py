"""The steps that freeze a benchmark: its questions and their example replies as tables, then its files."""

from functools import partial

from factory.config import RunConfig
from factory.evaluation.evaluation_steps import run_judge_jobs, score_examples_jobs
from factory.evaluation.frozen_store import check_not_frozen, frozen_folder, write_frozen
from factory.evaluation.questions import ingest_questions
from factory.personagym import read_frozen
from factory.runtime.progress import Progress
from factory.storage.run_lock import hold_run_lock


def freeze(config: RunConfig, progress: Progress) -> None:
    """Freeze the config's benchmark, all of it whatever `evaluation.limit` is, unless it is frozen already.

    Raises:
        UserError: the benchmark is a frozen one, or another run freezes the same.
    """
    benchmark = check_not_frozen(config)
    folder = frozen_folder(config, benchmark)
    whole = config.evaluation.model_copy(update={"limit": None})
    inner = config.model_copy(update={"output": folder, "evaluation": whole})
    with hold_run_lock(folder):
        frozen = read_frozen(folder)
        if frozen is None:
            ingest_questions(inner, benchmark, progress)
            run_judge_jobs(inner, [partial(score_examples_jobs, inner, benchmark)], progress)
            frozen = write_frozen(inner, benchmark)
        else:
            progress.print(f"{folder}: is frozen already")
    progress.print(
        f"Frozen: {folder} (digest {frozen.whole_digest}), {frozen.examples:,} of {frozen.questions:,} questions with "
        "example replies. Evaluations with the same store, benchmark and models use it by themselves; others where "
        "evaluation.benchmark names it"
    )
