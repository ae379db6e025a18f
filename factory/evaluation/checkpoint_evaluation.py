"""The evaluation of a training's checkpoints: a light one beside that of the candidates, in tables of its own."""

from collections.abc import Sequence

from factory.config import RunConfig
from factory.config.evaluation import VllmCandidate
from factory.evaluation.run_benchmark import named_benchmark
from factory.run_output import layout


def checkpoint_config(config: RunConfig, steps: Sequence[int]) -> RunConfig:
    """Return the settings with which the checkpoints of some steps are scored.

    Each is asked as the first candidate that is the trained model, or by the defaults of vLLM if none is. Benchmark,
    limit, judges and sampling are the run's. The protocol is PersonaGym-Light, unless a frozen benchmark has another.

    Raises:
        InputError: a file of the benchmark is missing or invalid.
        ConfigError: the benchmark has other questions than `evaluation.protocol` asks for.
    """
    evaluation, own = config.evaluation, layout.own_candidates(config)
    trained = next((one for one in evaluation.candidates if one.name in own and one.kind != "openai"), None)
    asked = trained or VllmCandidate(kind="vllm", name="trained", model=layout.own_model(config))
    candidates = [
        asked.model_copy(update={"name": f"step-{step}", "model": layout.checkpoint_model(config, step)})
        for step in steps
    ]
    changes = {
        "candidates": tuple(candidates),
        "checkpoints": None,
        "protocol": evaluation.protocol if named_benchmark(config).frozen else "light",
        "baseline": None,
        "general": False,
        "store": None,  # it compares models that are kept
        "min_judge_accuracy": None,  # the judges were checked before the candidates
    }
    return config.model_copy(
        update={"output": layout.checkpoint_output(config), "evaluation": evaluation.model_copy(update=changes)}
    )
