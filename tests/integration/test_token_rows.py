"""Rows of the embeddings that a base model lacks or has not trained, in full tuning and beside adapters."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from factory.config import Lora, Training
from factory.errors import ConfigError, ModelError
from factory.inference import model_files
from factory.training.dialogue import check_template, tokenizer_for, turn_tokens
from factory.training.dry_run import check_new_rows
from factory.training.model import PackedLoss, build_batch, load_for_chats
from factory.training.model_export import export_model
from factory.training.token_rows import untrained_rows
from tests.chat_properties import save_byte_tokenizer

HEADERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|spare|>")
UNTRAINED = HEADERS[1:]
IDS = torch.tensor([[*range(40), *range(250, 258)]])


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def base(request, tmp_path) -> str:
    """A Base model as LLaMA-3's: the rows of its headers are all but zero."""
    return save_base(tmp_path / "base", HEADERS, request.param)


def save_base(folder: Path, special: tuple[str, ...], tied: bool) -> str:
    folder.mkdir()
    save_byte_tokenizer(folder, special)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0, initializer_range=0.2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    rows = [tokenizer.convert_tokens_to_ids(token) for token in special if token in UNTRAINED]
    with torch.no_grad():
        for part in (model.get_input_embeddings(), model.get_output_embeddings()):
            part.weight[rows] = 1e-9 * torch.randn(len(rows), 32)
    model.save_pretrained(folder)
    return str(folder)


def loaded(base: str, **settings):
    training = Training(
        base_model=base, **{"chat_template": "llama-3", "precision": "fp32", "attention": "sdpa", **settings}
    )
    model, rows = load_for_chats(base, training, 0, turn_tokens(base, training))
    names = tokenizer_for(base, training).token_texts
    return training, model, {what: names(ids) for what, ids in rows.items()}


def step(model) -> None:
    """Train all that is trained by one step."""
    module, ids = PackedLoss(model), IDS[0].tolist()
    row = {"input_ids": ids, "loss_mask": [True] * len(ids), "lengths": [len(ids)]}
    losses = module(**build_batch(row, torch.device("cpu"))[0])
    losses.mean().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad


