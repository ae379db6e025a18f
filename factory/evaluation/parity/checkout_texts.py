"""The texts of the config's checkout that parity with the paper needs, and their names in the rows."""

from typing import Any

from factory.config import Evaluation, RunConfig
from factory.config.evaluation import parity_route
from factory.evaluation.parity.fork_rules import BLOCK
from factory.evaluation.parity.parity_requests import RolePrompt
from factory.personagym import BUILT_IN, CheckoutPrompts, read_checkout_prompts, read_role_prompt
from factory.storage.tables import compute_fingerprint

PROMPT = "opencharacter"
"""In place of a prompt's name in the rows; the hash of the checkout's texts follows."""


def block_size(evaluation: Evaluation) -> int:
    """Return how many answers a judge gets in one call, at most."""
    return 1 if evaluation.protocol == "light" or evaluation.parity is None else BLOCK


def parity_prompts(config: RunConfig) -> CheckoutPrompts:
    """Read the prompts of the config's checkout.

    Raises:
        InputError: it has none.
    """
    return read_checkout_prompts(config.evaluation.benchmark or BUILT_IN)


def role_prompt(config: RunConfig, candidate: Any) -> RolePrompt:
    """Return what a candidate is told.

    Raises:
        InputError: neither the config nor the checkout has it.
    """
    route, evaluation = parity_route(candidate), config.evaluation
    given = getattr(evaluation.parity_prompts, route)
    return RolePrompt(given or read_role_prompt(evaluation.benchmark or BUILT_IN, route), route)


def check_prompts_of_checkout(config: RunConfig) -> None:
    """Check that all prompts for parity are there.

    Raises:
        InputError: one is missing.
    """
    parity_prompts(config)
    for candidate in config.evaluation.candidates:
        role_prompt(config, candidate)


def examples_prompt_ref(prompts: CheckoutPrompts) -> str:
    """Return the name of the prompt of the example replies."""
    return prompt_ref(prompts.example, prompts.examples_outline)


def judge_prompt_ref(prompts: CheckoutPrompts) -> str:
    """Return the name of a judge's prompt."""
    return prompt_ref(prompts.judge_system, prompts.judge_outline)


def prompt_ref(*texts: Any) -> str:
    """Return the name of texts of a checkout, for the rows."""
    return f"{PROMPT}#{compute_fingerprint({'texts': list(map(str, texts))})[:8]}"
