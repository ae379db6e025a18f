"""The dry run of an evaluation: checks before anything runs, and the plan."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from math import comb
from typing import Any

from rich.table import Table as Grid

from factory.config import EndpointJudge, RunConfig, ServedModel
from factory.errors import ConfigError, UnreachableError
from factory.evaluation.evaluation_calls import EvaluationCalls
from factory.evaluation.frozen_store import run_benchmark
from factory.evaluation.general_ability.items import count_items
from factory.evaluation.judge_check.check_results import refuse_weak_judges
from factory.evaluation.parity.checkout_texts import block_size, check_prompts_of_checkout
from factory.evaluation.row_tokens import estimated_tokens, evaluation_tokens, longest_requests
from factory.evaluation.run_benchmark import check_unchanged, named_benchmark
from factory.evaluation.scoring.power import expected_findable
from factory.evaluation.scoring.score_text import findable_text
from factory.evaluation.scoring.scores_schema import FindableDifference
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer
from factory.inference.engines.endpoint_check import check_endpoint
from factory.inference.engines.registry import backend_for
from factory.inference.locate import locate_model, locate_served, served_template
from factory.inference.prompts import load_prompt, own_prompts
from factory.inference.token_estimates import (
    CHARACTERS_PER_TOKEN,
    PERSONA_CHARACTERS,
    PROFILE_TOKENS,
    RowTokens,
    cost_line,
)
from factory.personagym import TASKS, Benchmark
from factory.records import Request
from factory.runtime.progress import Progress
from factory.serving.fleet import check_fleet, cpus_of
from factory.storage import file_io

PROMPTS = ("answer", "answer-profile", "score-examples", "judge")
MEMBERS = {"candidates": "a model to score", "judges": "a judge that scores"}
"""What each key of `evaluation` lists."""
ModelJudge = ServedModel | EndpointJudge
"""A judge with a context window; where an endpoint does not report its length, nothing is checked."""
JOB_CPUS = 4
"""A candidate's engine, and the tasks that read and write beside it."""


def local_cpus(config: RunConfig) -> int:
    """Return the number of logical CPUs of a Ray that this machine starts for an evaluation."""
    return JOB_CPUS + int(cpus_of(config.evaluation.fleet, config.evaluation.fleet_judges))


def check(config: RunConfig) -> None:
    """Check benchmark, candidates, judges and their context windows.

    Raises:
        UserError: something would stop a run.
    """
    check_listed(config, *MEMBERS)
    refuse_weak_judges(config)
    check_prompts(config, PROMPTS)
    benchmark = run_benchmark(config)
    check_unchanged(config, benchmark)
    if config.evaluation.parity:
        check_prompts_of_checkout(config)
    if config.evaluation.uses_profiles:
        locate_model(config.engine)
    for member in _members(config):
        locate(member)
    check_fleet(config.evaluation.fleet)
    for judge in config.evaluation.judges:
        if isinstance(judge, ModelJudge):
            _check_window(config, benchmark, judge)


def check_listed(config: RunConfig, *keys: str) -> None:
    """Check that candidates, judges or both are configured.

    Raises:
        ConfigError: they are not.
    """
    for key in keys:
        if not getattr(config.evaluation, key):
            raise ConfigError(
                f"evaluation.{key}: is empty; add at least {MEMBERS[key]}, such as {{name: a, model: ...}}"
            )


def check_prompts(config: RunConfig, names: Iterable[str]) -> None:
    """Check that prompts can be read.

    Raises:
        PromptError: one cannot be read.
    """
    for name in names:
        load_prompt(name, config.prompt_places)


def _members(config: RunConfig) -> Iterator[Any]:
    yield from config.evaluation.candidates
    yield from config.evaluation.judges


def locate(member: Any) -> model_files.Located:
    """Find the model of a candidate or a judge; check that an endpoint answers.

    Raises:
        ModelError: it cannot be used.
        UnreachableError: its endpoint or store does not answer.
    """
    if isinstance(member, ServedModel):
        return locate_served(member.model, member.engine_kwargs, member.chat_template_kwargs)
    return locate_model(member)


