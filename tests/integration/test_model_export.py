"""The exported folder: where a tuned model stops, its card, and the base model of its adapters."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard

from factory.config import Lora, RunConfig, Training
from factory.config.prompt_places import PromptPlaces
from factory.inference.chat_template import ChatTokenizer
from factory.inference.prompts import load_prompt
from factory.resources import RESOURCES
from factory.storage.tables import Table
from factory.training.data_origin import data_origin
from factory.training.dialogue import TEMPLATES, tokenizer_for
from factory.training.model import load_model
from factory.training.model_card import ChatUse, build_card, write_card
from factory.training.model_export import export_model
from factory.training.ollama import PROBE, build_modelfile, template_name
from factory.training.ollama import TEMPLATES as OLLAMA
from tests.chat_properties import save_byte_tokenizer
from tests.integration.tiny_models import Family, save_model

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


def exported(base: str, target: Path, lora: Lora | None = None, template: str = "llama-3") -> Path:
    """Export a model whose training changed nothing."""
    training = Training(base_model=base, chat_template=template, precision="fp32", lora=lora)
    model = load_model(base, training, 0)
    weights = {name: value for name, value in model.state_dict().items() if lora is None or "lora_" in name}
    setup = SimpleNamespace(training=training, base_model=base, fingerprint="f", model_folder=str(target / "model"))
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
    setup = SimpleNamespace(training=training, base_model=base, fingerprint="f", model_folder=str(tmp_path / "model"))
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
    figures = {"languages": {"English": 1000, "GERMAN": 230, "LATIN": 4}}
    Table(output, "curated/train").finish({"ok": 1234, "sources": sources, "figures": figures})
    Table(output, "dialogues/generate-lima").begin("f", {"system": load_prompt("training-system").ref})
    config = RunConfig.model_validate(
        {"output": output, "engine": {"kind": "scripted", "model": writer}, "personas": {"source": "p.jsonl"}}
    )
    (folder / "config.json").write_text(config.model_dump_json())
    return output


MANIFEST = {
    "trained_by": {"optimizer": "BF16_Optimizer", "zero_stage": 3, "parameters": 8_030_261_248, "workers": 8},
    "steps": 321, "epochs": 3, "tokens": 81_234_567, "train_loss": 1.25, "versions": {"torch": "2.13.0", "ray": "2.60"},
    "model": {"revision": "abc"},
    "validation": {
        "before": 1.5, "after": 1.3, "change": -0.2, "low": -0.25, "high": -0.15, "dialogues": 512, "significant": True,
    },
}  # fmt: skip


def card(config: dict, **manifest) -> str:
    checked = RunConfig.model_validate(
        {
            "engine": {"kind": "scripted", "model": "somebody-else"},
            "personas": {"source": "p.jsonl"},
            "instructions": [{"corpus": "unused", "source": "u.jsonl"}],
            **config,
        }
    )
    counts = dict.fromkeys(("ok", "tokens", "learned_tokens", "sequences"), 1)
    packed = {"train": counts, "validation": counts}
    chat = ChatUse("<|eot_id|>", "llama-3", {"enable_thinking": False})
    training = checked.training.model_copy(update={"precision": "bf16"})
    return build_card(training, MANIFEST | manifest, packed, data_origin(checked), chat)


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
    for foreign in ("somebody-else", "unused", "secret"):
        assert foreign not in text
    assert "somebody-else" in card({"output": data, "training": base})


def test_card_of_unknown_data_origin(tmp_path):
    for left in (None, "{", '{"output": 3}'):
        if left:
            (tmp_path / "config.json").write_text(left)
        text = card({"output": str(tmp_path / "other"), "training": {"data": str(tmp_path)}})
        assert "left no settings, so it is not known which model wrote them" in text
        assert "| the dialogues | not known here: look it up" in text


def test_card_says_what_was_used_and_what_it_came_to(tmp_path):
    data = write_run(tmp_path, "writer")
    text = card({"output": data, "training": {"base_model": "meta-llama/Meta-Llama-3-8B", "precision": "auto"}})
    for row in (
        "precision | bf16",
        "workers | 8",
        "ZeRO stage | 3",
        "steps | 321",
        "versions | torch 2.13.0, ray 2.60",
    ):
        assert f"| {row} |" in text
    assert "| validation, 512 dialogues | 1.5000 | 1.3000 | -0.2000 (-0.2500 to -0.1500) |" in text
    assert "training loss of the last step is 1.2500" in text
    assert "`auto`" not in text
    changes = [
        {"step": 41, "setting": "learning_rate", "before": 1e-5, "after": 5e-6},
        {"step": 60, "setting": "max_grad_norm", "before": 1.0, "after": 0.5},
    ]
    events = {"settings_changes": changes, "skipped_steps": 2, "stopped_early": True, "exported_step": 300}
    eventful = card({"output": data}, **events)
    steps = "321; ended early; 2 skipped for a gradient that is not finite; these weights are of step 300"
    assert f"| steps | {steps} |" in eventful
    assert "\n- `learning_rate` was `1e-05` up to step 40, and `5e-06` from step 41 on.\n- `max_grad_norm`" in eventful
    assert "from step 60 on.\n\n| setting | value |" in eventful
    unknown = card({"output": data}, validation=None)
    assert "The change of the validation loss is unknown." in unknown


def test_front_matter_is_what_the_hub_reads(tmp_path):
    data = write_run(tmp_path, "writer")
    found = ModelCard(card({"output": data, "training": {"base_model": "meta-llama/Meta-Llama-3-8B"}})).data
    assert (found.base_model, found.license, found.library_name) == (
        "meta-llama/Meta-Llama-3-8B",
        "llama3",
        "transformers",
    )
    assert found.language == ["en", "de"]
    assert found.datasets == ["proj-persona/PersonaHub", "GAIR/lima"]
    newer = ModelCard(card({"output": data, "training": {"base_model": "meta-llama/Llama-3.1-8B"}})).data
    assert (newer.license, newer.license_name) == ("other", "the-llama-community-license-of-its-version")
    local = {"base_model": "/home/me/secret/own", "lora": {"merge": False}}
    adapters = ModelCard(card({"output": data, "training": local})).data
    assert (adapters.base_model, adapters.license, adapters.library_name) == ("own", "unknown", "peft")


def test_card_has_the_system_prompt_that_the_dialogues_have(tmp_path):
    data = write_run(tmp_path, "writer")
    own = tmp_path / "prompts"
    own.mkdir()
    built_in = (RESOURCES / "prompts" / "training-system.md").read_text()
    (own / "training-system.md").write_text(built_in.replace("version: 1", "version: 7").replace("You are", "Become"))
    table = Table(data, "dialogues/generate-lima")
    table.begin("other", {"system": load_prompt("training-system", PromptPlaces(str(own))).ref}, lambda line: None)
    for prompts, told in (({"prompts_dir": str(own)}, "Become an AI character"), ({}, "no longer\navailable")):
        text = card({"output": data, **prompts})
        assert "training-system@7#" in text
        assert told in text
        assert "# Persona\n{{ persona }}\n" in text
        assert "# Persona\nA retired lighthouse keeper" in text


@pytest.mark.parametrize("lora", [None, Lora(rank=2, merge=False)])
def test_the_snippet_of_a_card_talks_to_the_model(tmp_path, capsys, lora):
    tiny = save_model(Family("Llama", "", ("<|im_start|>", "<|im_end|>")), tmp_path / "tiny", "")
    data = write_run(tmp_path / "run", "writer")
    training = {"base_model": tiny, "chat_template": "chatml", "precision": "fp32", "lora": lora and lora.model_dump()}
    config = {"output": data, "engine": {"kind": "scripted"}, "personas": {"source": "p"}, "training": training}
    checked = RunConfig.model_validate(config)
    folder = exported(tiny, tmp_path, lora, "chatml")
    counts = SimpleNamespace(manifest=dict.fromkeys(("ok", "tokens", "learned_tokens", "sequences"), 1))
    setup = SimpleNamespace(
        training=checked.training, base_model=tiny, model_folder=str(folder), train=counts, validation=counts
    )
    write_card(checked, setup, MANIFEST)
    code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[0]
    for long, short in {"path/to/this/folder": str(folder), "max_new_tokens=512": "max_new_tokens=4"}.items():
        assert long in code
        code = code.replace(long, short)
    found: dict = {}
    exec(code, found)
    assert found["inputs"]["input_ids"].shape[1] > 800
    assert capsys.readouterr().out
    modelfile = folder / "Modelfile"
    if lora:
        assert "--max-lora-rank 8 --lora-modules" in (folder / "README.md").read_text()
        assert "\nADAPTER .\n" in modelfile.read_text()
        return
    text = modelfile.read_text()
    assert 'PARAMETER stop "<|im_end|>"' in text
    (template,) = re.findall(r'TEMPLATE """(.*?)"""', text, re.DOTALL)
    asked = found["tokenizer"].apply_chat_template(found["messages"], tokenize=False, add_generation_prompt=True)
    assert in_ollama(template, found["messages"]) == asked


def in_ollama(template: str, messages: list[dict]) -> str:
    """Render a template whose only statement is a range over the messages, as Go does."""
    turn, rest = re.fullmatch(r"\{\{- range \.Messages \}\}(.*?)\{\{-? end \}\}(.*)", template, re.DOTALL).groups()
    turns = [turn.replace("{{ .Role }}", m["role"]).replace("{{ .Content }}", m["content"]) for m in messages]
    return "".join(turns) + rest


@pytest.mark.parametrize(
    ("name", "special", "first"),
    [
        ("chatml", ("<|im_start|>", "<|im_end|>"), ""),
        (
            "llama-3",
            ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
            "<|begin_of_text|>",
        ),
    ],
)
def test_modelfile_has_the_template_where_it_is_known(tmp_path, name, special, first):
    base, source = save_byte_tokenizer(tmp_path, special), (TEMPLATES / f"{name}.jinja").read_text()
    tokenizer = ChatTokenizer(base, source)
    assert template_name(base, tokenizer) == name
    chat = [{"role": m.role, "content": m.content} for m in PROBE]
    asked = tokenizer._tokenizer.apply_chat_template(
        chat, chat_template=source, tokenize=False, add_generation_prompt=True
    )
    assert first + in_ollama(OLLAMA[name], chat) == asked
    assert template_name(base, ChatTokenizer(base, source.replace("\\n", "\\t"))) is None
    assert "\nTEMPLATE" not in build_modelfile(None, special[-1], "Be Ada.", 4096)
