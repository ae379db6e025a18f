"""Build the curated training and validation sets from dialogues.

character-factory curate demo [section.key=value ...]
"""

from collections import Counter
from typing import Any

from factory.config import RunConfig
from factory.curation import dry_run
from factory.curation.curation_run import CurationRun, begin, open_tables, showing_progress
from factory.curation.dedup_step import find_near_duplicates
from factory.curation.filter_step import FilterResult, filter_dialogues
from factory.curation.judge_work import find_work, planned_work
from factory.curation.select_step import select_dialogues
from factory.curation.verdicts import Verdicts, verdicts_of
from factory.curation.write_step import write_curated
from factory.evaluation.dialogue_judge import judge_dry_run
from factory.evaluation.dialogue_judge.dialogue_judge_steps import judge_dialogues, rule_inputs
from factory.evaluation.dialogue_judge.generic_pairs import check_judge
from factory.job import Job, JobStep, run_job
from factory.runtime.progress import Progress


def curate(job: Job) -> None:
    """Run the pipeline steps, in order."""
    config, progress = job.config, job.progress
    # Before the tables are begun: a judge that is refused must not archive a finished set.
    about = judge_dry_run.about(config) | check_judge(config, progress) if config.curation.judge else {}
    run = begin(config, progress, rule_inputs(config))
    if run is None:  # both tables are finished
        return
    if not about:
        with showing_progress(run, progress):
            filtered, duplicates = _apply_rules(run, progress)
            _select_and_write(run, filtered, duplicates, verdicts_of(run, {}), progress)
        return
    with showing_progress(run, progress):
        filtered, duplicates = _apply_rules(run, progress)
        work = find_work(run, filtered, duplicates)
    judge_dialogues(config, work, progress)
    with showing_progress(run, progress):
        _select_and_write(run, filtered, duplicates, verdicts_of(run, about), progress)


def _apply_rules(run: CurationRun, progress: Progress) -> tuple[FilterResult, Any]:
    filtered = filter_dialogues(run, progress)
    return filtered, find_near_duplicates(run, filtered)


def _select_and_write(
    run: CurationRun, filtered: FilterResult, duplicates: Any, verdicts: Verdicts, progress: Progress
) -> None:
    selection = select_dialogues(run, filtered, duplicates, verdicts)
    write_curated(run, filtered, duplicates, verdicts, selection, progress)


def open_all_tables(job: Job) -> None:
    """Begin all tables of a curation."""
    inputs, _ = open_tables(job.config, job.progress, rule_inputs(job.config))
    if job.config.curation.judge:
        check_judge(job.config, job.progress)
        judge_dialogues(job.config, planned_work(job.config, inputs), job.progress)


def check(config: RunConfig) -> None:
    """Check that all inputs exist, and the judge.

    Raises:
        UserError: something would stop a run.
    """
    dry_run.check(config)
    judge_dry_run.check(config)


def plan(config: RunConfig, progress: Progress) -> None:
    """Check everything that a run checks, and print sources, rules, thresholds and what the judge costs.

    Raises:
        UserError: something would stop a run.
    """
    rows: Counter[Any] = Counter()
    for source in dry_run.plan(config, progress).sources:
        rows[source.strategy] += source.rows
    judge_dry_run.plan(config, rows, progress)


STEP = JobStep(
    curate,
    check,
    plan,
    judge_dry_run.endpoints,
    local_cpus=judge_dry_run.judge_cpus,
    opens=open_all_tables,
    only_tables=True,
    then="train",
)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)
