"""The loss in chunks of tokens against that of all logits at once, and which kernels a training uses."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

from factory.config import Lora, Training
from factory.errors import ConfigError
from factory.training import fused_loss
from factory.training.adapters import with_adapters
from factory.training.dry_run import check_kernels, describe_kernels
from factory.training.fused_loss import OutputError, divide
from factory.training.kernels import liger_options, uses_liger
from factory.training.memory_estimate import estimate_memory
from factory.training.model import PackedLoss, build_batch, load_model, packed_loss
from factory.training.token_rows import train_rows
from tests.integration.tiny_models import SIZES

VOCABULARY, TOKENS, CHUNK = 512, 96, 20
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "tied": ("Llama", {"tie_word_embeddings": True}),
    "bias": ("Phi", {}),
    "soft cap": ("Gemma2", {"tie_word_embeddings": True, "final_logit_softcapping": 2.0}),
    "divided": ("Granite", {"logits_scaling": 8.0}),
    "multiplied": ("Cohere", {"logit_scale": 0.0625, "tie_word_embeddings": True}),
    "experts": ("Mixtral", {"num_local_experts": 2, "output_router_logits": True}),
}


def config_of(family: str, more: dict[str, Any]) -> Any:
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return getattr(transformers, f"{family}Config")(vocab_size=VOCABULARY, **SIZES | ends | more)


def build_model(family: str, **more: Any) -> Any:
    torch.manual_seed(0)
    config = config_of(family, more)
    return getattr(transformers, f"{family}ForCausalLM")(config).train()


def batch() -> dict[str, Any]:
    ids = torch.randint(3, VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(1)).tolist()
    row = {"input_ids": ids, "loss_mask": [number % 3 != 0 for number in range(TOKENS)], "lengths": [40, TOKENS - 40]}
    return build_batch(row, torch.device("cpu"))[0]


def losses_and_gradients(module: PackedLoss) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    module.zero_grad()
    losses = module(**batch())
    (losses * torch.linspace(0.5, 2, len(losses))).mean().backward()
    return losses.detach(), {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(fused_loss, "CHUNK_TOKENS", CHUNK)


@pytest.mark.parametrize("rows", [(), (3, 40)], ids=["full", "rows"])
@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_are_those_of_all_logits(name, rows):
    family, more = MODELS[name]
    model = build_model(family, **more)
    if rows:
        model = with_adapters(model, Lora(rank=2))
        train_rows(model, rows)
    names = list(PackedLoss(model).state_dict())
    expected, plain = losses_and_gradients(PackedLoss(model))
    module = PackedLoss(model, fused=True)
    losses, gradients = losses_and_gradients(module)
    torch.testing.assert_close(losses, expected, atol=1e-6, rtol=1e-6)
    assert list(module.state_dict()) == names  # checkpoints are the same
    assert gradients.keys() == plain.keys()
    assert sum(gradient.abs().sum() for gradient in gradients.values()) > 0
    for part, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain[part], atol=1e-6, rtol=1e-5, msg=part)


def test_predictions_stay():
    model = build_model("Llama")
    found = PackedLoss(model, fused=True)(**batch(), predicts=True)
    assert torch.equal(found, PackedLoss(model)(**batch(), predicts=True))


class Largest(TorchDispatchMode):
    """The most rows of any tensor of logits."""

    rows = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **kwargs or {})
        if isinstance(found, torch.Tensor) and found.ndim > 1 and found.shape[-1] == VOCABULARY:
            self.rows = max(self.rows, found.numel() // VOCABULARY)
        return found


@pytest.mark.parametrize(("fused", "rows"), [(False, 63), (True, CHUNK)])
def test_logits_of_all_tokens_never_exist(fused, rows):
    module = PackedLoss(build_model("Llama", hidden_size=16), fused)
    with Largest() as largest:
        losses_and_gradients(module)
    assert largest.rows == rows


def test_a_model_that_changes_hidden_states_is_not_divided():
    model = build_model("MiniCPM3", q_lora_rank=32, kv_lora_rank=32, qk_rope_head_dim=16)
    with pytest.raises(OutputError, match="changes hidden states"):
        divide(model)
    assert packed_loss(model, Training(device="gpu")).fused is None
    with pytest.raises(ConfigError, match="fused_loss: true is not for the base model"):
        packed_loss(model, Training(fused_loss=True))


def test_an_output_layer_with_adapters_is_not_divided():
    model = with_adapters(build_model("Llama"), Lora(rank=2, target_modules=["lm_head"]))
    with pytest.raises(OutputError, match="not a linear layer"):
        divide(model)


def test_the_default_is_that_of_the_device():
    model = build_model("Llama")
    assert packed_loss(model, Training(device="cpu")).fused is None
    assert packed_loss(model, Training(device="gpu")).fused is not None
    assert packed_loss(model, Training(device="gpu", fused_loss=False)).fused is None


@pytest.fixture
def folder(tmp_path) -> str:
    """The folder of a tiny model."""
    build_model("Llama").save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_a_chunk_of_logits_is_counted(folder):
    training = Training(base_model=folder, precision="fp32", sequence_length=2048)
    plain, chunked = (estimate_memory(folder, training, on_gpu) for on_gpu in (False, True))
    assert (plain.logits, chunked.logits) == (1024 * VOCABULARY * 12, 512 * VOCABULARY * 12)


@pytest.fixture
def liger(tmp_path, monkeypatch) -> Iterator[None]:
    """A package in the place of liger-kernel, which needs a GPU, with kernels for LLaMA alone."""
    package = tmp_path / "packages" / "liger_kernel" / "transformers"
    package.mkdir(parents=True)
    for file in (package.parent / "__init__.py", package / "__init__.py"):
        file.touch()
    (package / "monkey_patch.py").write_text("MODEL_TYPE_TO_APPLY_LIGER_FN = {'llama': None}\n")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    yield
    for name in [name for name in sys.modules if name.startswith("liger_kernel")]:
        del sys.modules[name]


def test_liger_is_on_where_it_can_be(liger):
    gpu = Training(device="gpu")
    assert uses_liger(gpu, "llama")
    assert not uses_liger(gpu, "gpt2")
    assert not uses_liger(Training(device="cpu"), "llama")
    assert not uses_liger(Training(device="gpu", liger=False), "llama")
    with pytest.raises(ConfigError, match="Liger has no kernels for 'gpt2'"):
        uses_liger(Training(device="gpu", liger=True), "gpt2")


def test_liger_that_must_be_on_needs_its_package(folder):
    for device in ("gpu", "cpu"):
        with pytest.raises(ConfigError, match="needs GPUs and the package liger-kernel"):
            check_kernels(Training(base_model=folder, device=device, liger=True))


def test_the_dry_run_names_the_kernels(folder):
    training = Training(base_model=folder, precision="fp32", sequence_length=64)
    assert describe_kernels(training) == "Kernels: attention packed, none of Liger's, loss from all logits at once"
    on_gpu = training.model_copy(update={"device": "gpu"})
    assert describe_kernels(on_gpu).endswith("loss in chunks of tokens")
    assert packed_loss(load_model(folder, training, 0), on_gpu).fused is not None


def test_liger_leaves_positions_alone_where_part_of_each_head_is_rotated():
    part, whole = (transformers.Phi3Config(pad_token_id=0, partial_rotary_factor=factor) for factor in (0.75, 1.0))
    assert liger_options(part)["rope"] is False
    assert "rope" not in liger_options(whole)
    assert "rope" not in liger_options(transformers.LlamaConfig())
