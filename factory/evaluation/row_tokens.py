"""About how many tokens the rows of an evaluation take, before there are any."""

from collections.abc import Iterator
from statistics import fmean

from factory.config import RunConfig
from factory.evaluation.general_ability.items import general_items
from factory.evaluation.judging import JudgeProtocol, render_judgment
from factory.evaluation.parity.checkout_texts import block_size, parity_prompts
from factory.evaluation.parity.parity_requests import render_block
from factory.evaluation.rubric import read_rubric
from factory.evaluation.run_benchmark import questions_per_task
from factory.inference.prompts import load_prompt
from factory.inference.token_estimates import (
    CHARACTERS_PER_TOKEN,
    EXAMPLES_TOKENS,
    PROFILE_CHARACTERS,
    REPLY_TOKENS,
    VERDICT_TOKENS,
    RowTokens,
)
from factory.personagym import Benchmark, CheckoutPrompts, all_questions
from factory.records import AnswerBlock, AnswerWithExamples, Request


def evaluation_tokens(config: RunConfig, benchmark: Benchmark) -> dict[str, RowTokens]:
    """Return about how many tokens a row takes, by the kind of its table, as the planner names them."""
    evaluation = config.evaluation
    asked = [
        len(persona) + len(question)
        for persona, tasks in all_questions(benchmark, questions_per_task(config), evaluation.limit)
        for questions in tasks.values()
        for question in questions
    ]
    with_profile = sum(one.condition == "profile" for one in evaluation.candidates) / max(1, len(evaluation.candidates))
    question = fmean(asked or [0]) + len(load_prompt("answer", config.prompt_places).text)
    plain = fmean(sum(len(message.content) for message in item.messages) for item in general_items(evaluation.ifeval))
    judged = fmean(request_characters(request) for request in longest_requests(config, benchmark))
    reply = min(REPLY_TOKENS, evaluation.sampling.max_tokens)
    size = block_size(evaluation)
    about = RowTokens.of(judged, VERDICT_TOKENS, evaluation.judge_sampling)
    return {
        "answers": RowTokens.of(question + with_profile * PROFILE_CHARACTERS, REPLY_TOKENS, evaluation.sampling),
        "general": RowTokens.of(plain, REPLY_TOKENS, evaluation.sampling),
        "examples": RowTokens.of(judged, EXAMPLES_TOKENS, evaluation.example_sampling),
        "judgments": RowTokens(about.prompt + size * (reply + EXAMPLES_TOKENS), size * about.output),
    }


def request_characters(request: Request) -> int:
    """Return the characters of a request."""
    return sum(len(message.content) for message in request.messages)


def estimated_tokens(request: Request) -> int:
    """Return about how many tokens a request has for a model whose tokenizer is not known."""
    return request_characters(request) // CHARACTERS_PER_TOKEN


def longest_requests(config: RunConfig, benchmark: Benchmark) -> Iterator[Request]:
    """Yield a judge's request about the longest question of each task, without examples and answer."""
    longest: dict[str, tuple[str, str]] = {}
    for persona, tasks in all_questions(benchmark, questions_per_task(config), config.evaluation.limit):
        for task, questions in tasks.items():
            candidates = [(persona, question) for question in questions] + [longest.get(task, ("", ""))]
            longest[task] = max(candidates, key=lambda texts: len("".join(texts)))
    prompt = parity_prompts(config) if config.evaluation.parity else load_prompt("judge", config.prompt_places)
    rubrics = {task: read_rubric(task, template) for task, template in benchmark.rubrics.items()}
    protocol = JudgeProtocol("judge", rubrics, prompt, attempts=1, logprobs=0)
    size = block_size(config.evaluation)
    for task, (persona, question) in longest.items():
        if isinstance(prompt, CheckoutPrompts):
            of_each = [(text,) * size for text in ("", question, "-", "")]
            yield render_block(prompt, rubrics, AnswerBlock("", "", "", persona, task, *of_each))
        else:
            answer = AnswerWithExamples("", "", persona, task, "", question, answer="-", truncated=False)
            yield render_judgment(protocol, answer)
