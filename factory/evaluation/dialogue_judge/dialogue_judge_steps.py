"""The judge of `curation.judge` at work: one table of verdicts per corpus and strategy."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from factory.config import AXES, JudgeRule, RunConfig
from factory.evaluation.dialogue_judge.dialogue_verdicts import (
    DialogueProtocol,
    judged_ids,
    parse_dialogue_verdict,
    render_dialogue_verdict,
)
from factory.evaluation.evaluation_steps import run_judge_jobs
from factory.evaluation.judge_clients import JudgeClient, open_judges, with_judge
from factory.inference.generation_step import GenerationStep, TableJob
from factory.inference.prompts import load_prompt
from factory.records import DialogueToJudge
from factory.runtime.progress import Progress
from factory.storage.schemas import JUDGED_DIALOGUES
from factory.storage.tables import Table

PROMPT = "judge-dialogue"


def with_its_judge(config: RunConfig) -> RunConfig:
    """Return the config with the judge of curation in place of the evaluation's."""
    return with_judge(config, rule_of(config).as_judge())


def rule_of(config: RunConfig) -> JudgeRule:
    """Return the settings of the rule."""
    assert config.curation.judge is not None
    return config.curation.judge


def dialogue_protocol(config: RunConfig) -> DialogueProtocol:
    """Return how the judge is asked."""
    rule = rule_of(config)
    return DialogueProtocol(rule.as_judge().name, load_prompt(PROMPT, config.prompt_places), rule.attempts)


def rule_inputs(config: RunConfig) -> dict[str, Any]:
    """Return what decides which dialogues the rule rejects, besides the dialogues; empty without a judge.

    Raises:
        ModelError: the judge's model cannot be had.
    """
    rule = config.curation.judge
    if rule is None:
        return {}
    (judge,) = open_judges(with_its_judge(config), "")
    thresholds = {name: getattr(rule, name) for name in (*AXES, "on", "sample", "unreadable")}
    asked = verdict_job(config, Table("", ""), Table("", ""), judge)
    return {**thresholds, **asked.settings, "prompt": asked.step.prompt, **asked.engine.settings()}


def verdict_job(config: RunConfig, work: Table, table: Table, judge: JudgeClient) -> TableJob:
    """Return the job in which the judge scores dialogues."""
    protocol, rule = dialogue_protocol(config), rule_of(config)
    step = GenerationStep(
        record=DialogueToJudge,
        schema=JUDGED_DIALOGUES,
        prompt=protocol.prompt.ref,
        render=partial(render_dialogue_verdict, protocol),
        parse=partial(parse_dialogue_verdict, protocol),
        ids=partial(judged_ids, protocol),
        keep_truncated=True,
        reject_as="judge_failed",
    )
    settings = {"judge": judge.name, "attempts": rule.attempts, **judge.settings}
    return TableJob(step, work, table, settings, judge.engine(rule.sampling, config.seed))


def judge_dialogues(config: RunConfig, work: Mapping[Table, Table], progress: Progress) -> None:
    """Let the judge score all dialogues that have no verdict yet.

    Args:
        config: the run's settings.
        work: the dialogues of each table of verdicts.
        progress: reports what happens.
    """

    def jobs_for(judges: Sequence[JudgeClient]) -> list[TableJob]:
        (judge,) = judges
        return [verdict_job(config, dialogues, table, judge) for table, dialogues in work.items()]

    run_judge_jobs(with_its_judge(config), [jobs_for], progress)
