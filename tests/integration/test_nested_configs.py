"""Models whose config holds that of their text model, such as Gemma 3 with its vision tower."""

import json
from pathlib import Path

import pytest
import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from factory.config import Lora, Training
from factory.errors import ConfigError
from factory.training.dry_run import check_attention, check_window
from factory.training.model import PackedLoss, build_batch, load_model
from factory.training.speed import count_operations

VOCABULARY, HIDDEN, WINDOW = 128, 32, 6
ROW = {"input_ids": [*range(10, 30), *range(40, 50)], "loss_mask": [True] * 30, "lengths": [20, 10]}


@pytest.fixture(scope="module")
def gemma(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("gemma"))
    text = {
        "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
        "sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"],
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
        "patch_size": 14,
    }  # fmt: skip
    torch.manual_seed(0)
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=127)
    Gemma3ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def test_packed_losses_are_those_of_each_dialogue_alone(gemma):
    packed = PackedLoss(load_model(gemma, Training(precision="fp32"), 0))
    alone = load_model(gemma, Training(precision="fp32", attention="sdpa"), 0)
    alone.set_attn_implementation("eager")
    cpu, parts = torch.device("cpu"), []
    for start, length in ((0, 20), (20, 10)):
        ids = ROW["input_ids"][start : start + length]
        row = {"input_ids": ids, "loss_mask": [True] * length, "lengths": [length]}
        parts.append(PackedLoss(alone)(**build_batch(row, cpu)[0]))
    losses = packed(**build_batch(ROW, cpu)[0])
    torch.testing.assert_close(losses, torch.cat(parts), atol=1e-5, rtol=1e-5)
    losses.sum().backward()
    assert packed.model.get_input_embeddings().weight.grad.abs().sum() > 0


def test_losses_in_chunks_are_those_of_all_logits(gemma):
    model = load_model(gemma, Training(precision="fp32"), 0)
    batch = build_batch(ROW, torch.device("cpu"))[0]
    torch.testing.assert_close(PackedLoss(model, fused=True)(**batch), PackedLoss(model)(**batch), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_operations_are_those_of_the_text_model(gemma, lora):
    model = load_model(gemma, Training(precision="fp32", lora=lora), 0)
    found = count_operations(model)
    layers = [part for name, part in model.named_parameters() if "language_model" in name and "embed" not in name]
    trained = sum(part.numel() for part in layers if part.requires_grad)
    frozen = sum(part.numel() for part in layers if not part.requires_grad)
    assert found.per_token == 6 * trained + 4 * frozen
    assert found.per_learned_token == (6 if lora is None else 4) * VOCABULARY * HIDDEN
    assert bool(frozen) == (lora is not None)


@pytest.mark.parametrize(
    ("check", "more", "attention", "refused"),
    [
        (check_window, {}, "packed", "the context window of .* is 64; lower it"),
        (check_attention, {"attention_chunk_size": 64}, "packed", "packed has no chunks"),
        (check_attention, {"attn_logit_softcapping": 50.0}, "sdpa", "sdpa is without a soft cap"),
    ],
)
def test_dry_run_reads_the_config_of_the_text_model(tmp_path, gemma, check, more, attention, refused):
    config = json.loads(Path(gemma, "config.json").read_text())
    config["text_config"] |= more
    (tmp_path / "config.json").write_text(json.dumps(config))
    training = Training(base_model=str(tmp_path), sequence_length=128, attention=attention)
    with pytest.raises(ConfigError, match=refused):
        check(training)
