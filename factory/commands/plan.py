"""What a run will take, before it runs: calls and tokens, time, GPU hours, cost and storage, with intervals.

character-factory plan demo [--pilot FOLDER] [--json] [section.key=value ...]
"""

import json
import os
from dataclasses import asdict

from factory.cli import Parser, quiet, with_absolute_paths
from factory.config.loading import path_argument
from factory.planning.constants import CPUS_PER_GPU
from factory.planning.pilot import Pilot
from factory.planning.plan_of_config import plan_of_config
from factory.planning.plan_text import print_plan
from factory.planning.prices import read_prices
from factory.planning.summary import simulate, summarize
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
    sections = config.model_fields_set
    config = with_absolute_paths(config)
    planning = config.planning
    prices = read_prices(planning.prices)
    flops = prices.gpus(planning.gpu)["training"].bf16_tflops * 1e12
    progress = Progress()  # it has the terminal while `quiet` keeps the libraries off it
    with quiet(verbose=False):
        pilot = Pilot.read(output_path(path_argument("--pilot", arguments.pilot))) if arguments.pilot else Pilot()
        plan = plan_of_config(config, sections, pilot, flops)
    most_gpus = max(step.workers * step.gpus_per_worker for step in plan.steps)
    cpus = float(planning.cpus or most_gpus * CPUS_PER_GPU or os.cpu_count() or 1)
    summary, simulation = summarize(plan, prices, planning.gpu, cpus), simulate(plan, cpus)
    notes = list(dict.fromkeys([*plan.notes, *(f"Not known: {line}." for line in plan.missing)]))
    if arguments.json:
        document = {"summary": summary, "simulation": simulation, "notes": notes}
        progress.print(json.dumps(document, indent=2, default=asdict))
        return
    print_plan(summary, simulation, prices, planning.gpu, progress)
    for line in ["", *notes] if notes else []:
        progress.print(line)
    if plan.missing and not arguments.pilot:
        for line in (PILOT, THEN):
            progress.print(line.format(config=arguments.config))
