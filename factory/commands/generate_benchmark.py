"""Personas to a new role-playing benchmark, in PersonaGym's layout.

character-factory generate-benchmark demo [section.key=value ...]
"""

from factory.benchmark_generation import dry_run, generation_steps
from factory.benchmark_generation.write_benchmark import write_benchmark
from factory.config import RunConfig
from factory.inference.endpoint_questions import EndpointUse
from factory.inference.engine_pool.open_pools import keep_engines
from factory.job import Job, JobStep, run_job
from factory.runtime.progress import Progress
from factory.synthesis.dry_run import find_model
from factory.synthesis.input_sample import preview_personas
from factory.synthesis.steps import ingest_personas, persona_files


def generate_benchmark(job: Job) -> None:
    """Generate a benchmark: pipeline steps, in order."""
    config, model = job.config, job.model()
    # Instructions would require a minimum number of characters; a benchmark has none.
    personas = ingest_personas(config.model_copy(update={"instructions": ()}), job.progress)
    job.confirm()  # it is known now whether the files have changed
    with keep_engines():
        settings = generation_steps.choose_settings(config, model, personas, job.progress)
        questions = generation_steps.write_questions(config, model, settings, job.progress)
    write_benchmark(config, model, personas, settings, questions, job.progress)


def check(config: RunConfig) -> None:
    """Check what can be checked before Ray starts."""
    persona_files(config)
    generation_steps.check(config)


def plan(config: RunConfig, progress: Progress) -> None:
    """Print the plan of a dry run."""
    notes: list[str] = []
    model, personas = find_model(config, notes), preview_personas(config, notes)
    rows, exact = (personas.usable, personas.whole) if personas else (None, False)
    dry_run.plan(config, rows, exact, model, notes, progress)


def _endpoints(config: RunConfig) -> list[EndpointUse]:
    return [EndpointUse(config.engine, config.benchmark_generation.sampling)]


STEP = JobStep(generate_benchmark, check, plan, _endpoints, opens=generate_benchmark)


def run() -> None:
    """Run the command."""
    run_job(STEP, __doc__)
