"""The steps of evaluation as the job runs them, each from finished tables to the next.

ingest_questions ──► answer (a table a candidate) ───┐
              └──► write_examples (once for all) ──┴─► judge (a table a candidate and judge)
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from factory.config import RunConfig
from factory.errors import InputError
from factory.evaluation.answers import answer_ids, parse_answer, render_answer
from factory.evaluation.general_ability.general_steps import general_lanes
from factory.evaluation.judges import Judge, open_judges, probed
from factory.evaluation.judging import Protocol, judgment_ids, parse_judgment, render_judgment
from factory.evaluation.questions import answers_table, examples_table, judgments_table, questions_table
from factory.evaluation.rubric import Rubric, read_rubric
from factory.evaluation.score_examples import parse_score_examples, render_score_examples, score_examples_ids
from factory.inference.generation_step import EngineUse, GenerationStep, TableJob
from factory.inference.locate import locate_model
from factory.inference.prompts import load_prompt
from factory.inference.run_jobs import is_finished, run_jobs
from factory.personagym import Benchmark
from factory.records import AnswerWithExamples, Question, QuestionWithProfile
from factory.runtime.progress import Progress
from factory.serving.deployment import LOGPROBS
from factory.serving.fleet import fleet_for_run
from factory.storage import archive
from factory.storage.joined_table import JoinedTable
from factory.storage.schemas import ANSWERS, JUDGMENTS, SCORE_EXAMPLES
from factory.storage.tables import Table, compute_fingerprint

FREE_FORM = "opencharacter-rubric"
"""In place of a prompt where judges get the benchmark's rubric files as they are (`parity`)."""


def answer(config: RunConfig, questions: Table, profiles: Table | None, progress: Progress) -> None:
    """All that candidates are asked; those of one model share its engine."""
    lanes = [_answers(config, candidate, questions, profiles) for candidate in config.evaluation.candidates]
    lanes += general_lanes(config, [lane.engine for lane in lanes], progress)
    run_jobs([lane for lane in lanes if not lane.engine.backend.loads_model], progress)
    here = [lane for lane in lanes if lane.engine.backend.loads_model]
    while here:
        # One engine after the other: each may need all of the machine.
        first = here[0].engine
        run_jobs([lane for lane in here if lane.engine.is_same_engine(first)], progress)
        here = [lane for lane in here if not lane.engine.is_same_engine(first)]


def _answers(config: RunConfig, candidate: Any, questions: Table, profiles: Table | None) -> TableJob:
    with_profile = candidate.condition == "profile"
    prompt = load_prompt("answer-profile" if with_profile else "answer", config.prompts_dir)
    step = GenerationStep(
        record=QuestionWithProfile,
        schema=ANSWERS,
        prompt=prompt.ref,
        render=partial(render_answer, prompt),
        parse=partial(parse_answer, candidate.name),
        ids=partial(answer_ids, candidate.name),
        keep_truncated=True,
    )
    work = questions
    if with_profile:
        assert profiles is not None
        work = JoinedTable.of(questions, profiles, "persona_id", "profile", other_key="character_id")
    engine = EngineUse(_plain(candidate), config.evaluation.sampling, config.seed, locate_model(candidate))
    return TableJob(step, work, answers_table(config, candidate.name), {"candidate": candidate.name}, engine)


def _plain(candidate: Any) -> Any:
    """The engine of a candidate; without name and condition for vLLM, so that two of one model share it."""
    return candidate.model_copy(update={"name": "", "condition": "persona"}) if candidate.kind == "vllm" else candidate


def rubrics_of(benchmark: Benchmark) -> dict[str, Rubric]:
    """What each task is judged by."""
    return {task: read_rubric(task, template) for task, template in benchmark.rubrics.items()}


def examples_lane(config: RunConfig, benchmark: Benchmark, judges: Sequence[Judge]) -> TableJob:
    """Example replies of each score to every question: written once, by one judge, for all."""
    writer = next(judge for judge in judges if judge.name == (config.evaluation.example_writer or judges[0].name))
    prompt = load_prompt("score-examples", config.prompts_dir)
    rubrics = rubrics_of(benchmark)
    step = GenerationStep(
        record=Question,
        schema=SCORE_EXAMPLES,
        prompt=prompt.ref,
        render=partial(render_score_examples, prompt, rubrics, config.evaluation.attempts),
        parse=parse_score_examples,
        ids=score_examples_ids,
    )
    settings = {"attempts": config.evaluation.attempts, **_rubric_settings(rubrics)}
    engine = writer.engine(config.evaluation.example_sampling, config.seed)
    return TableJob(step, questions_table(config), examples_table(config), settings, engine)


