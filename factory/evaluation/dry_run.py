"""What an evaluation would stop at, and what it would do."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from rich.table import Table as Grid

from factory.config import EndpointJudge, RunConfig, ServedModel
from factory.errors import ConfigError, UnreachableError
from factory.evaluation.answers import wants_profiles
from factory.evaluation.general_ability.items import general_items
from factory.evaluation.judging import Protocol, render_judgment
from factory.evaluation.questions import questions_per_task
from factory.evaluation.rubric import read_rubric
from factory.inference import model_files
from factory.inference.chat_template import ChatTokenizer
from factory.inference.engines.endpoint_check import check_endpoint
from factory.inference.engines.registry import backend_for
from factory.inference.locate import locate_model, locate_served
from factory.inference.prompts import load_prompt
from factory.personagym import Benchmark, all_questions, digest_of, open_benchmark
from factory.records import AnswerWithExamples, Request
from factory.runtime.progress import Progress
from factory.serving.fleet import check_fleet, cpus_of
from factory.storage import file_io

PROMPTS = ("answer", "answer-profile", "score-examples", "judge")
MEMBERS = {"candidates": "a model to score", "judges": "a judge that scores"}
"""Who takes part, by key of `evaluation`."""
Windowed = ServedModel | EndpointJudge
"""A judge whose context has an end; where an endpoint does not tell it, nothing is checked."""
CHARACTERS_A_TOKEN = 4
"""Of English text, by the tokenizers of our time; that of an endpoint is not known."""
JOB_CPUS = 4
"""A candidate's engine, and the tasks that read and write beside it."""


def local_cpus(config: RunConfig) -> int:
    """The CPUs, in name, of a Ray that this machine starts for an evaluation."""
    return JOB_CPUS + int(cpus_of(config.evaluation.fleet_judges))


def check(config: RunConfig) -> None:
    """Check benchmark, candidates, judges and their windows.

    Raises:
        UserError: what a run would stop at.
    """
    check_named(config, *MEMBERS)
    check_prompts(config, PROMPTS)
    benchmark = open_benchmark(config.evaluation.benchmark)
    digest_of(benchmark, questions_per_task(config), config.evaluation.limit)  # reads all of it
    if wants_profiles(config):
        locate_model(config.engine)
    for member in _members(config):
        locate(member)
    check_fleet(config.evaluation.fleet)
    for judge in config.evaluation.judges:
        if isinstance(judge, Windowed):
            _check_window(config, benchmark, judge)


def check_named(config: RunConfig, *keys: str) -> None:
    """Check that candidates, judges or both are there.

    Raises:
        ConfigError: they are not.
    """
    for key in keys:
        if not getattr(config.evaluation, key):
            raise ConfigError(
                f"evaluation.{key}: names nobody; give at least {MEMBERS[key]}, such as {{name: a, model: ...}}"
            )


def check_prompts(config: RunConfig, names: Iterable[str]) -> None:
    """Check that prompts can be read.

    Raises:
        PromptError: one cannot.
    """
    for name in names:
        load_prompt(name, config.prompts_dir)


def _members(config: RunConfig) -> Iterator[Any]:
    yield from config.evaluation.candidates
    yield from config.evaluation.judges


def locate(member: Any) -> model_files.Located:
    """Find the model of a candidate or a judge; an endpoint is asked whether it answers.

    Raises:
        ModelError: it cannot be had.
        UnreachableError: its place does not answer.
    """
    if isinstance(member, ServedModel):
        return locate_served(member.model, member.engine_kwargs)
    return locate_model(member)


def _check_window(config: RunConfig, benchmark: Benchmark, judge: Windowed) -> None:
    evaluation = config.evaluation
    beside = {
        "example replies (evaluation.example_sampling.max_tokens)": evaluation.example_sampling.max_tokens,
        "answer (evaluation.sampling.max_tokens)": evaluation.sampling.max_tokens,
    }
    check_window(config, judge, "rubric, persona and question", _longest_requests(config, benchmark), beside)


def check_window(
    config: RunConfig, judge: Windowed, asked: str, requests: Iterable[Request], beside: Mapping[str, int]
) -> None:
    """The longest prompt that a judge may get must fit its window, with room for its verdict.

    Args:
        config: the run's settings.
        judge: whose window it is.
        asked: what the requests hold, in words.
        requests: among them the longest.
        beside: the tokens of what comes into a prompt besides, and what that is.

    Raises:
        ConfigError: it does not; with the numbers.
    """
    lengths: Iterator[int]
    if isinstance(judge, EndpointJudge):
        window, lengths = check_endpoint(judge), map(_about, requests)
        asked += f", at {CHARACTERS_A_TOKEN} characters a token"
    else:
        folder = model_files.fetch(judge.model, weights=False)
        window, lengths = judge.engine_kwargs.get("max_model_len") or window_of(folder), _lengths(folder, requests)
    if not window:
        return
    parts = {
        asked: max(lengths),
        **beside,
        "verdict (evaluation.judge_sampling.max_tokens)": config.evaluation.judge_sampling.max_tokens,
    }
    if sum(parts.values()) > window:
        told = " + ".join(f"{tokens} {part}" for part, tokens in parts.items())
        raise ConfigError(
            f"evaluation.judges ({judge.name}): needs {sum(parts.values())} tokens ({told}), its window has {window}; "
            "raise its max_model_len, lower one of these, or take another judge"
        )


