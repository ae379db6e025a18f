"""The steps of an evaluation as the paper's runner asks: answers, example replies, verdicts on blocks, judgments."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from factory.config import RunConfig
from factory.evaluation.answers import answer_ids
from factory.evaluation.parity.answer_blocks import BlockTable, split_verdicts
from factory.evaluation.parity.checkout_texts import (
    block_size,
    examples_prompt_ref,
    judge_prompt_ref,
    parity_prompts,
    prompt_ref,
    role_prompt,
)
from factory.evaluation.parity.parity_requests import (
    block_ids,
    parse_block,
    parse_parity_answer,
    parse_parity_examples,
    render_block,
    render_parity_answer,
    render_parity_examples,
)
from factory.evaluation.rubric import Rubric
from factory.evaluation.score_examples import score_examples_ids
from factory.inference.generation_step import GenerationStep
from factory.records import AnswerBlock, Question, QuestionWithProfile
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.storage.schemas import ANSWERS, BLOCK_VERDICTS, SCORE_EXAMPLES
from factory.storage.tables import Table


def parity_answer_step(config: RunConfig, candidate: Any) -> GenerationStep[Any, Any]:
    """Return the step of a candidate's answers."""
    prompt = role_prompt(config, candidate)
    return GenerationStep(
        record=QuestionWithProfile,
        schema=ANSWERS,
        prompt=prompt_ref(prompt),
        render=partial(render_parity_answer, prompt),
        parse=partial(parse_parity_answer, prompt, candidate.name),
        ids=partial(answer_ids, candidate.name),
        keep_truncated=True,
    )


def parity_examples_step(config: RunConfig, rubrics: Mapping[str, Rubric]) -> GenerationStep[Any, Any]:
    """Return the step of the example replies."""
    prompts = parity_prompts(config)
    return GenerationStep(
        record=Question,
        schema=SCORE_EXAMPLES,
        prompt=examples_prompt_ref(prompts),
        render=partial(render_parity_examples, prompts, rubrics),
        parse=parse_parity_examples,
        ids=score_examples_ids,
        keep_truncated=True,
    )


def block_step(config: RunConfig, rubrics: Mapping[str, Rubric], judge: str) -> GenerationStep[Any, Any]:
    """Return the step of a judge's verdicts."""
    prompts = parity_prompts(config)
    return GenerationStep(
        record=AnswerBlock,
        schema=BLOCK_VERDICTS,
        prompt=judge_prompt_ref(prompts),
        render=partial(render_block, prompts, rubrics),
        parse=partial(parse_block, judge),
        ids=partial(block_ids, judge),
        keep_truncated=True,
    )


def block_table(config: RunConfig, candidate: str, examples: Table) -> BlockTable:
    """Return a candidate's answers in blocks."""
    answers = layout.ANSWERS.table(config.output, candidate=candidate)
    return BlockTable.of(answers, examples, block_size(config.evaluation))


def write_judgments(config: RunConfig, judges: Sequence[str], examples: Table, progress: Progress) -> None:
    """Write all verdicts on blocks as judgments of single answers."""
    for candidate in config.evaluation.candidates:
        blocks = block_table(config, candidate.name, examples)
        for judge in judges:
            parts = {"candidate": candidate.name, "judge": judge}
            verdicts, judgments = (
                kind.table(config.output, **parts) for kind in (layout.BLOCK_VERDICTS, layout.JUDGMENTS)
            )
            split_verdicts(blocks, verdicts, judgments, judge, progress)
