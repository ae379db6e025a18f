"""Which checkpoints of a training an evaluation scores, as what, and with which questions."""

from pathlib import Path

import pytest

from factory.config import RunConfig
from factory.errors import ConfigError
from factory.evaluation.checkpoint_evaluation import checkpoint_config
from factory.inference.stored_models import MANIFEST
from factory.storage import file_io
from factory.storage.tables import Table
from factory.training.checkpoint_models import checkpoint_models
from factory.training.checkpointing import checkpoints
from factory.training.checkpointing.checkpoints import TAG, Checkpoint

LOSSES = {4: 2.0, 8: 1.5, 12: None, 16: 1.9}


def config_of(output: str, **evaluation: object) -> RunConfig:
    settings = {"checkpoints": "all", "candidates": [], **evaluation}
    training = {"chat_template": "llama-3", "precision": "auto"}
    return RunConfig.model_validate({"output": output, "training": training, "evaluation": settings})


@pytest.fixture
def output(tmp_path: Path) -> str:
    """The output of a training of adapters with four checkpoints."""
    table = Table(str(tmp_path), "checkpoints")
    model = {"ref": "some/base", "revision": "c" * 40}
    inputs = {"model": model, "precision": "bf16", "lora": {"rank": 4}, "chat_template": "llama-3"}
    table.begin("f", inputs)
    for step, loss in LOSSES.items():
        path, name = checkpoints.checkpoint_path(table.path, step), "weights-00000.pt"
        file_io.write_bytes(f"{path}/{TAG}/{name}", b"weights")
        checkpoints.write_manifest(Checkpoint(path, step, 1, loss, {name: (7, f"digest {step}")}))
    return str(tmp_path)


def test_all_kept_checkpoints_or_best_and_last_are_scored(output):
    found = checkpoint_models(config_of(output))
    assert [one.checkpoint.step for one in found] == list(LOSSES)
    best = checkpoint_models(config_of(output, checkpoints="best"))
    assert [one.checkpoint.step for one in best] == [8, 16]
    assert best == [found[1], found[3]]


def test_checkpoint_becomes_a_model_as_it_was_trained(output):
    found = checkpoint_models(config_of(output))
    first = found[0].setup
    assert (first.training.precision, first.training.lora.rank) == ("bf16", 4)
    assert first.base_model == "some/base@" + "c" * 40
    assert first.model_folder == f"{output}/checkpoint-scores/models/step-4"
    assert len({one.setup.fingerprint for one in found}) == len(LOSSES)


def test_model_of_other_weights_is_exported_again(output):
    (first, second, *_) = checkpoint_models(config_of(output))
    for folder, of in ((first.setup.model_folder, first), (second.setup.model_folder, first)):
        file_io.write_bytes(f"{folder}/{MANIFEST}", f'{{"fingerprint": "{of.setup.fingerprint}"}}'.encode())
    assert [one.is_exported for one in checkpoint_models(config_of(output))] == [True, False, False, False]


def test_missing_training_and_checkpoints_and_other_template_are_errors(output, tmp_path):
    with pytest.raises(ConfigError, match=r"'all', but no training was begun in .*; run `character-factory train`"):
        checkpoint_models(config_of(str(tmp_path / "other")))
    config = config_of(output)
    other = config.training.model_copy(update={"chat_template": "chatml"})
    with pytest.raises(ConfigError, match=r"training.chat_template is 'chatml', and .* another one \(llama-3\)"):
        checkpoint_models(config.model_copy(update={"training": other}))
    for step in LOSSES:
        file_io.delete_folder(checkpoints.checkpoint_path(f"{output}/checkpoints", step))
    with pytest.raises(ConfigError, match="has no whole checkpoint; train on, or leave it out"):
        checkpoint_models(config_of(output))


def test_checkpoints_are_asked_as_the_trained_candidate(output):
    tuned = {"name": "tuned", "model": f"{output}/model", "engine_kwargs": {"max_model_len": 512}, "replicas": [1, 3]}
    base = {"name": "base", "model": "embedded"}
    config = config_of(output, candidates=[base, tuned], baseline="base", draws=2, store=f"{output}/store")
    scored = checkpoint_config(config, [4, 8])
    assert scored.output == f"{output}/checkpoint-scores"
    evaluation = scored.evaluation
    assert [(one.name, one.model) for one in evaluation.candidates] == [
        (f"step-{step}", f"{output}/checkpoint-scores/models/step-{step}") for step in (4, 8)
    ]
    for one in evaluation.candidates:
        assert one.model_dump(exclude={"name", "model"}) == config.evaluation.candidates[1].model_dump(
            exclude={"name", "model"}
        )
    assert (evaluation.protocol, evaluation.draws, evaluation.baseline, evaluation.store) == ("light", 2, None, None)
    assert config.evaluation.protocol == "full"
    served = {"kind": "openai", "name": "served", "model": f"{output}/model", "base_url": "http://127.0.0.1:1/v1"}
    (one,) = checkpoint_config(config_of(output, candidates=[served]), [4]).evaluation.candidates
    assert (one.kind, one.condition) == ("vllm", "persona")
