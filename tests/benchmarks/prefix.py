"""Prefix-cache hits of generated dialogues, against what is possible, when the profiles exceed the cache.

Possible is: all but the first of a character's dialogues find the whole blocks of their common
opening in the cache. The cache is set to hold a fraction of the profiles.
"""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from pathlib import Path

from tests.benchmarks.scale import PROFILE

CHARACTERS, INSTRUCTIONS, EACH = 60, 120, 3
BLOCK = 32
"""Tokens of a block of our CPU cache: a prefix counts in whole ones."""
BLOCKS = 400


def make_tables(output: str):
    """Profiles of the paper's size and the assignment of instructions to them, as the job makes it."""
    from factory.config import Instructions, Personas, RunConfig, ScriptedEngine
    from factory.records import Profile, content_id
    from factory.runtime.progress import Progress
    from factory.storage.rows import ok_row
    from factory.storage.schemas import PROFILES
    from factory.storage.tables import Table
    from factory.synthesis.assign_step import assign_characters
    from factory.synthesis.profiles import profile_text
    from factory.synthesis.steps import ingest_instructions

    profiles = Table(output, "profiles")
    rows = []
    for number in range(CHARACTERS):
        persona = f"A lighthouse keeper, the {number}th of the name, who writes the weather down by hand."
        items = PROFILE | {"name": f"Keeper {number}"}
        profile = Profile(content_id(persona), persona, **items, profile=profile_text(items), language="English")
        rows.append(ok_row(profile))
    profiles.write("all", rows, PROFILES)
    profiles.finish({"ok": CHARACTERS, "fingerprint": "bench", "finished": ""})

    source = Path(output) / "instructions.jsonl"
    with source.open("w") as file:
        for number in range(INSTRUCTIONS):
            question = f"In one sentence: what would you do on day {number} of a storm?"
            file.write(json.dumps({"messages": [{"role": "user", "content": question}]}) + "\n")
    corpus = Instructions(corpus="storm", source=str(source))
    config = RunConfig(output=output, engine=ScriptedEngine(kind="scripted"), personas=Personas(source="none.jsonl"))
    instructions = ingest_instructions(config, corpus, Progress())
    work = Table(output, "assignments/storm")
    assign_characters(instructions, profiles, work, EACH, 42, Progress())
    return work


def possible_tokens(work, render, tokenizer) -> tuple[int, int]:
    """Tokens that could come out of the cache, and blocks that all common openings take."""
    from factory.records import Assignment
    from factory.storage.rows import to_record

    openings: dict[str, list[list[int]]] = {}
    for shard in work.shards():
        for row in work.read(shard).to_pylist():
            openings.setdefault(row["character_id"], []).append(
                tokenizer.encode(render(to_record(Assignment, row)).messages)
            )
    possible = blocks = 0
    for prompts in openings.values():
        same = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*prompts, strict=False))
        common = sum(1 for _ in same) // BLOCK
        possible += (len(prompts) - 1) * common * BLOCK
        blocks += common
    return possible, blocks


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """The share of possible hits that happened, and how many times the openings exceed the cache."""
    from factory.config import Sampling, VllmEngine
    from factory.inference import model_files
    from factory.inference.chat_template import ChatTokenizer
    from factory.inference.generation_step import EngineUse, GenerationStep, TableJob
    from factory.inference.prompts import load_prompt
    from factory.inference.run_jobs import run_jobs
    from factory.records import Assignment
    from factory.runtime import ray_session
    from factory.runtime.progress import Progress
    from factory.storage.schemas import DIALOGUES
    from factory.storage.tables import Table
    from factory.synthesis.dialogues import DialogueRecipe, dialogue_ids, parse_dialogue, render_dialogue

    with tempfile.TemporaryDirectory() as output:
        ray_session.start_ray()
        work = make_tables(output)
        prompt, system = load_prompt("dialogue-generate"), load_prompt("training-system")
        recipe = DialogueRecipe("generate", prompt, system, "bench")
        tokenizer = ChatTokenizer(model_files.fetch("embedded"))
        possible, blocks = possible_tokens(work, partial(render_dialogue, recipe), tokenizer)
        stages = (partial(stage, recipe) for stage in (render_dialogue, parse_dialogue, dialogue_ids))
        step = GenerationStep(Assignment, DIALOGUES, prompt.ref, *stages)
        small = {"max_model_len": 1024, "max_num_seqs": 8, "block_size": BLOCK, "num_gpu_blocks_override": BLOCKS}
        engine = VllmEngine(model="embedded", device="cpu", engine_kwargs=small)
        sampling = Sampling(temperature=0.6, top_p=1.0, max_tokens=24)
        table = Table(output, "dialogues/generate-storm")
        how = EngineUse(engine, sampling, 42, model_files.locate("embedded"))
        run_jobs([TableJob(step, work, table, {}, how)], Progress())
        manifest = table.manifest()
        assert manifest
        return {
            "hits_of_possible": manifest["cached_tokens"] / possible,
            "openings_over_cache": blocks / BLOCKS,
            "hit_rate": manifest["cached_tokens"] / manifest["prompt_tokens"],
        }
