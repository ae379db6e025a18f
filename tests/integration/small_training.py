"""A small training: a LLaMA of random weights and dialogues of twelve words, at most seconds per step."""

import json
import random

from factory.inference import model_files
from factory.records import Dialogue, Message, content_id
from factory.run_output import layout
from factory.storage import file_io
from factory.storage.rows import ok_row
from factory.storage.schemas import DIALOGUES
from tests.integration.runs import Run

WORDS = ["the", "baker", "counts", "warm", "loaves", "and", "hums", "while", "rain", "taps", "before", "dawn"]


def save_tiny(folder: str) -> None:
    """Save a LLaMA of two layers with random weights and the embedded model's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(model_files.fetch("embedded"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def write_dialogues(output: str, split: str, count: int, shards: int = 3) -> None:
    """Write a finished table of curated dialogues."""
    table, draw = layout.CURATED.table(output, split=split), random.Random(split)

    def dialogue(number: int) -> Dialogue:
        messages = [
            Message(role, " ".join(draw.choices(WORDS, k=draw.randint(5, 30))))
            for _ in range(draw.randint(1, 3))
            for role in ("user", "assistant")
        ]
        name = content_id(split, str(number))
        return Dialogue(
            name, "generate", "talk", f"i{number}", f"{split}-{number % 9}", (Message("system", "x"), *messages)
        )

    for shard in range(shards):
        rows = [ok_row(dialogue(number)) for number in range(shard, count, shards)]
        table.write(f"{shard:04}", rows, DIALOGUES)
    table.finish({"step": f"curated/{split}", "rows_in": count, "ok": count, "fingerprint": split, "finished": "today"})


def settings_of(tiny: str, **training: object) -> dict:
    """Return settings with which 90 dialogues take eleven steps."""
    return {
        "base_model": tiny, "device": "cpu", "num_workers": 2, "sequence_length": 256, "global_batch_size": 4,
        "epochs": 1, "learning_rate": 3e-3, "final_learning_rate": 3e-4, "precision": "fp32", "save_steps": 3,
        "eval_steps": 6, "sample_replies": 4, "max_failures": 1, **training,
    }  # fmt: skip


def curve(run: Run, kind: str = "step") -> dict[int, float]:
    """Return the loss by step."""
    rows = file_io.read_bytes(file_io.join(run.output, layout.METRICS)).decode().splitlines()
    found = [row for row in map(json.loads, rows) if row["kind"] == kind]
    assert len({row["step"] for row in found}) == len(found)
    return {row["step"]: row["loss"] for row in found}
