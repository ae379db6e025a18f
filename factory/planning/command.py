"""The command line of the planner."""

import argparse
import json
import os
from dataclasses import asdict

from factory import storage
from factory.config_file import load_config, place_argument
from factory.job import Parser, quiet
from factory.planning.estimate import estimate
from factory.planning.outline import crew_of, outline
from factory.planning.pilot import Pilot
from factory.planning.prices import read_prices
from factory.planning.rendering import say, show
from factory.planning.simulate import CPUS_A_GPU, simulate
from factory.planning.summary import summarise
from factory.progress import Progress

PILOT = "A pilot measures them: make synthesize CONFIG={config} ARGS='--limit 200 output=runs/pilot'"
THEN = "and then: make plan CONFIG={config} ARGS='--pilot runs/pilot'"


def plan(description: str | None) -> None:
    """Read the command line, work out the plan and print it.

    Raises:
        UserError: the config, an input, the pilot or the price table is wrong.
    """
    arguments = _parse(description)
    config = load_config(arguments.config, arguments.overrides)
    named = config.model_fields_set
    config = config.with_paths(storage.input_path, storage.output_path)
    planning = config.planning
    prices = read_prices(planning.prices)
    flops = prices.gpus(planning.gpu)["training"].bf16_tflops * 1e12
    progress = Progress()  # it has the terminal while `quiet` keeps the libraries off it
    with quiet(verbose=False):
        pilot = Pilot.read(storage.output_path(place_argument("--pilot", arguments.pilot))) if arguments.pilot else None
        todo = outline(config, named, pilot)
        on_gpu = todo.training is not None and todo.training.on_gpu
        made = estimate(todo, planning, pilot, crew_of(config.engine, config), flops if on_gpu else None)
    most_gpus = max(step.workers * step.gpus_a_worker for step in made.steps)
    cpus = float(planning.cpus or most_gpus * CPUS_A_GPU or os.cpu_count() or 1)
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


def _parse(description: str | None) -> argparse.Namespace:
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's settings (YAML)")
    parser.add_argument("--pilot", metavar="FOLDER", help="the output of an earlier small run, local or s3://")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings laid over the file's")
    return parser.parse_intermixed_args()
