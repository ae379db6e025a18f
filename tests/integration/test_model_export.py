"""The exported folder: where a tuned model stops, its card, and the base model of its adapters."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from factory.config import Lora, RunConfig, Training
from factory.storage.tables import Table
from factory.training.dialogue import tokenizer_for
from factory.training.model import load_model
from factory.training.model_card import build_card, data_origin
from factory.training.model_export import export_model

END_OF_TEXT, END_OF_TURN = 128_001, 128_009


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    """Save a tiny base model like Meta's: the real tokenizer without a chat template, generation ends with the text."""
    import llama_models.llama3.tokenizer as package
    import torch
    from llama_models.llama3.tokenizer import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import TikTokenConverter

    folder = str(tmp_path_factory.mktemp("base"))
    file = Path(package.__file__).parent / "tokenizer.model"
    special = Tokenizer.get_instance().special_tokens
    core = TikTokenConverter(vocab_file=str(file), extra_special_tokens=special).converted()
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128_256, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, bos_token_id=128_000, eos_token_id=END_OF_TEXT,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def exported(base: str, target: Path, lora: Lora | None = None) -> Path:
    """Export a model whose training changed nothing."""
    training = Training(base_model=base, chat_template="llama-3", precision="fp32", lora=lora)
    model = load_model(base, training, 0)
    weights = {name: value for name, value in model.state_dict().items() if lora is None or "lora_" in name}
    setup = SimpleNamespace(
        training=training, base_model=base, card="# Card", fingerprint="f", model_folder=str(target / "model")
    )
    export_model(weights, base, setup)
    return target / "model"


def stops(folder: Path) -> list[int]:
    return json.loads((folder / "generation_config.json").read_text())["eos_token_id"]


def test_tuned_base_model_stops_at_end_of_turn(base, tmp_path):
    from transformers import AutoTokenizer

    folder = exported(base, tmp_path)
    assert stops(folder) == [END_OF_TEXT, END_OF_TURN]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|eot_id|>", END_OF_TURN)
    assert tokenizer_for(base, Training(chat_template="llama-3"))._tokenizer.eos_token_id == END_OF_TEXT  # as it was


def test_merged_adapters_stop_without_generation_config(base, tmp_path):
    (Path(base) / "generation_config.json").rename(tmp_path / "aside")
    try:
        assert stops(exported(base, tmp_path)) == [END_OF_TEXT, END_OF_TURN]
    finally:
        (tmp_path / "aside").rename(Path(base) / "generation_config.json")
    assert stops(exported(base, tmp_path, Lora(rank=2))) == [END_OF_TEXT, END_OF_TURN]


@pytest.mark.parametrize("named", ["meta-llama/Meta-Llama-3-8B", "embedded"])
def test_separate_adapters_name_their_base_model(base, tmp_path, monkeypatch, named):
    monkeypatch.setattr("factory.inference.model_files.fetch", lambda ref, weights=True: base)
    training = Training(base_model=named, chat_template="llama-3", precision="fp32", lora=Lora(rank=2, merge=False))
    model = load_model(base, training, 0)
    weights = {name: value for name, value in model.state_dict().items() if "lora_" in name}
    setup = SimpleNamespace(
        training=training, base_model=base, card="", fingerprint="f", model_folder=str(tmp_path / "model")
    )
    export_model(weights, base, setup)
    adapters = json.loads((tmp_path / "model/adapter_config.json").read_text())
    there = "HuggingFaceTB/SmolLM2-135M-Instruct" if named == "embedded" else named
    assert adapters["base_model_name_or_path"] == there
    assert json.loads((tmp_path / "model/tokenizer_config.json").read_text())["eos_token"] == "<|eot_id|>"


def write_run(folder: Path, writer: str) -> str:
    """Write an output with everything that a card reads."""
    output = str(folder)
    files = [{"path": "/home/me/secret/PersonaHub/persona.jsonl", "size": 7}]
    Table(output, "personas").finish({"files": files})
    Table(output, "instructions/lima").finish({"files": [{"path": "s3://secret/lima/train.jsonl", "size": 7}]})
    Table(output, "instructions/own").finish({"files": [{"path": "/home/me/secret/questions.jsonl", "size": 7}]})
    sources = {"generate-lima": 1200, "rewrite-own": 34, "generate-own": 0}
    Table(output, "curated/train").finish({"ok": 1234, "sources": sources})
    config = RunConfig.model_validate(
        {"output": output, "engine": {"kind": "scripted", "model": writer}, "personas": {"source": "p.jsonl"}}
    )
    (folder / "config.json").write_text(config.model_dump_json())
    return output


def card(config: dict) -> str:
    checked = RunConfig.model_validate(
        {
            "engine": {"kind": "scripted", "model": "another"},
            "personas": {"source": "p.jsonl"},
            "instructions": [{"corpus": "unused", "source": "u.jsonl"}],
            **config,
        }
    )
    counts = dict.fromkeys(("ok", "tokens", "learned_tokens", "sequences"), 1)
    return build_card(checked, "0", counts, counts, data_origin(checked))


def test_card_has_data_origin_and_known_licenses(tmp_path):
    data = write_run(tmp_path, "meta-llama/Meta-Llama-3-70B-Instruct")
    base = {"base_model": "meta-llama/Meta-Llama-3-8B"}
    text = card({"output": str(tmp_path / "other"), "training": {"data": data, **base}})
    assert "`meta-llama/Meta-Llama-3-70B-Instruct` wrote them" in text
    assert "- `generate-lima`: 1,200\n- `rewrite-own`: 34\n" in text
    assert "| base model `meta-llama/Meta-Llama-3-8B` | [Meta Llama 3 Community License](" in text
    assert "| personas: `persona.jsonl` | [CC BY-NC-SA 4.0](" in text
    assert "| instructions `lima`: `train.jsonl` | [CC BY-NC-SA, or stricter" in text
    assert "| instructions `own`: `questions.jsonl` | not known here: look it up" in text
    assert "no use of its outputs to improve a language model other than Llama 3" in text
    for foreign in ("another", "unused", "secret"):
        assert foreign not in text
    assert "another" in card({"output": data, "training": base})


def test_card_of_unknown_data_origin(tmp_path):
    for left in (None, "{", '{"output": 3}'):
        if left:
            (tmp_path / "config.json").write_text(left)
        text = card({"output": str(tmp_path / "other"), "training": {"data": str(tmp_path)}})
        assert "left no settings, so it is not known which model wrote them" in text
        assert "| the dialogues | not known here: look it up" in text
