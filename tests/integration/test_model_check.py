"""Model folders that are broken, hostile or need code of their own: one line, and nothing of theirs is run."""

import ast
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from factory.config import Training, VllmEngine
from factory.errors import ModelError
from factory.evaluation.dry_run import context_window
from factory.inference import model_check, model_files
from factory.inference.chat_template import ChatTokenizer
from factory.inference.locate import locate_model
from factory.inference.model_check import check_folder
from factory.inference.tokenizer_files import NoTemplateError
from factory.records import Message
from factory.training.dialogue import check_template
from tests.integration.runs import PROJECT

GOOD = "{% for m in messages %}<|a|>{{ m.role }} {{ m.content }}<|z|>{% endfor %}"
CHAT = [Message("system", "s"), Message("user", "u"), Message("assistant", "a")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder: a tokenizer of bytes, and weights that nobody reads."""
    made = Tokenizer(BPE(vocab={c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(["<|a|>", "<|z|>"])
    place = tmp_path / "model"
    place.mkdir()
    made.save(str(place / "tokenizer.json"))
    (place / "model.safetensors").touch()
    write(place, "config.json", {"model_type": "llama", "max_position_embeddings": 2048})
    with_template(place, GOOD)
    return place


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))


def with_template(folder: Path, template: object) -> None:
    write(folder, "tokenizer_config.json", {"chat_template": template, "eos_token": "<|z|>"})


def refusal(folder: Path, **how: object) -> str:
    """What is said of a folder."""
    return line(folder, lambda: check_folder(str(folder), **how))


def line(folder: Path, check: Callable[[], object]) -> str:
    """What is raised: one line that names the folder, and of a bearable length."""
    with pytest.raises(ModelError) as told:
        check()
    said = str(told.value)
    assert "\n" not in said
    assert repr(str(folder)) in said
    assert len(said) < 1000
    return said


def test_a_good_folder_passes(folder):
    check_folder(str(folder))
    check_folder(str(folder), by="transformers")


def roles(folder: Path) -> Callable[[], None]:
    return lambda: ChatTokenizer(str(folder)).check_roles()


BROKEN = {
    "tokenizer.json": ["garbage", "", "{}", "[" * 100_000, '{"version": "1.0", "model": {"type": "BPE"}}'],
    "tokenizer_config.json": ["{", "", "[]", '{"chat_template": 5}', '{"added_tokens_decoder": {"x": 1}}'],
    "config.json": ["{", "", "[]", "[" * 100_000],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BROKEN.items() for text in texts])
def test_a_broken_file_is_one_line(folder, name, text):
    write(folder, name, text)
    line(folder, (lambda: model_files.read_json(str(folder), name)) if name == "config.json" else roles(folder))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_found_by_the_check(folder, name):
    write(folder, name, "{")
    refusal(folder)


RAISING = {
    "{{ 1/0 }}": "ZeroDivisionError",
    "{{ messages[0].content + 1 }}": "TypeError",
    "{% for i in range(10**9) %}x{% endfor %}": "OverflowError",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}": "__class__",
    "{% for %}": "refuses a chat",
    "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}": "RecursionError",
    "{{ raise_exception('no\\n' * 10**6) }}": "no no no",
    "{{ messages.missing.deeper }}": "missing",
    "{{ messages[0].content }}": "leaves out the user message",
}


@pytest.mark.parametrize(("template", "said"), RAISING.items())
def test_a_template_that_raises_is_one_line(folder, template, said):
    with_template(folder, template)
    assert said in line(folder, roles(folder))


def test_a_template_that_takes_all_memory_is_one_line(folder):
    with_template(folder, "{{ 'a' * 10**11 }}")
    assert "MemoryError" in refusal(folder)


ENDLESS = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{{ 7 ** (7 ** 10) }}",  # one step, which nothing in the process interrupts
    "{% if not add_generation_prompt %}{{ 7 ** (7 ** 10) }}{% endif %}",
    "{% if messages | length > 5 %}{{ 7 ** (7 ** 10) }}{% endif %}",
]


@pytest.mark.parametrize("template", ENDLESS)
def test_a_template_that_does_not_end_is_one_line(folder, monkeypatch, template):
    monkeypatch.setattr(model_check, "RENDERING_S", 2)
    with_template(folder, template)
    assert "does not end" in refusal(folder)


def test_a_hostile_template_ends_a_dry_run_early(folder, monkeypatch):
    monkeypatch.setattr(model_check, "RENDERING_S", 2)
    with_template(folder, ENDLESS[0])
    with pytest.raises(ModelError, match="does not end"):
        locate_model(VllmEngine(model=str(folder)))
    with pytest.raises(ModelError, match="does not end"):
        check_template(Training(base_model=str(folder), chat_template="tokenizer"))


def test_a_tokenizer_that_does_not_load_has_a_deadline(folder, monkeypatch):
    monkeypatch.setattr(model_check, "LOADING_S", 0.1)
    assert "not loaded in 0.1 s" in refusal(folder)


def test_a_broken_tokenizer_is_not_taken_for_a_base_models(folder):
    write(folder, "tokenizer.json", "garbage")
    with pytest.raises(ModelError, match="cannot be read"):
        check_template(Training(base_model=str(folder), chat_template="tokenizer"))


def test_a_base_model_is_told_to_name_a_template(folder):
    write(folder, "tokenizer_config.json", {"eos_token": "<|z|>"})
    with pytest.raises(NoTemplateError):
        check_folder(str(folder))
    with pytest.raises(ModelError, match=r"training\.chat_template=llama-3 or chatml"):
        check_template(Training(base_model=str(folder), chat_template="tokenizer"))


def test_a_broken_generation_config_is_found_before_training(folder):
    write(folder, "generation_config.json", "{")
    with pytest.raises(ModelError, match=r"generation_config\.json"):
        check_template(Training(base_model=str(folder), chat_template="tokenizer"))


@pytest.mark.parametrize(
    ("config", "window"),
    [
        ({"max_position_embeddings": 7}, 7),
        ({"text_config": {"max_position_embeddings": 7}}, 7),
        ({"max_position_embeddings": "7"}, None),
        ({"max_position_embeddings": -7, "text_config": []}, None),
        ({"max_position_embeddings": 7.5}, None),
    ],
)
def test_a_window_is_a_whole_number(folder, config, window):
    write(folder, "config.json", config)
    assert context_window(str(folder)) == window


def test_a_token_without_an_embedding_is_found_by_the_check(folder):
    write(folder, "config.json", {"model_type": "llama", "text_config": {"vocab_size": 257}})
    assert "token 257, and its config.json has a vocab_size of 257" in refusal(folder)
    write(folder, "config.json", {"model_type": "llama", "vocab_size": 258})
    check_folder(str(folder))


def test_the_variables_of_a_template_are_checked_with_it(folder):
    with_template(folder, "{% if level == 'most' %}{{ raise_exception('no such level') }}{% endif %}" + GOOD)
    check_folder(str(folder), kwargs={"level": "some"})
    assert "no such level" in refusal(folder, kwargs={"level": "most"})
    with pytest.raises(ModelError, match="no such level"):
        locate_model(VllmEngine(model=str(folder), chat_template_kwargs={"level": "most"}))
    with pytest.raises(ModelError, match="no such level"):
        check_template(
            Training(base_model=str(folder), chat_template="tokenizer", chat_template_kwargs={"level": "most"})
        )


def test_the_default_of_named_templates_is_used_and_saved(folder, tmp_path):
    with_template(folder, [{"name": "tool_use", "template": "x"}, {"name": "default", "template": GOOD}])
    check_folder(str(folder))
    tokenizer = ChatTokenizer(str(folder))
    tokenizer.save(str(tmp_path / "saved"))
    assert ChatTokenizer(str(tmp_path / "saved")).encode_dialogue(CHAT) == tokenizer.encode_dialogue(CHAT)


def test_named_templates_without_a_default_are_named(folder):
    with_template(folder, [{"name": "chat", "template": GOOD}, {"name": "rag", "template": "x"}])
    assert "'chat', 'rag'" in refusal(folder)


@pytest.fixture
def coded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose tokenizer and config come with code, which would leave a file; whoever is asked says yes."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 100))
    write(folder, "own.py", f"open({str(folder / 'RAN')!r}, 'w').close()\nclass Own: pass\n")
    write(folder, "config.json", {"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}})
    return folder


def test_a_tokenizers_own_code_is_not_run(coded):
    (coded / "tokenizer.json").unlink()
    classes = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    write(coded, "tokenizer_config.json", {**classes, "chat_template": GOOD})
    assert "needs code of its own" in refusal(coded)
    with pytest.raises(ModelError, match="needs code of its own"):
        ChatTokenizer(str(coded))
    assert not (coded / "RAN").exists()


def test_a_models_own_code_is_not_run(coded):
    assert "needs code of its own" in refusal(coded, by="transformers")
    assert not (coded / "RAN").exists()
    check_folder(str(coded), trusted=True)  # vLLM is told to run it by name, and meets it itself


def test_a_model_that_transformers_knows_needs_no_code_of_its_own(coded):
    write(coded, "config.json", {"model_type": "llama", "auto_map": {"AutoConfig": "own.Own"}})
    check_folder(str(coded))
    assert not (coded / "RAN").exists()


def test_every_loader_is_told_to_run_no_code():
    """A loader that is told nothing asks the terminal."""
    silent = []
    for file in sorted((PROJECT / "factory").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if named and node.func.attr in ("from_pretrained", "from_config"):
                loads_code = not {"GenerationConfig", "PeftModel"} & {*ast.unparse(node.func).split(".")}
                told = {one.arg: ast.unparse(one.value) for one in node.keywords}
                if loads_code and told.get("trust_remote_code") != "False":
                    silent.append(f"{file.name}:{node.lineno}")
    assert silent == []


def test_the_embedded_model_passes():
    check_folder(model_files.fetch("embedded", weights=False))