def judgment_lanes(config: RunConfig, benchmark: Benchmark, judges: Sequence[Judge]) -> list[TableJob]:
    """Every accepted answer of each candidate to a score of each judge; all at the same time."""
    rubrics = rubrics_of(benchmark)
    return [
        _judgments(config, rubrics, candidate.name, judge)
        for judge in judges
        for candidate in config.evaluation.candidates
    ]


def _judgments(config: RunConfig, rubrics: Mapping[str, Rubric], candidate: str, judge: Judge) -> TableJob:
    work = JoinedTable.of(
        answers_table(config, candidate), examples_table(config), "question_id", "examples", order="task"
    )
    return judgment_lane(config, rubrics, judge, work, judgments_table(config, candidate, judge.name))


def protocol_of(config: RunConfig, rubrics: Mapping[str, Rubric], judge: str) -> Protocol:
    """How a judge is asked for a score."""
    prompt = None if config.evaluation.judge_protocol else load_prompt("judge", config.prompts_dir)
    return Protocol(judge, rubrics, prompt, config.evaluation.attempts, LOGPROBS)


def judgment_lane(
    config: RunConfig, rubrics: Mapping[str, Rubric], judge: Judge, work: Table, table: Table
) -> TableJob:
    """Answers, each with its `examples`, to a judge's scores of them."""
    protocol = protocol_of(config, rubrics, judge.name)
    step = GenerationStep(
        record=AnswerWithExamples,
        schema=JUDGMENTS,
        prompt=protocol.prompt.ref if protocol.prompt else FREE_FORM,
        render=partial(render_judgment, protocol),
        parse=partial(parse_judgment, protocol),
        ids=partial(judgment_ids, protocol),
        keep_truncated=True,
        reject_as="judge_failed",
    )
    return lane_of_judge(config, rubrics, judge, step, work, table)


def lane_of_judge(
    config: RunConfig,
    rubrics: Mapping[str, Rubric],
    judge: Judge,
    step: GenerationStep[Any, Any],
    work: Table,
    table: Table,
) -> TableJob:
    """A lane in which a judge goes by the rubrics; those of one judge share its engine."""
    evaluation = config.evaluation
    settings = {"judge": judge.name, "attempts": evaluation.attempts, **judge.settings, **_rubric_settings(rubrics)}
    return TableJob(step, work, table, settings, judge.engine(evaluation.judge_sampling, config.seed))


def _rubric_settings(rubrics: Mapping[str, Rubric]) -> dict[str, Any]:
    return {"rubrics": compute_fingerprint({task: rubric.template for task, rubric in rubrics.items()})}


def judge(config: RunConfig, benchmark: Benchmark, progress: Progress) -> None:
    """Every accepted answer to a score of each judge.

    Raises:
        InputError: a candidate gave no answer at all.
    """
    for candidate in config.evaluation.candidates:
        _some_answers(config, candidate.name)

    def examples(judges: Sequence[Judge]) -> list[TableJob]:
        return [examples_lane(config, benchmark, judges)]

    ask_judges(config, [examples, partial(judgment_lanes, config, benchmark)], progress)


def ask_judges(
    config: RunConfig, rounds: Sequence[Callable[[Sequence[Judge]], Sequence[TableJob]]], progress: Progress
) -> None:
    """Make the lanes of each round, one round after the other.

    The fleet stands only as long as there is work for it.

    Args:
        config: the run's settings.
        rounds: functions from the judges to their lanes.
        progress: where it is told.
    """
    lanes = [lane for lanes_of in rounds for lane in lanes_of(open_judges(config, ""))]
    if archive.current_rehearsal():
        run_jobs(list(map(_as_probed, lanes)), progress)
        return
    if all(map(is_finished, lanes)):
        run_jobs(lanes, progress)  # tells that they were finished before
        return
    with fleet_for_run(config.evaluation.fleet, config.evaluation.fleet_judges, progress) as url:
        judges = probed(open_judges(config, url), progress)
        for lanes_of in rounds:
            run_jobs(lanes_of(judges), progress)


def _as_probed(lane: TableJob) -> TableJob:
    """A lane for a judge that was found to give no log-probabilities, as `probed` would find it again."""
    before = lane.table.inputs() or {}
    told_none = before.get("logprobs") is False and "logprobs" in lane.settings
    return replace(lane, settings={**lane.settings, "logprobs": False}) if told_none else lane


def _some_answers(config: RunConfig, candidate: str) -> None:
    manifest = answers_table(config, candidate).manifest()
    assert manifest is not None
    if not manifest["ok"]:
        raise InputError(
            f"evaluation.candidates ({candidate}): none of {manifest['rows_in']} answers can be used: "
            f"{json.dumps(manifest['rejected'])}"
        )
