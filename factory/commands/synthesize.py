"""Generate profiles and character-driven dialogues from personas and instructions.

character-factory synthesize demo [section.key=value ...]
"""

from collections.abc import Iterator

from factory.config import RunConfig
from factory.evaluation.dry_run import local_cpus, locate
from factory.inference.endpoint_questions import EndpointUse
from factory.inference.engine_pool.open_pools import keep_engines
from factory.job import Job, JobStep, run_job
from factory.serving.fleet import check_fleet
from factory.synthesis import steps
from factory.synthesis.dialogue_step import make_dialogues
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
        make_dialogues(job.config, model, assignments, job.progress)
    if job.config.dialogues.candidates > 1:  # the engines have stopped, as the judges may need their machines
        # Ray Serve and its dependencies take seconds to import.
        from factory.evaluation.best_of.best_of_steps import choose_dialogues

        choose_dialogues(job.config, assignments, job.progress)


def _endpoints(config: RunConfig) -> Iterator[EndpointUse]:
    if config.has_personas:
        yield EndpointUse(config.engine, config.profiles.sampling)
    if config.instructions:
        yield EndpointUse(config.engine, config.dialogues.sampling, is_json=False)
        if config.dialogues.choose and config.dialogues.candidates > 1:
            yield EndpointUse(config.dialogues.choose.judge, config.dialogues.choose.sampling)


def _check(config: RunConfig) -> None:
    check(config)
    if config.dialogues.choose and config.dialogues.candidates > 1:
        locate(config.dialogues.choose.judge)
        check_fleet(config.evaluation.fleet)


def _cpus(config: RunConfig) -> int:
    if config.dialogues.candidates == 1:
        return 0
    from factory.evaluation.best_of.best_of_steps import with_its_judge

    return local_cpus(with_its_judge(config))


STEP = JobStep(
    synthesize,
    _check,
    plan,
    _endpoints,
    _cpus,
    opens=synthesize,
    only_tables=True,
    then="curate",
)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)
