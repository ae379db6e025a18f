"""Sample replies in training: which prompts, and what the model says to them."""

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from transformers import LlamaConfig, LlamaForCausalLM

from factory.training.attention import register
from factory.training.model import PackedLoss
from factory.training.sample_replies import PROMPT_TOKENS, REPLY_TOKENS, SamplePrompt, choose_prompts, write_replies

END = 63


@pytest.fixture
def alone() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def packed(*dialogues: tuple[str, list[int], int]) -> dict:
    """Return a packed sequence of dialogues: id, prompt, and number of learned tokens."""
    return {
        "dialogue_ids": [name for name, _, _ in dialogues],
        "lengths": [len(prompt) + learned for _, prompt, learned in dialogues],
        "input_ids": [token for _, prompt, learned in dialogues for token in [*prompt, *[9] * learned]],
        "loss_mask": [each for _, prompt, learned in dialogues for each in [False] * len(prompt) + [True] * learned],
    }


def test_first_dialogues_of_different_characters_are_chosen(alone):
    rows = [
        packed(("c", [1, 2, 3], 4), ("b", [1, 2, 3], 2), ("a", [5] * 7, 0)),
        packed(("e", [4] * (PROMPT_TOKENS + 1), 2), ("d", [7, 8], 1)),
        packed(("f", [6], 1)),
    ]
    assert choose_prompts(rows, 2) == [SamplePrompt("b", (1, 2, 3)), SamplePrompt("d", (7, 8))]
    assert [each.dialogue_id for each in choose_prompts(rows, 9)] == ["b", "d", "f"]
    assert choose_prompts(rows, 0) == []


def test_replies_are_the_most_likely_ones_and_draw_no_random_number(alone):
    register()
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, attention_dropout=0.5, initializer_range=0.5,
    )  # fmt: skip
    plain = LlamaForCausalLM(copy.deepcopy(config)).eval()
    model = LlamaForCausalLM._from_config(config, attn_implementation="packed")
    engine = PackedLoss(model).train()
    prompts = [SamplePrompt("a", (1, 2, 3, 4, 5)), SamplePrompt("b", (7, 8)), SamplePrompt("c", (9,))]
    before = torch.random.get_rng_state()
    replies = write_replies(engine, prompts, END, torch.device("cpu"))
    assert torch.equal(before, torch.random.get_rng_state())
    assert engine.training
    plain.load_state_dict(model.state_dict())
    for prompt, reply in zip(prompts, replies, strict=True):
        ids = torch.tensor([prompt.ids])
        wanted = plain.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=REPLY_TOKENS, eos_token_id=END,
            pad_token_id=0,
        )  # fmt: skip
        assert reply == wanted[0, len(prompt.ids) :].tolist()
    assert len(set(map(tuple, replies))) == 3


def test_reply_ends_with_its_turn(alone):
    class Countdown(torch.nn.Module):
        """Says 60, 61 and so on behind a prompt that ends with 59."""

        def forward(self, input_ids: torch.Tensor, target_positions: torch.Tensor, **_: object) -> torch.Tensor:
            return input_ids[0, target_positions] + 1

    replies = write_replies(
        Countdown(), [SamplePrompt("a", (2, 59)), SamplePrompt("b", (61,))], END, torch.device("cpu")
    )
    assert replies == [[60, 61, 62, END], [62, END]]
