"""The step of synthesis that generates the dialogues, or several candidates for each."""

import json
from collections.abc import Sequence
from functools import partial

from factory.config import RunConfig, Strategy
from factory.inference.generation_step import EngineUse, GenerationStep, TableJob
from factory.inference.model_files import Located
from factory.inference.prompts import load_prompt
from factory.inference.run_jobs import run_jobs
from factory.records import Assignment, AssignmentDraw
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.storage.repeated_table import RepeatedTable
from factory.storage.schemas import CANDIDATES, DIALOGUES
from factory.storage.tables import Table
from factory.synthesis.accept_goals import dialogues_to_accept
from factory.synthesis.dialogues import (
    DialogueRecipe,
    candidate_ids,
    dialogue_ids,
    parse_candidate,
    parse_dialogue,
    render_dialogue,
)


def make_dialogues(config: RunConfig, model: Located, assignments: Sequence[Table], progress: Progress) -> None:
    """Build the tables of dialogues, one per strategy and corpus: every assignment gives a dialogue or a reject.

    With several candidates, it builds the tables of candidates instead.
    """
    engine = EngineUse(config.engine, config.dialogues.sampling, config.seed, model)
    tables = {
        f"{strategy}-{(layout.ASSIGNMENTS.parts(table.name) or {})['corpus']}": (strategy, table)
        for table in assignments
        for strategy in config.dialogues.strategies
    }
    rows = {name: (table.manifest() or {})["ok"] for name, (_, table) in tables.items()}
    accept = dialogues_to_accept(config.accept, rows)
    run_jobs([_dialogues(config, engine, *tables[name], accept[name]) for name in tables], progress)


def _dialogues(
    config: RunConfig, engine: EngineUse, strategy: Strategy, assignments: Table, accept: int | None
) -> TableJob:
    prompt = load_prompt(f"dialogue-{strategy}", config.prompt_places)
    system = load_prompt("training-system", config.prompt_places)
    recipe = DialogueRecipe(strategy, prompt, system, json.dumps(engine.settings(), sort_keys=True))
    candidates = config.dialogues.candidates
    is_one = candidates == 1
    step = GenerationStep(
        record=Assignment if is_one else AssignmentDraw,
        schema=DIALOGUES if is_one else CANDIDATES,
        prompt=prompt.ref,
        render=partial(render_dialogue, recipe),
        parse=partial(parse_dialogue if is_one else parse_candidate, recipe),
        ids=partial(dialogue_ids if is_one else candidate_ids, recipe),
    )
    corpus = (layout.ASSIGNMENTS.parts(assignments.name) or {})["corpus"]
    kind = layout.DIALOGUES if is_one else layout.CANDIDATES
    table = kind.table(config.output, strategy=strategy, corpus=corpus)
    work = RepeatedTable.of(assignments, candidates, "candidate")
    return TableJob(step, work, table, {"system": system.ref}, engine, accept=accept)
