"""The benchmarks: `make bench`, or some of them with ARGS="throughput scale prefix".

Each figure is a ratio within one run, since absolute times mean little on a noisy machine.
"""

import sys

from factory.cli import quiet
from factory.runtime.progress import Progress
from tests.benchmarks import curation, judging, planner, prefix, report, scale, throughput, training

BENCHMARKS = {
    "throughput": (throughput.measure, "the job's tokens a second over bare vLLM's; 0.95 or more is wanted"),
    "scale": (scale.measure, "1,000,000 personas over 100,000; at most 11 and 1.3 are wanted"),
    "prefix": (prefix.measure, "prefix-cache hits of what is possible; 0.9 or more is wanted"),
    "curation": (curation.measure, "100,000 dialogues over 10,000; at most 11 and 1.3 are wanted"),
    "judging": (judging.measure, "judgments a second through the fleet over bare vLLM's; 0.85 or more is wanted"),
    "planner": (planner.measure, "measured time over predicted, three configs; each within 0.25 of 1 is wanted"),
    "report": (report.measure, "1,000,000 rows over 100,000; at most 11, 1.3 and 20 MB are wanted"),
    "training": (training.measure, "tokens a second: our loop over the transformers Trainer, 1.0 or more is wanted"),
}


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all, and print their figures."""
    unknown = sorted(set(names) - BENCHMARKS.keys())
    if unknown:
        raise SystemExit(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    progress = Progress()  # it has the terminal while `quiet` keeps the libraries off it
    for name in names or BENCHMARKS:
        measure, title = BENCHMARKS[name]
        print(f"{name}: {title}", flush=True)
        with quiet(verbose=False):
            figures = measure(progress.say)
        for figure, value in figures.items():
            print(f"  {figure}: {value:,.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
