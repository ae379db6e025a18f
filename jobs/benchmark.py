"""Personas to a new benchmark of role-playing, in PersonaGym's layout.

python jobs/benchmark.py --config jobs/configs/demo.yaml [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.config import RunConfig
from factory.evaluation import making_plan, making_steps
from factory.evaluation.made_benchmark import write_benchmark
from factory.job import Job, main
from factory.progress import Progress
from factory.synthesis.plan import model_told
from factory.synthesis.preview import preview_personas
from factory.synthesis.steps import persona_files, take_personas


def make_benchmark(job: Job) -> None:
    """The way of the data, from top to bottom."""
    config, model = job.config, job.model()
    # Instructions want so many characters each, and here are none.
    personas = take_personas(config.model_copy(update={"instructions": ()}), job.progress)
    job.confirm()  # whether other files hold other rows is known now
    settings = making_steps.choose_settings(config, model, personas, job.progress)
    questions = making_steps.write_questions(config, model, settings, job.progress)
    write_benchmark(config, model, personas, settings, questions, job.progress)


def check(config: RunConfig) -> None:
    """What can be told before Ray starts."""
    persona_files(config)
    making_steps.check(config)


def plan(config: RunConfig, progress: Progress) -> None:
    """The dry run."""
    notes: list[str] = []
    model, personas = model_told(config, notes), preview_personas(config, notes)
    rows, exact = (personas.usable, personas.whole) if personas else (None, False)
    making_plan.plan(config, rows, exact, model, notes, progress)


if __name__ == "__main__":
    main(make_benchmark, check, plan, __doc__, opens=make_benchmark)
