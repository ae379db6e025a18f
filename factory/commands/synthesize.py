"""Generate profiles and character-driven dialogues from personas and instructions.

character-factory synthesize demo [section.key=value ...]
"""

from collections.abc import Iterator

from factory.config import RunConfig
from factory.inference.endpoint_questions import EndpointUse
from factory.inference.engine_pool.open_pools import keep_engines
from factory.job import Job, JobStep, run_job
from factory.synthesis import steps
from factory.synthesis.dry_run import check, plan
from factory.synthesis.given.given_steps import ingest_given, take_given


def synthesize(job: Job) -> None:
    """Run the pipeline steps, in order."""
    model = job.model()
    personas = steps.ingest_personas(job.config, job.progress) if job.config.has_personas else None
    given = ingest_given(job.config, job.progress) if job.config.profiles.source else None
    corpora = [steps.ingest_instructions(job.config, corpus, job.progress) for corpus in job.config.instructions]
    job.confirm()  # now it is known whether the input files have other rows
    with keep_engines():
        if personas:
            profiles = steps.make_profiles(job.config, model, personas, job.progress, given=given)
        else:
            profiles = take_given(job.config, job.progress)
        assignments = [steps.assign_instructions(job.config, corpus, profiles, job.progress) for corpus in corpora]
        steps.make_dialogues(job.config, model, assignments, job.progress)


def _endpoints(config: RunConfig) -> Iterator[EndpointUse]:
    if config.has_personas:
        yield EndpointUse(config.engine, config.profiles.sampling)
    if config.instructions:
        yield EndpointUse(config.engine, config.dialogues.sampling, is_json=False)


STEP = JobStep(
    synthesize,
    check,
    plan,
    _endpoints,
    opens=synthesize,
    only_tables=True,
    then="curate",
)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)
