"""An exported model in transformers 4: the same configuration, tokens and logits as in transformers 5."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from factory.config import Lora, Training
from factory.records import Message
from factory.training.dialogue import tokenizer_for
from factory.training.model import load_model
from factory.training.model_export import export_model
from tests.integration.tiny_models import BASE_FAMILIES, save_model

pytestmark = pytest.mark.slow  # builds an environment with transformers 4

VERSION = "4.57.6"
READ = """
import json, os, sys
import numpy, torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

chat = [{"role": "user", "content": "Why is my bread flat? Übung 🍞"}]
for folder in sys.argv[1:]:
    tokenizer, version = AutoTokenizer.from_pretrained(folder), transformers.__version__
    ids = tokenizer(tokenizer.apply_chat_template(chat * 3, tokenize=False, add_generation_prompt=True),
                    add_special_tokens=False)["input_ids"]
    found = {"version": version, "ids": ids, "eos": tokenizer.eos_token,
             "special": sorted(map(str, tokenizer.all_special_tokens))}
    if os.path.exists(f"{folder}/adapter_config.json"):
        print(json.dumps(found))
        continue
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").float().eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0].numpy()
    numpy.save(f"{folder}/logits-{version[0]}.npy", logits)
    print(json.dumps(found | {"stops": GenerationConfig.from_pretrained(folder).eos_token_id}))
"""


@pytest.fixture(scope="module")
def transformers_4(tmp_path_factory) -> str:
    """Return the Python of an environment with transformers 4, and all else of this one."""
    place = tmp_path_factory.mktemp("transformers-4")
    uv, python = Path(sys.executable).with_name("uv"), place / "venv" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, place / "venv"], check=True, timeout=300)
    asked = [uv, "pip", "install", "--quiet", "--python", python, f"transformers=={VERSION}"]
    got = subprocess.run(asked, capture_output=True, text=True, timeout=600)
    if got.returncode:
        pytest.skip(f"transformers {VERSION} cannot be installed: {' '.join(got.stderr.split())[-300:]}")
    (site,) = (place / "venv").glob("lib/python*/site-packages")
    (site / "this.pth").write_text(sysconfig.get_path("purelib") + "\n")  # torch, which is large, behind its own
    return str(python)


def read(python: str, folders: list[str]) -> list[dict]:
    """Return what an environment reads from some folders, and write the logits beside them."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, "-c", READ, *folders], capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def exported(base: str, target: Path, lora: Lora | None) -> str:
    """Export a model whose training changed nothing, but for adapters at random."""
    import torch

    training = Training(base_model=base, chat_template="chatml", precision="fp32", lora=lora)
    model = load_model(base, training, 0)
    weights = {name: value for name, value in model.state_dict().items() if lora is None or "lora_" in name}
    weights = {name: torch.randn_like(value) / 8 if "lora_" in name else value for name, value in weights.items()}
    setup = SimpleNamespace(training=training, base_model=base, fingerprint="f", model_folder=str(target))
    export_model(weights, base, setup)
    return str(target)


def test_both_versions_compute_the_same(tmp_path, transformers_4):
    folders, trained = [], []
    for family in BASE_FAMILIES:
        base = save_model(family, tmp_path / family.name, "")
        training = Training(base_model=base, chat_template="chatml")
        trained += [tokenizer_for(base, training).encode([Message("user", "Why is my bread flat? Übung 🍞")] * 3)] * 3
        folders.append(exported(base, tmp_path / f"{family.name}-full", None))
        folders.append(exported(base, tmp_path / f"{family.name}-merged", Lora(rank=2)))
        folders.append(exported(base, tmp_path / f"{family.name}-adapters", Lora(rank=2, merge=False)))
    old, new = read(transformers_4, folders), read(sys.executable, folders)
    assert [found["version"] for found in old] == [VERSION] * len(folders)
    assert new[0]["version"].startswith("5.")
    largest = {}
    for folder, before, after, ids in zip(folders, old, new, trained, strict=True):
        assert before | {"version": ""} == after | {"version": ""}
        assert before["ids"] == ids
        assert before["eos"] == "<|im_end|>"
        if folder.endswith("-adapters"):
            continue
        logits = [np.load(f"{folder}/logits-{version}.npy") for version in (4, 5)]
        assert np.std(logits[1]) > 0.01
        largest[Path(folder).name] = float(np.abs(logits[0] - logits[1]).max())
    print(largest)
    assert max(largest.values()) < 1e-5, largest
