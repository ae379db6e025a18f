"""What a run will take, before it runs: calls and tokens, time, GPU hours, cost and storage, with intervals.

character-factory plan demo [--pilot FOLDER] [--json] [section.key=value ...]
"""

import json
import os
from dataclasses import asdict

from factory.cli import Parser, quiet, with_absolute_paths
from factory.config.loading import path_argument
from factory.planning.estimate import estimate
from factory.planning.pilot import Pilot
from factory.planning.plan_text import say, show
from factory.planning.prices import read_prices
from factory.planning.simulate import CPUS_PER_GPU, simulate
from factory.planning.summary import summarise
from factory.planning.workload_from_config import crew_of, outline
from factory.runtime.progress import Progress
from factory.storage.absolute_paths import output_path

PILOT = "A pilot measures them: make synthesize CONFIG={config} ARGS='--limit 200 output=runs/pilot'"
THEN = "and then: make plan CONFIG={config} ARGS='--pilot runs/pilot'"


def run() -> None:
    """Read the command line, compute the plan and print it.

    Raises:
        UserError: the config, an input, the pilot or the price table is wrong.
    """
    parser = Parser(__doc__)
    parser.add_argument("--pilot", metavar="FOLDER", help="the output of an earlier small run, local or s3://")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    arguments, config = parser.parse()
    named = config.model_fields_set
    config = with_absolute_paths(config)
    planning = config.planning
    prices = read_prices(planning.prices)
    flops = prices.gpus(planning.gpu)["training"].bf16_tflops * 1e12
    progress = Progress()  # it has the terminal while `quiet` keeps the libraries off it
    with quiet(verbose=False):
        pilot = Pilot.read(output_path(path_argument("--pilot", arguments.pilot))) if arguments.pilot else None
        todo = outline(config, named, pilot)
        on_gpu = todo.training is not None and todo.training.on_gpu
        made = estimate(todo, planning, pilot, crew_of(config.engine, config), flops if on_gpu else None)
    most_gpus = max(step.workers * step.gpus_per_worker for step in made.steps)
    cpus = float(planning.cpus or most_gpus * CPUS_PER_GPU or os.cpu_count() or 1)
    summary, simulation = summarise(made, prices, planning.gpu, pilot, cpus), simulate(made, cpus)
    notes = [*todo.notes, *made.notes, *(f"Not known: {line}." for line in made.missing)]
    if arguments.json:
        document = {"summary": asdict(summary), "simulation": asdict(simulation), "notes": notes}
        progress.say(json.dumps(document, indent=2))
        return
    show(summary, simulation, prices, planning.gpu, progress)
    say(["", *notes] if notes else [], progress)
    if made.missing and not pilot:
        for line in (PILOT, THEN):
            progress.say(line.format(config=arguments.config))