def window_of(folder: str) -> int | None:
    """The tokens of a model's context, as its folder tells; a model that also sees has them a level deeper."""
    told = model_files.read_json(folder, "config.json")
    text = told.get("text_config")
    deeper = text if isinstance(text, dict) else {}
    return model_files.whole_number(told.get("max_position_embeddings") or deeper.get("max_position_embeddings"))


def _lengths(folder: str, requests: Iterable[Request]) -> Iterator[int]:
    tokenizer = ChatTokenizer(folder)
    yield from (len(tokenizer.encode(request.messages)) for request in requests)


def _about(request: Request) -> int:
    return sum(len(message.content) for message in request.messages) // CHARACTERS_A_TOKEN


def _longest_requests(config: RunConfig, benchmark: Benchmark) -> Iterator[Request]:
    """For each task, what a judge is asked about the longest question, but for examples and answer."""
    longest: dict[str, tuple[str, str]] = {}
    for persona, tasks in all_questions(benchmark, questions_per_task(config), config.evaluation.limit):
        for task, questions in tasks.items():
            candidates = [(persona, question) for question in questions] + [longest.get(task, ("", ""))]
            longest[task] = max(candidates, key=lambda texts: len("".join(texts)))
    prompt = None if config.evaluation.judge_protocol else load_prompt("judge", config.prompts_dir)
    rubrics = {task: read_rubric(task, template) for task, template in benchmark.rubrics.items()}
    protocol = Protocol("judge", rubrics, prompt, attempts=1, logprobs=0)
    for task, (persona, question) in longest.items():
        answer = AnswerWithExamples("", "", persona, task, "", question, answer="-", truncated=False)
        yield render_judgment(protocol, answer)


def not_checked(members: Iterable[Any], check_judge: Callable[[Windowed], None]) -> list[str]:
    """Check candidates and judges, and say what of it cannot be checked from here.

    Raises:
        UserError: what a run would stop at.
    """
    notes = []
    for member in members:
        if not isinstance(member, ServedModel) and (variable := backend_for(member).missing_variable()):
            notes.append(f"{member.model!r}: a run needs ${variable}, which is not set")
            continue
        try:
            locate(member)
            if isinstance(member, Windowed):
                check_judge(member)
        except UnreachableError as problem:
            notes.append(str(problem))
    return notes


def plan(config: RunConfig, progress: Progress) -> None:
    """Check everything that a run checks, and print questions and calls.

    A remote place that does not answer is noted, since a plan may be made away from the cluster.

    Raises:
        UserError: what a run would stop at.
    """
    evaluation = config.evaluation
    check_named(config, *MEMBERS)
    check_prompts(config, PROMPTS)
    file_io.check_writable(config.output)
    check_fleet(evaluation.fleet)
    benchmark = open_benchmark(evaluation.benchmark)
    personas = benchmark.personas[: evaluation.limit]
    every = all_questions(benchmark, questions_per_task(config), evaluation.limit)
    questions = sum(len(asked) for _, tasks in every for asked in tasks.values())
    notes = not_checked(_members(config), partial(_check_window, config, benchmark))
    grid = Grid(title="Plan", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("step", "calls", "by"):
        grid.add_column(column, justify="right" if column == "calls" else "left")
    candidates, judges = evaluation.candidates, evaluation.judges
    if wants_profiles(config):
        grid.add_row("profiles", f"{len(personas):,}", config.engine.model)
    for candidate in candidates:
        grid.add_row(
            f"answers ({candidate.name})", f"{questions:,}", f"{candidate.model}, told the {candidate.condition}"
        )
        if evaluation.general:
            grid.add_row(
                f"general ability ({candidate.name})", f"{len(general_items()):,}", f"{candidate.model}, told no role"
            )
    grid.add_row("example replies", f"{questions:,}", evaluation.example_writer or judges[0].name)
    for judge in judges:
        grid.add_row(f"judgments ({judge.name})", f"{questions * len(candidates):,}", f"{judge.model} ({judge.kind})")
    progress.show(grid)
    progress.say(
        f"Benchmark: {benchmark.place} ({benchmark.name}, {evaluation.protocol}), {len(personas):,} personas, "
        f"{questions:,} questions"
    )
    progress.say(f"Output: {config.output} (can be written)")
    for note in notes:
        progress.say(f"Not checked from here: {note}")
