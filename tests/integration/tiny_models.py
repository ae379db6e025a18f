"""Models of each family's architecture, with a few thousand weights and a tokenizer of bytes.

Most have random weights. A model with a script says it whatever it is asked: its layers add nothing to the embedding
of the last token, and the head points from each token to the next of the script.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer

from tests.chat_properties import save_byte_tokenizer

SCALE = 40.0
"""Of a script's logits, so that its next token is certain at a temperature of 1."""


@dataclass(frozen=True)
class Family:
    """How to build a tiny model of an architecture."""

    name: str
    template: str
    """By TRL's name."""
    special: tuple[str, ...]
    """The control tokens of the template; the last one ends a reply."""
    script: tuple[str, ...] = ()
    """The tokens that it says after the last one of a prompt, which comes first; empty: random weights."""
    config: dict[str, Any] = field(default_factory=dict)
    """What its configuration has besides the sizes that all have."""


SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 16384,
    "tie_word_embeddings": False,
}
CHATML = ("<think>", "</think>", "<|im_start|>", "<|im_end|>")
GEMMA = ("<start_of_turn>", "<end_of_turn>")
HARMONY = ("<|start|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|call|>", "<|end|>", "<|return|>")
_BAR, _LOW = "\uff5c", "\u2581"
DEEPSEEK = (
    "<think>",
    "</think>",
    *(f"<{_BAR}{name}{_BAR}>" for name in (f"begin{_LOW}of{_LOW}sentence", "User", "Assistant")),
    f"<{_BAR}end{_LOW}of{_LOW}sentence{_BAR}>",
)
LATENT = {
    "q_lora_rank": 32, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "n_shared_experts": 1,
    "moe_intermediate_size": 64, "first_k_dense_replace": 1, "topk_method": "noaux_tc", "scoring_func": "sigmoid",
    "num_key_value_heads": 2, "head_dim": 64,
}  # fmt: skip
FAMILIES = (
    Family("Qwen3", "qwen3", CHATML),
    Family("Gemma2", "gemma", GEMMA, config={"tie_word_embeddings": True, "sliding_window": 256}),
    Family("Gemma3", "gemma3", GEMMA, config={"tie_word_embeddings": True, "sliding_window": 256}),
    Family("Mistral", "mistral", ("[INST]", "[/INST]")),
    Family("Olmo2", "phi3", ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")),
    Family("DeepseekV3", "deepseekv3", DEEPSEEK, config=LATENT),
    Family("Phi3", "phi3", ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")),
    Family("GptOss", "gptoss", HARMONY, config={"num_local_experts": 4, "num_experts_per_tok": 2}),
)

LLAMA_3 = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
LONG = {
    "rope_type": "longrope", "rope_theta": 20_000.0, "short_factor": [1.0] * 16, "long_factor": [2.0] * 16,
    "original_max_position_embeddings": 64,
}  # fmt: skip
TURNS = ("<|im_start|>", "<|im_end|>")
BASE_FAMILIES = (
    Family("Llama", "", TURNS, config={"rope_parameters": LLAMA_3, "max_position_embeddings": 512}),
    Family("Qwen3", "", TURNS, config={"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
    Family("Gemma3", "", TURNS, config={
        "tie_word_embeddings": True, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 3e5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5e3},
        },
    }),
    Family("Phi3", "", TURNS, config={
        "rope_parameters": LONG, "max_position_embeddings": 512, "original_max_position_embeddings": 64,
        "pad_token_id": 0,
    }),
    Family("Olmo2", "", TURNS, config={"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}),
    Family("Mistral", "", TURNS, config={"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
)  # fmt: skip
"""Models without a chat template, with positions and windows as the families have them."""

NEWLINE = chr(0x10A)
"""A line break as a token of bytes: a prompt of Qwen3 ends with one."""
THINKER = Family(
    "Qwen3", "qwen3", CHATML, script=(NEWLINE, "<think>", "h", "m", "</think>", "O", "v", "e", "n", "<|im_end|>")
)


def save_model(family: Family, folder: Any, template: str) -> str:
    """Write a family's tiny model with a chat template, and return its folder."""
    save_byte_tokenizer(folder, family.special)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template, tokenizer.eos_token = template, family.special[-1]
    tokenizer.save_pretrained(folder)
    kind = family.name + ("Text" if family.name == "Gemma3" else "")
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), **SIZES | ends | family.config)
    torch.manual_seed(0)
    model = getattr(transformers, f"{family.name}ForCausalLM")(config)
    if family.script:
        _say(model, tokenizer.convert_tokens_to_ids([*family.script]))
    model.to(torch.bfloat16).save_pretrained(folder)
    return str(folder)


def _say(model: Any, script: Sequence[int]) -> None:
    """Make a model say the tokens of a script, each of which stands in it once."""
    assert len(set(script)) == len(script), script
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                weights.zero_()
        embedded, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        torch.nn.init.orthogonal_(embedded)
        head.zero_()
        for token, following in pairwise(script):
            head[following] = SCALE * embedded[token] / embedded[token].norm() / embedded.shape[1] ** 0.5
