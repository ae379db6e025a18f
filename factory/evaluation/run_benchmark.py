"""The benchmark that the config of a run names, and what is used of it."""

from factory.config import RunConfig
from factory.errors import ConfigError, InputError
from factory.evaluation.parity.checkout_texts import examples_prompt_ref, parity_prompts
from factory.inference.prompts import load_prompt
from factory.personagym import Benchmark, benchmark_digest, open_benchmark


def questions_per_task(config: RunConfig) -> int | None:
    """Return how many of a task's questions are used; None for all."""
    return 1 if config.evaluation.protocol == "light" else None


def examples_prompt(config: RunConfig) -> str:
    """Return the name of the prompt of the example replies.

    Raises:
        UserError: the prompt cannot be read.
    """
    if config.evaluation.parity:
        return examples_prompt_ref(parity_prompts(config))
    return load_prompt("score-examples", config.prompt_places).ref


def named_benchmark(config: RunConfig) -> Benchmark:
    """Open the benchmark that the config names.

    Raises:
        InputError: a file is missing or invalid.
        ConfigError: it has other questions than `evaluation.protocol` asks for.
    """
    evaluation = config.evaluation
    benchmark = open_benchmark(evaluation.benchmark, evaluation.question_set)
    has = benchmark.frozen.protocol if benchmark.frozen else "light" if benchmark.is_light else evaluation.protocol
    if has != evaluation.protocol:
        raise ConfigError(
            f"evaluation.protocol is {evaluation.protocol!r}, but the benchmark {benchmark.folder} ({benchmark.name}) "
            f"has the questions of {has!r}; set protocol: {has}"
        )
    return benchmark


def check_unchanged(config: RunConfig, benchmark: Benchmark) -> None:
    """Read all questions that a run uses, and all of a frozen benchmark.

    Raises:
        InputError: a file is invalid, or a frozen benchmark was changed.
    """
    if benchmark.frozen is None:
        benchmark_digest(benchmark, questions_per_task(config), config.evaluation.limit)
    elif (digest := benchmark_digest(benchmark, questions_per_task(config))) != benchmark.frozen.digest:
        raise InputError(
            f"benchmark {benchmark.folder}: was changed after it was frozen (its digest is {digest}, and was "
            f"{benchmark.frozen.digest}); restore it, or freeze a new one"
        )
