"""Curated dialogues to a role-playing model: Ray Train, DeepSpeed ZeRO, a Hugging Face folder.

character-factory train demo [section.key=value ...]
"""

from factory.inference import model_files
from factory.job import Job, JobStep, run_job
from factory.training.dry_run import check, plan


def pack_and_train(job: Job) -> None:
    """Pack, train, export."""
    from factory.training.driver import train  # torch takes seconds to import: checks report errors before

    train(job.config, model_files.locate(job.config.training.base_model), job.progress)


def open_tables(job: Job) -> None:
    """Open the tables of a run, without its work."""
    from factory.training.driver import open_table

    open_table(job.config, model_files.locate(job.config.training.base_model), job.progress)


STEP = JobStep(pack_and_train, check, plan, opens=open_tables, then="evaluate")


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)
