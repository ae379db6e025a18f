"""The steps of evaluation as the job runs them, each from finished tables to the next.

questions ──► answers (a table per candidate) ──┐
└───► score examples (a table per judge) ┴──► judgments (a table per candidate and judge)
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from factory.config import RunConfig
from factory.errors import InputError
from factory.evaluation.answers import answer_ids, parse_answer, render_answer
from factory.evaluation.example_tables import all_examples, question_shares
from factory.evaluation.general_ability.general_steps import general_jobs
from factory.evaluation.judge_clients import JudgeClient, open_judges, probe_judges
from factory.evaluation.judging import JudgeProtocol, judgment_ids, parse_judgment, render_judgment
from factory.evaluation.parity import parity_steps
from factory.evaluation.parity.checkout_texts import parity_prompts
from factory.evaluation.rubric import Rubric, read_rubric
from factory.evaluation.score_examples import parse_score_examples, render_score_examples, score_examples_ids
from factory.inference.generation_step import EngineUse, GenerationStep, TableJob
from factory.inference.locate import locate_model
from factory.inference.prompts import load_prompt
from factory.inference.run_jobs import is_finished, run_jobs
from factory.personagym import Benchmark
from factory.records import AnswerWithExamples, Question, QuestionWithProfile
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.serving.deployment import LOGPROBS
from factory.serving.fleet import fleet_for_run
from factory.storage import archive
from factory.storage.joined_table import JoinedTable
from factory.storage.repeated_table import RepeatedTable
from factory.storage.schemas import ANSWERS, JUDGMENTS, SCORE_EXAMPLES
from factory.storage.tables import Table, compute_fingerprint


def answer_questions(config: RunConfig, questions: Table, profiles: Table | None, progress: Progress) -> None:
    """Let all candidates answer the questions and plain instructions.

    Candidates of one model share its engine; those of several are answered side by side where the cluster has room.
    """
    jobs = [_answer_job(config, candidate, questions, profiles) for candidate in config.evaluation.candidates]
    jobs += general_jobs(config, [job.engine for job in jobs], progress)
    run_jobs(jobs, progress)


def _answer_job(config: RunConfig, candidate: Any, questions: Table, profiles: Table | None) -> TableJob:
    work = RepeatedTable.of(answer_work(candidate, questions, profiles), config.evaluation.draws, "draw")
    sampling = config.evaluation.answer_sampling(candidate)
    engine = EngineUse(_shared_engine(candidate), sampling, config.seed, locate_model(candidate))
    table = layout.ANSWERS.table(config.output, candidate=candidate.name)
    return TableJob(answer_step(config, candidate), work, table, {"candidate": candidate.name}, engine)


def answer_work(candidate: Any, questions: Table, profiles: Table | None) -> Table:
    """Return the questions as a candidate gets them: with the profiles, if it answers with one."""
    if candidate.condition != "profile":
        return questions
    assert profiles is not None
    return JoinedTable.of(questions, profiles, "persona_id", "profile", other_key="character_id")


def answer_step(config: RunConfig, candidate: Any) -> GenerationStep[Any, Any]:
    """Return the step in which a candidate answers questions."""
    if config.evaluation.parity:
        return parity_steps.parity_answer_step(config, candidate)
    name = "answer-profile" if candidate.condition == "profile" else "answer"
    prompt = load_prompt(name, config.prompt_places)
    return GenerationStep(
        record=QuestionWithProfile,
        schema=ANSWERS,
        prompt=prompt.ref,
        render=partial(render_answer, prompt),
        parse=partial(parse_answer, candidate.name),
        ids=partial(answer_ids, candidate.name),
        keep_truncated=True,
    )


def _shared_engine(candidate: Any) -> Any:
    """Return a candidate's engine; for vLLM without what only names and asks it, so that two of one model share it."""
    asked = {"name": "", "condition": "persona", "parity_route": None}
    return candidate.model_copy(update=asked) if candidate.kind == "vllm" else candidate


def read_rubrics(benchmark: Benchmark) -> dict[str, Rubric]:
    """Return the rubric of each task."""
    return {task: read_rubric(task, template) for task, template in benchmark.rubrics.items()}


def score_examples_jobs(config: RunConfig, benchmark: Benchmark, judges: Sequence[JudgeClient]) -> list[TableJob]:
    """Return the jobs of the example replies for each score: written once per question, by one of the judges."""
    rubrics = read_rubrics(benchmark)
    by_name = {judge.name: judge for judge in judges}
    return [
        examples_job(config, rubrics, by_name[name], questions, layout.SCORE_EXAMPLES.table(config.output, judge=name))
        for name, questions in question_shares(config, benchmark).items()
    ]


def examples_job(
    config: RunConfig, rubrics: Mapping[str, Rubric], judge: JudgeClient, questions: Table, table: Table
) -> TableJob:
    """Return the job in which a judge writes the example replies to questions."""
    step = (parity_steps.parity_examples_step if config.evaluation.parity else _examples_step)(config, rubrics)
    settings = {"attempts": config.evaluation.attempts, **_rubric_settings(rubrics)}
    return TableJob(step, questions, table, settings, judge.engine(config.evaluation.example_sampling, config.seed))


def _examples_step(config: RunConfig, rubrics: Mapping[str, Rubric]) -> GenerationStep[Any, Any]:
    prompt = load_prompt("score-examples", config.prompt_places)
    return GenerationStep(
        record=Question,
        schema=SCORE_EXAMPLES,
        prompt=prompt.ref,
        render=partial(render_score_examples, prompt, rubrics, config.evaluation.attempts),
        parse=parse_score_examples,
        ids=score_examples_ids,
    )


