"""Whether the paper's rows may stand beside a run's scores: only where everything that decides them is the paper's."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

from factory.config import RunConfig
from factory.config.evaluation import PAPER_SAMPLING
from factory.evaluation.parity.checkout_texts import parity_prompts, role_prompt
from factory.evaluation.run_benchmark import questions_per_task
from factory.evaluation.scoring.paper_scores import JUDGE, SCORES
from factory.personagym import Benchmark, persona_questions
from factory.records import content_id
from factory.storage import file_io


def why_no_paper_rows(config: RunConfig, benchmark: Benchmark) -> str:
    """Return why the paper's rows do not compare with a run's scores; empty where they do."""
    evaluation = config.evaluation
    if not evaluation.parity:
        return "candidates and judges were not asked as in the paper; evaluation.parity: opencharacter does that"
    if other := _other_benchmark(config, benchmark):
        return other
    if other := _other_prompts(config):
        return other
    if evaluation.limit is not None and evaluation.limit < len(benchmark.personas):
        return f"only {evaluation.limit} of {len(benchmark.personas)} personas were used"
    for name, paper in PAPER_SAMPLING.items():
        own = getattr(evaluation, name).model_dump()
        if changed := [key for key, value in paper.items() if own[key] != value]:
            return f"evaluation.{name}.{changed[0]} is {own[changed[0]]}, and was {paper[changed[0]]} in the paper"
    judges = [judge.model for judge in evaluation.judges]
    if [model.rpartition("/")[2] for model in judges] != [JUDGE]:
        return f"the judge of the paper was {JUDGE} alone, and here {', '.join(judges)}"
    return ""


def _other_benchmark(config: RunConfig, benchmark: Benchmark) -> str:
    """Return how a benchmark differs from the paper's, as far as hashes of it are known here."""
    known = _known()
    if len(benchmark.personas) != known["personas"]:
        return f"the benchmark has {len(benchmark.personas)} personas, and PersonaGym {known['personas']}"
    if digest_of(dict(sorted(benchmark.rubrics.items()))) != known["rubrics"]:
        return "the rubrics are not PersonaGym's"
    personas = {content_id(persona): persona for persona in benchmark.personas}
    if missing := [persona_id for persona_id in known["sample"] if persona_id not in personas]:
        return f"{len(missing)} personas of PersonaGym are not among the benchmark's"
    per_task = questions_per_task(config)
    sample = [persona_questions(benchmark, personas[persona_id], per_task) for persona_id in known["sample"]]
    if digest_of(sample) != known["questions"][config.evaluation.protocol]:
        return "the questions are not PersonaGym's"
    return ""


def _other_prompts(config: RunConfig) -> str:
    known = _known()
    if digest_of(list(astuple(parity_prompts(config)))) != known["prompts"]:
        return "the prompts in the checkout are not PersonaGym's"
    for candidate in config.evaluation.candidates:
        prompt = role_prompt(config, candidate)
        if digest_of(prompt.text) != known["roles"][prompt.route]:
            return f"the candidate {candidate.name} was not told what candidates were told in the paper"
    return ""


def _known() -> Mapping[str, Any]:
    return dict(json.loads(file_io.read_bytes(SCORES))["benchmark"])


def digest_of(content: Any) -> str:
    """Return a hash of JSON content."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