def _check_window(config: RunConfig, benchmark: Benchmark, judge: ModelJudge) -> None:
    evaluation = config.evaluation
    several = block_size(evaluation)
    other_tokens = {
        "example replies (evaluation.example_sampling.max_tokens)": several * evaluation.example_sampling.max_tokens,
        "answer (evaluation.sampling.max_tokens)": several * evaluation.sampling.max_tokens,
    }
    check_window(config, judge, "rubric, persona and question", longest_requests(config, benchmark), other_tokens)


def check_window(
    config: RunConfig, judge: ModelJudge, content: str, requests: Iterable[Request], other_tokens: Mapping[str, int]
) -> None:
    """Check that the longest prompt of a judge fits its context window, with room for its verdict.

    Args:
        config: the run's settings.
        judge: the judge.
        content: what the requests hold, in words.
        requests: they include the longest.
        other_tokens: the tokens of what is added to a prompt, by what that is.

    Raises:
        ConfigError: it does not; with the numbers.
    """
    lengths: Iterator[int]
    if isinstance(judge, EndpointJudge):
        window, lengths = check_endpoint(judge), map(estimated_tokens, requests)
        content += f", at {CHARACTERS_PER_TOKEN} characters per token"
    else:
        folder = model_files.fetch(judge.model, weights=False)
        window = judge.engine_kwargs.get("max_model_len") or context_window(folder)
        lengths = _count_tokens(judge, folder, requests)
    if not window:
        return
    parts = {
        content: max(lengths),
        **other_tokens,
        "verdict (evaluation.judge_sampling.max_tokens)": config.evaluation.judge_sampling.max_tokens,
    }
    if sum(parts.values()) > window:
        terms = " + ".join(f"{tokens} {part}" for part, tokens in parts.items())
        raise ConfigError(
            f"evaluation.judges ({judge.name}): needs {sum(parts.values())} tokens ({terms}), but its context window "
            f"has {window}; raise its max_model_len, lower one of these, or use another judge"
        )


def context_window(folder: str) -> int | None:
    """Return the tokens of a model's context by its config."""
    return model_files.config_number(model_files.read_json(folder, "config.json"), "max_position_embeddings")


def _count_tokens(judge: ServedModel, folder: str, requests: Iterable[Request]) -> Iterator[int]:
    tokenizer = ChatTokenizer(folder, served_template(judge.engine_kwargs), judge.chat_template_kwargs)
    yield from (len(tokenizer.encode(request.messages)) for request in requests)


def check_reachable(members: Iterable[Any], check_judge: Callable[[ModelJudge], None]) -> list[str]:
    """Check candidates and judges, and return notes on those that cannot be checked from here.

    Raises:
        UserError: something would stop a run.
    """
    notes = []
    for member in members:
        if not isinstance(member, ServedModel) and (variable := backend_for(member).missing_variable()):
            notes.append(f"{member.model!r}: a run needs ${variable}, which is not set")
            continue
        try:
            locate(member)
            if isinstance(member, ModelJudge):
                check_judge(member)
        except UnreachableError as problem:
            notes.append(str(problem))
    return notes


def plan(config: RunConfig, progress: Progress) -> None:
    """Check everything that a run checks, and print questions and calls.

    A remote service that does not answer is noted, since a dry run may happen away from the cluster.

    Raises:
        UserError: something would stop a run.
    """
    evaluation = config.evaluation
    check_listed(config, *MEMBERS)
    refuse_weak_judges(config)
    check_prompts(config, PROMPTS)
    file_io.check_writable(config.output)
    check_fleet(evaluation.fleet)
    try:
        benchmark, unknown = run_benchmark(config), []
    except UnreachableError as problem:  # of a judge whose model decides which frozen benchmark is used
        benchmark, unknown = named_benchmark(config), [str(problem)]
    check_unchanged(config, benchmark)
    if evaluation.parity:
        check_prompts_of_checkout(config)
    calls = EvaluationCalls.of(config, benchmark)
    notes = unknown + check_reachable(_members(config), partial(_check_window, config, benchmark))
    show_calls(config, benchmark, calls, progress)
    frozen = ", frozen" if benchmark.frozen else ""
    if len(evaluation.candidates) > 1:
        progress.print(_findable(config, calls))
    progress.print(
        f"Benchmark: {benchmark.folder} ({benchmark.name}, {evaluation.protocol}{frozen}), "
        f"{calls.personas:,} personas, {calls.questions:,} questions"
    )
    for line in own_prompts(() if evaluation.parity else PROMPTS, config.prompt_places):
        progress.print(line)
    progress.print(f"Output: {config.output} (can be written)")
    for note in notes:
        progress.print(f"Not checked from here: {note}")