def judgment_jobs(config: RunConfig, benchmark: Benchmark, judges: Sequence[JudgeClient]) -> list[TableJob]:
    """Return the jobs that score the accepted answers of each candidate by each judge; all run at the same time."""
    rubrics = read_rubrics(benchmark)
    examples = all_examples(config, benchmark)
    jobs = []
    for judge in judges:
        for candidate in config.evaluation.candidates:
            parts = {"candidate": candidate.name, "judge": judge.name}
            if config.evaluation.parity:
                step = parity_steps.block_step(config, rubrics, judge.name)
                blocks = parity_steps.block_table(config, candidate.name, examples)
                verdicts = layout.BLOCK_VERDICTS.table(config.output, **parts)
                jobs.append(judge_job(config, rubrics, judge, step, blocks, verdicts))
            else:
                answers = layout.ANSWERS.table(config.output, candidate=candidate.name)
                work = JoinedTable.of(answers, examples, "question_id", "examples", order="task")
                table = layout.JUDGMENTS.table(config.output, **parts)
                jobs.append(judgment_job(config, rubrics, judge, work, table))
    return jobs


def judgment_protocol(config: RunConfig, rubrics: Mapping[str, Rubric], judge: str) -> JudgeProtocol:
    """Return the protocol by which a judge scores."""
    prompt = parity_prompts(config) if config.evaluation.parity else load_prompt("judge", config.prompt_places)
    return JudgeProtocol(judge, rubrics, prompt, config.evaluation.attempts, LOGPROBS)


def judgment_job(
    config: RunConfig, rubrics: Mapping[str, Rubric], judge: JudgeClient, work: Table, table: Table
) -> TableJob:
    """Return the job that scores answers, each with its `examples`, by one judge."""
    protocol = judgment_protocol(config, rubrics, judge.name)
    step = GenerationStep(
        record=AnswerWithExamples,
        schema=JUDGMENTS,
        prompt=protocol.prompt_ref,
        render=partial(render_judgment, protocol),
        parse=partial(parse_judgment, protocol),
        ids=partial(judgment_ids, protocol),
        keep_truncated=True,
        reject_as="judge_failed",
    )
    return judge_job(config, rubrics, judge, step, work, table)


def judge_job(
    config: RunConfig,
    rubrics: Mapping[str, Rubric],
    judge: JudgeClient,
    step: GenerationStep[Any, Any],
    work: Table,
    table: Table,
) -> TableJob:
    """Return a job in which a judge uses the rubrics; jobs of one judge share its engine."""
    evaluation = config.evaluation
    settings = {"judge": judge.name, "attempts": evaluation.attempts, **judge.settings, **_rubric_settings(rubrics)}
    return TableJob(step, work, table, settings, judge.engine(evaluation.judge_sampling, config.seed))


def _rubric_settings(rubrics: Mapping[str, Rubric]) -> dict[str, Any]:
    return {"rubrics": compute_fingerprint({task: rubric.template for task, rubric in rubrics.items()})}


def judge_answers(config: RunConfig, benchmark: Benchmark, progress: Progress) -> None:
    """Score every accepted answer by each judge.

    Raises:
        InputError: a candidate has no accepted answer.
    """
    for candidate in config.evaluation.candidates:
        _check_answers(config, candidate.name)
    rounds = [partial(score_examples_jobs, config, benchmark), partial(judgment_jobs, config, benchmark)]
    run_judge_jobs(config, rounds, progress)
    if config.evaluation.parity:
        judges = [judge.name for judge in config.evaluation.judges]
        parity_steps.write_judgments(config, judges, all_examples(config, benchmark), progress)


def run_judge_jobs(
    config: RunConfig, rounds: Sequence[Callable[[Sequence[JudgeClient]], Sequence[TableJob]]], progress: Progress
) -> None:
    """Run the jobs of each round, one round after the other.

    The fleet runs only as long as there is work for it.

    Args:
        config: the run's settings.
        rounds: functions from the judges to their jobs.
        progress: reports what happens.
    """
    jobs = [job for jobs_for in rounds for job in jobs_for(open_judges(config, ""))]
    if archive.current_rehearsal():
        run_jobs(list(map(_as_probed, jobs)), progress)
        return
    if all(map(is_finished, jobs)):
        run_jobs(jobs, progress)  # reports that they are finished
        return
    with fleet_for_run(config.evaluation.fleet, config.evaluation.fleet_judges, progress) as url:
        judges = probe_judges(open_judges(config, url), progress)
        for jobs_for in rounds:
            run_jobs(jobs_for(judges), progress)


def _as_probed(job: TableJob) -> TableJob:
    """Return the job as `probe_judges` would make it, if the judge gave no log-probabilities the last time."""
    before = job.table.inputs() or {}
    without = before.get("logprobs") is False and "logprobs" in job.settings
    return replace(job, settings={**job.settings, "logprobs": False}) if without else job


def _check_answers(config: RunConfig, candidate: str) -> None:
    manifest = layout.ANSWERS.table(config.output, candidate=candidate).manifest()
    assert manifest is not None
    if not manifest["ok"]:
        raise InputError(
            f"evaluation.candidates ({candidate}): none of {manifest['rows_in']} answers can be used: "
            f"{json.dumps(manifest['rejected'])}"
        )