def exported(training: Training, model, target: Path) -> str:
    """Export a model as a training with DeepSpeed does: what is trained, and the buffers."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items() if name not in frozen}
    setup = SimpleNamespace(
        training=training, base_model=training.base_model, fingerprint="f", model_folder=str(target)
    )
    export_model(weights, training.base_model, setup)
    return str(target)


def test_rows_near_zero_and_equal_rows_are_untrained():
    torch.manual_seed(0)
    weight = torch.randn(100, 16, dtype=torch.bfloat16)
    weight[7] *= 1e-6
    weight[20] = weight[30] = weight[40]
    assert untrained_rows(weight).nonzero().flatten().tolist() == [7, 20, 30, 40]


def test_adapters_begin_with_untrained_rows_at_the_mean_and_train_them_alone(base):
    _, model, rows = loaded(base, lora={"rank": 2})
    assert rows == {"initialized": [*UNTRAINED[:3]], "trained": [*UNTRAINED[:3]]}  # no template writes the spare one
    original = AutoModelForCausalLM.from_pretrained(base)
    found = model.get_base_model()
    for part, before in (
        (found.get_input_embeddings(), original.get_input_embeddings()),
        (found.get_output_embeddings(), original.get_output_embeddings()),
    ):
        mean = before.weight[~untrained_rows(before.weight)].mean(0)
        torch.testing.assert_close(part.rows.weight.detach(), mean.expand(3, -1))
        assert not part.base.weight.requires_grad
        assert part.rows.weight.requires_grad
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert {name.rsplit(".", 2)[1] for name in trained if "lora_" not in name} == {"rows"}


@pytest.mark.parametrize("merge", [True, False])
def test_exported_adapters_compute_what_was_trained(base, tmp_path, merge):
    training, model, _ = loaded(base, lora={"rank": 2, "use_rslora": True, "merge": merge})
    for _ in range(3):
        step(model)
    ids = torch.tensor([[*range(262)]])
    expected = model.eval()(input_ids=ids).logits
    folder = exported(training, model, tmp_path / "model")
    if merge:
        found = AutoModelForCausalLM.from_pretrained(folder)
    else:
        assert not (Path(folder) / "model.safetensors").exists()
        found = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    torch.testing.assert_close(found(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
    untouched = AutoModelForCausalLM.from_pretrained(base)(input_ids=ids).logits
    assert (untouched - expected).abs().max() > 0.1


def test_a_folder_of_adapters_is_the_model_that_they_make_of_their_base(base, tmp_path, monkeypatch):
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    training, model, _ = loaded(base, lora={"rank": 2, "merge": False})
    step(model)
    expected = model.eval()(input_ids=IDS).logits
    folder = exported(training, model, tmp_path / "model")
    located = model_files.locate(folder)
    assert located.pinned == folder
    merged = model_files.fetch(folder)
    found = AutoModelForCausalLM.from_pretrained(merged)
    torch.testing.assert_close(found(input_ids=IDS).logits, expected, atol=1e-4, rtol=1e-4)
    end = AutoTokenizer.from_pretrained(merged).convert_tokens_to_ids("<|eot_id|>")
    assert end in json.loads((Path(merged) / "generation_config.json").read_text())["eos_token_id"]
    small = model_files.fetch(folder, weights=False)
    assert not list(Path(small).glob("*.safetensors"))
    assert AutoTokenizer.from_pretrained(small).chat_template == AutoTokenizer.from_pretrained(merged).chat_template
    step(model)
    exported(training, model, tmp_path / "model")
    assert model_files.locate(folder).revision != located.revision
    (tmp_path / "base" / "config.json").unlink()
    with pytest.raises(ModelError, match=r"base"):
        model_files.locate(folder)


@pytest.mark.parametrize(("wanted", "begun"), [(None, ()), (False, ()), (True, UNTRAINED[:3])])
def test_full_tuning_begins_with_the_rows_of_the_base_unless_it_is_set(base, wanted, begun):
    _, model, rows = loaded(base, initialize_untrained_rows=wanted)
    assert rows == {"initialized": [*begun], "trained": []}
    original = AutoModelForCausalLM.from_pretrained(base).get_input_embeddings().weight
    changed = (model.get_input_embeddings().weight != original).any(1).nonzero().flatten().tolist()
    assert len(changed) == len(begun)


def test_named_tokens_are_trained_in_place_of_untrained_ones(base):
    named = loaded(base, lora={"rank": 2, "trainable_tokens": ["<|spare|>", "<|eot_id|>"]})[2]
    assert sorted(named["trained"]) == sorted(["<|spare|>", "<|eot_id|>"])
    assert loaded(base, lora={"rank": 2, "trainable_tokens": []})[2]["trained"] == []
    with pytest.raises(ConfigError, match="has 'no such token', which"):
        loaded(base, lora={"rank": 2, "trainable_tokens": ["no such token"]})


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_chatml_adds_its_tokens_to_a_vocabulary_without_them(tmp_path, lora):
    base = save_base(tmp_path / "base", ("<s>", "</s>"), False)
    check_template(Training(base_model=base, chat_template="chatml"))
    training, model, rows = loaded(base, chat_template="chatml", lora=lora)
    new = ["<|im_start|>", "<|im_end|>"]
    assert rows == {"initialized": new, "trained": new if lora else []}
    for _ in range(3):
        step(model)
    size = AutoModelForCausalLM.from_pretrained(base).config.vocab_size
    ids = torch.tensor([[*range(40), size, size + 1]])
    expected = model.eval()(input_ids=ids).logits
    folder = exported(training, model, tmp_path / "model")
    found = AutoModelForCausalLM.from_pretrained(folder)
    assert found.config.vocab_size == size + 2
    torch.testing.assert_close(found(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_tokens_to_ids(new) == [size, size + 1]
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.decode([size, 60, size + 1], skip_special_tokens=True) == tokenizer.decode([60])
    chat = [{"role": "user", "content": "Ada?"}]
    asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    assert asked.count(size) == 2
    assert size + 1 in found.generation_config.eos_token_id
    assert model_files.locate(folder)
    check_template(Training(base_model=folder))


def test_adapters_left_apart_hold_no_new_rows(tmp_path):
    base = save_base(tmp_path / "base", ("<s>", "</s>"), False)
    apart = {"chat_template": "chatml", "lora": {"merge": False}}
    for refused in (lambda: loaded(base, **apart), lambda: check_new_rows(Training(base_model=base, **apart))):
        with pytest.raises(ConfigError, match=r"merge: false: the base model has .* set merge: true"):
            refused()


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        ("all-linear", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        ("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        (["q_proj", "up_proj"], {"q_proj", "up_proj"}),
    ],
)
def test_adapters_are_on_the_layers_that_the_config_names(base, targets, layers):
    _, model, _ = loaded(base, lora={"rank": 2, "target_modules": targets})
    assert {
        name.split(".lora_")[0].rpartition(".")[2] for name, _ in model.named_parameters() if ".lora_" in name
    } == layers


def test_an_unknown_layer_is_named(base):
    with pytest.raises(ConfigError, match=r"no layer 'query'; it has .*q_proj"):
        loaded(base, lora={"target_modules": ["query"]})


def test_a_chat_template_from_a_file(tmp_path):
    base = save_base(tmp_path / "base", ("<s>", "</s>"), False)
    own = tmp_path / "own.jinja"
    own.write_text("{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}"
                   "{% if add_generation_prompt %}<s>assistant: {% endif %}")  # fmt: skip
    training, model, _ = loaded(base, chat_template=str(own))
    assert check_template(training).end_of_turn_text == "</s>"
    folder = exported(training, model, tmp_path / "model")
    assert AutoTokenizer.from_pretrained(folder).chat_template == own.read_text()
    own.write_text("{% for")
    with pytest.raises(ModelError, match=r"own\.jinja.*refuses a chat"):
        check_template(Training(base_model=base, chat_template=str(own), chat_template_kwargs={"a": 1}))
    with pytest.raises(ConfigError, match="which does not exist"):
        check_template(Training(base_model=base, chat_template=str(tmp_path / "none.jinja")))
