"""Runs the benchmarks: `make bench`, or some of them with ARGS="throughput scale prefix".

Each figure is a ratio within one run, since absolute times mean little on a noisy machine.
"""

import sys

from factory.cli import quiet
from factory.runtime.progress import Progress
from tests.benchmarks import (
    curation,
    extremes,
    ingress,
    judging,
    planner,
    population,
    prefix,
    report,
    saving,
    scale,
    schedule,
    statistics,
    throughput,
    training,
)

BENCHMARKS = {
    "throughput": (throughput.measure, "the job's tokens per second over bare vLLM's; target: 0.95 or more"),
    "scale": (scale.measure, "500,000 personas over 50,000 (target: at most 11 and 1.3), and 1, 2 and 4 replicas"),
    "prefix": (prefix.measure, "prefix-cache hits, relative to the possible ones; target: 0.9 or more"),
    "curation": (curation.measure, "100,000 dialogues over 10,000; target: at most 11 and 1.3"),
    "extremes": (extremes.measure, "a million equal personas, 100,000 dialogues of one character or reply: none lost"),
    "judging": (judging.measure, "judgments per second through the fleet over bare vLLM's; target: 0.85 or more"),
    "ingress": (ingress.measure, "requests per second through 1, 2 and 4 ingresses to replicas that answer at once"),
    "planner": (planner.measure, "measured time over predicted, three configs; target: each within 0.25 of 1"),
    "population": (population.measure, "1,000,000 profiles over 100,000; target: at most 1.1 in memory, 1.01 in state"),
    "report": (report.measure, "1,000,000 rows over 100,000; target: at most 11, 1.3 and 20 MB"),
    "saving": (saving.measure, "seconds that training waits for a checkpoint, in the background and not"),
    "schedule": (schedule.measure, "useful share of the time with 8 to 1,000 replicas, simulated; target: .9 and .8"),
    "statistics": (statistics.measure, "coverage of intervals, false claims, bias, simulated; target: .93 and .065"),
    "training": (
        training.measure,
        "tokens per second: our loop over the Trainer and TRL; target: 1.0 or more",
    ),
}


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all, and print their figures."""
    unknown = sorted(set(names) - BENCHMARKS.keys())
    if unknown:
        raise SystemExit(f"no benchmark {unknown[0]!r}; use {', '.join(BENCHMARKS)}")
    progress = Progress()  # it prints to the terminal while `quiet` redirects the libraries' output
    for name in names or BENCHMARKS:
        measure, title = BENCHMARKS[name]
        print(f"{name}: {title}", flush=True)
        with quiet(verbose=False):
            figures = measure(progress.print)
        for figure, value in figures.items():
            print(f"  {figure}: {value:,.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