def show_calls(
    config: RunConfig, benchmark: Benchmark, calls: EvaluationCalls, progress: Progress, title: str = "Plan"
) -> None:
    """Print the calls of an evaluation, and about what they cost at endpoints."""
    progress.show(_plan_grid(config, calls, title))
    if line := cost_line(_cost(config, benchmark, calls)):
        progress.print(line)


def _findable(config: RunConfig, calls: EvaluationCalls) -> str:
    """Report what the evaluation can find, by typical spreads: nothing is measured yet."""
    candidates = len(config.evaluation.candidates)
    comparisons = candidates - 1 if config.evaluation.baseline else comb(candidates, 2)
    per_task = max(1, round(calls.questions / (calls.personas * len(TASKS))))
    evaluation = config.evaluation
    found = expected_findable(calls.personas, per_task, evaluation.draws, len(evaluation.judges), comparisons)
    text = findable_text(FindableDifference.model_validate(found))
    return f"{text} This is by typical scores near the top of the scale; yours may differ."


def _plan_grid(config: RunConfig, calls: EvaluationCalls, title: str) -> Grid:
    evaluation = config.evaluation
    candidates, judges = evaluation.candidates, evaluation.judges
    grid = Grid(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("step", "calls", "by"):
        grid.add_column(column, justify="right" if column == "calls" else "left")
    if evaluation.uses_profiles:
        grid.add_row("profiles", f"{calls.personas:,}", config.engine.model)
    for candidate in candidates:
        name, model = candidate.name, candidate.model
        grid.add_row(f"answers ({name})", f"{calls.answers:,}", f"{model}, with the {candidate.condition}")
        if evaluation.general:
            grid.add_row(
                f"general ability ({name})",
                f"{count_items(evaluation):,}",
                f"{model}, without a role",
            )
    writers = [evaluation.example_writer] if evaluation.example_writer else [judge.name for judge in judges]
    grid.add_row("example replies", f"{calls.examples:,}", ", ".join(writers) if calls.examples else "frozen")
    for judge in judges:
        total = f"{calls.judgments * len(candidates):,}"
        grid.add_row(f"judgments ({judge.name})", total, f"{judge.model} ({judge.kind})")
    return grid


def _cost(config: RunConfig, benchmark: Benchmark, calls: EvaluationCalls) -> float:
    """Return about what the endpoints of an evaluation cost, in US dollars; not a number if a price is not known."""
    evaluation, tokens, cost = config.evaluation, evaluation_tokens(config, benchmark), 0.0
    if evaluation.uses_profiles:
        profile = RowTokens.of(PERSONA_CHARACTERS, PROFILE_TOKENS, config.profiles.sampling)
        cost += profile.cost(config.engine, calls.personas)
    for candidate in evaluation.candidates:
        cost += tokens["answers"].cost(candidate, calls.answers)
        cost += tokens["general"].cost(candidate, count_items(evaluation))
    writers = [one for one in evaluation.judges if evaluation.example_writer in (None, one.name)]
    for judge in evaluation.judges:
        cost += tokens["judgments"].cost(judge, calls.judgments * len(evaluation.candidates))
        cost += tokens["examples"].cost(judge, (judge in writers) * calls.examples / max(1, len(writers)))
    return cost
