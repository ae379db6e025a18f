"""What a run of curation checks of its judge before anything runs, and what the judge will cost."""

from collections.abc import Iterator, Mapping
from typing import Any

from factory.config import AXES, RunConfig, ServedModel, Strategy
from factory.errors import ConfigError
from factory.evaluation.dialogue_judge.dialogue_judge_steps import PROMPT, dialogue_protocol, rule_of, with_its_judge
from factory.evaluation.dialogue_judge.generic_pairs import generic_pairs
from factory.evaluation.dry_run import check_reachable, local_cpus, locate
from factory.evaluation.judge_check.judge_check_steps import RESERVED_NAMES
from factory.inference.endpoint_questions import EndpointUse
from factory.inference.prompts import load_prompt
from factory.inference.token_estimates import (
    CHARACTERS_PER_TOKEN,
    PROFILE_CHARACTERS,
    REPLY_CHARACTERS,
    REPLY_TOKENS,
    VERDICT_TOKENS,
    RowTokens,
    cost_line,
)
from factory.runtime.progress import Progress
from factory.serving.fleet import check_fleet


def check(config: RunConfig) -> None:
    """Check the judge of curation, if there is one: its prompt, its model or endpoint, its fleet.

    Raises:
        UserError: something would stop a run.
    """
    if config.curation.judge:
        _check_settings(config)
        locate(rule_of(config).as_judge())


def _check_settings(config: RunConfig) -> None:
    judge = rule_of(config).as_judge()
    if judge.name in RESERVED_NAMES:
        raise ConfigError(f"curation.judge.name: {judge.name!r} is taken by a table of pairs; take another")
    load_prompt(PROMPT, config.prompt_places)
    if isinstance(judge, ServedModel):
        check_fleet(config.evaluation.fleet)


def plan(config: RunConfig, rows: Mapping[Strategy, int], progress: Progress) -> None:
    """Check the judge, and print its calls, tokens and cost.

    Args:
        config: the run's settings.
        rows: the dialogues of each strategy before the rules, which leave fewer to judge.
        progress: where to print.

    Raises:
        UserError: something would stop a run.
    """
    if config.curation.judge is None:
        return
    rule, judge = rule_of(config), rule_of(config).as_judge()
    _check_settings(config)
    notes = check_reachable([judge], lambda judge: None)
    calls = {strategy: round(rule.sample * count) for strategy, count in rows.items() if strategy in rule.on}
    pairs = 2 * len(generic_pairs()) if rule.min_accuracy else 0
    asked = [(verdict_tokens(config, strategy), count) for strategy, count in calls.items() if count]
    asked += [(verdict_tokens(config, "generate"), pairs)] if pairs else []
    prompt, output = (sum(getattr(row, name) * count for row, count in asked) for name in ("prompt", "output"))
    cost = sum(row.cost(judge, count) for row, count in asked)
    least = ", ".join(f"{axis} {getattr(rule, axis)}" for axis in AXES)
    progress.print(
        f"Judge: {judge.name} ({judge.model}, {judge.kind}), at most {sum(calls.values()) + pairs:,} calls, {pairs} of "
        f"them to check it; about {prompt:,.0f} tokens in and {output:,.0f} out; keeps {least} and above"
    )
    if line := cost_line(0.0 if isinstance(judge, ServedModel) else cost):
        progress.print(line)
    for note in notes:
        progress.print(f"Not checked from here: {note}")


def verdict_tokens(config: RunConfig, strategy: Strategy) -> RowTokens:
    """Return about how many tokens a verdict on a dialogue takes; a rewritten one comes with its references."""
    rule = rule_of(config)
    replies = 2 * REPLY_TOKENS * CHARACTERS_PER_TOKEN if strategy == "rewrite" else REPLY_CHARACTERS
    characters = len(load_prompt(PROMPT, config.prompt_places).text) + PROFILE_CHARACTERS + replies
    return RowTokens.of(characters, VERDICT_TOKENS, rule.sampling)


def endpoints(config: RunConfig) -> Iterator[EndpointUse]:
    """Yield the judge of curation, if there is one."""
    if config.curation.judge:
        yield EndpointUse(rule_of(config).as_judge(), rule_of(config).sampling)


def judge_cpus(config: RunConfig) -> int:
    """Return the logical CPUs of a Ray that this machine starts for a judge that it serves; 0 for its cores."""
    rule = config.curation.judge
    return local_cpus(with_its_judge(config)) if isinstance(rule, ServedModel) else 0


def about(config: RunConfig) -> dict[str, Any]:
    """Return what the manifests record of the judge and its settings."""
    rule = rule_of(config)
    judge = rule.as_judge()
    thresholds = {axis: getattr(rule, axis) for axis in AXES}
    prompt = dialogue_protocol(config).prompt.ref
    return {"name": judge.name, "model": judge.model, "prompt": prompt, "thresholds": thresholds}
