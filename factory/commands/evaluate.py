"""Candidates to PersonaGym scores: answers, a fleet of judges, tables with intervals.

character-factory evaluate demo [section.key=value ...]
"""

from collections.abc import Iterator

from factory.config import RunConfig
from factory.evaluation.dry_run import check, local_cpus, plan
from factory.inference.endpoint_questions import EndpointUse
from factory.job import Job, JobStep, run_job


def make_tables(job: Job) -> None:
    """Build the tables of an evaluation: pipeline steps, in order."""
    # Ray Serve and its dependencies take seconds to import, and errors in the config are reported before.
    from factory.evaluation import evaluation_steps as steps
    from factory.evaluation.frozen_store import run_benchmark
    from factory.evaluation.questions import ingest_questions
    from factory.run_output import layout
    from factory.synthesis.steps import make_profiles

    config, progress = job.config, job.progress
    benchmark = run_benchmark(config)
    personas, questions = ingest_questions(config, benchmark, progress)
    profiles = None
    if config.evaluation.uses_profiles:
        profiles = make_profiles(config, job.model(), personas, progress, layout.BENCHMARK_PROFILES.name())
    steps.answer_questions(config, questions, profiles, progress)
    steps.judge_answers(config, benchmark, progress)


def evaluate(job: Job) -> None:
    """Build the tables and write the scores, also into the card of the run's own model."""
    from factory.evaluation.compute_scores import write_scores
    from factory.evaluation.frozen_store import run_benchmark
    from factory.export.scores.card_scores import add_scores_to_card

    make_tables(job)
    write_scores(job.config, run_benchmark(job.config), job.progress)
    add_scores_to_card(job.config)


def _endpoints(config: RunConfig) -> Iterator[EndpointUse]:
    if config.evaluation.uses_profiles:
        yield EndpointUse(config.engine, config.profiles.sampling)
    for candidate in config.evaluation.candidates:
        yield EndpointUse(candidate, config.evaluation.answer_sampling(candidate), is_json=False)
    yield from judges(config)
    yield from example_writers(config)


def example_writers(config: RunConfig) -> Iterator[EndpointUse]:
    """Yield the judges that write example replies."""
    for judge in config.evaluation.judges:
        if config.evaluation.example_writer in (None, judge.name):
            yield EndpointUse(judge, config.evaluation.example_sampling, is_json=not config.evaluation.parity)


def judges(config: RunConfig) -> Iterator[EndpointUse]:
    """Yield the judges of a config, as both steps that judge use them."""
    for judge in config.evaluation.judges:
        yield EndpointUse(judge, config.evaluation.judge_sampling, is_json=not config.evaluation.parity)


STEP = JobStep(evaluate, check, plan, _endpoints, local_cpus=local_cpus, opens=make_tables, then="report")


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)
