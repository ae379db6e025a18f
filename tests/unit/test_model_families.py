"""Model families by names, and warnings of judges that share one with a candidate."""

import json

import pytest

from factory.config import EMBEDDED, Training
from factory.evaluation.scoring.model_families import display_name, find_family, self_preference_warnings
from factory.training.model_card import ChatUse, build_card


def folder(path, card: str = "", **config: str) -> str:
    path.mkdir(parents=True)
    if card:
        (path / "README.md").write_text(card)
    if config:
        (path / "config.json").write_text(json.dumps(config))
    return str(path)


@pytest.mark.parametrize(
    ("ref", "family"),
    [
        (EMBEDDED, "smollm"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm"),
        ("meta-llama/Meta-Llama-3-70B-Instruct", "llama"),
        ("TinyLlama/TinyLlama-1.1B", "llama"),
        ("gpt-4o-2024-08-06", "gpt"),
        ("openai/gpt-oss-20b", "gpt"),
        ("o3-mini", "gpt"),
        ("anthropic/claude-3.5-sonnet", "claude"),
        ("google/gemma-2-9b-it", "gemini"),
        ("gemini-2.5-pro", "gemini"),
        ("Qwen/QwQ-32B", "qwen"),
        ("mistralai/Mixtral-8x7B-v0.1", "mistral"),
        ("microsoft/phi-4", "phi"),
        ("01-ai/Yi-34B", "yi"),
        ("CohereForAI/c4ai-command-r-v01", "command"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "deepseek"),
        ("NousResearch/Hermes-3-Llama-3.1-8B", "llama"),
        ("meta-llama/a-name", "llama"),
        ("ollama/phi3", "phi"),
        ("ollama/a-name", None),
        ("EleutherAI/gpt-neox-20b", None),
        ("cognitivecomputations/dolphin-x", None),
        ("studying/playing", None),
        ("my-o1", None),
        ("runs/llama/model", None),
    ],
)
def test_family_by_name(ref, family):
    assert find_family(ref) == family


def test_only_last_part_of_a_folder_counts(tmp_path):
    assert find_family(folder(tmp_path / "llama" / "model")) is None
    assert find_family(folder(tmp_path / "gpt" / "qwen2.5-7b") + "/") == "qwen"


def test_card_written_by_training_names_base(tmp_path):
    counts = dict.fromkeys(("ok", "tokens", "learned_tokens", "sequences"), 1)
    ran = {"optimizer": "o", "zero_stage": 3, "parameters": 1, "workers": 1}
    manifest = {"trained_by": ran, "steps": 1, "epochs": 1, "tokens": 1, "train_loss": 1.0, "validation": None}
    manifest |= {"versions": {}, "model": {"revision": "0"}}
    packed = {"train": counts, "validation": counts}
    card = build_card(Training(base_model="embedded"), manifest, packed, None, ChatUse("<|im_end|>", None, {}))
    model = folder(tmp_path / "model", card, model_type="llama")
    assert find_family(model) == "smollm"


def test_cards_are_followed_from_model_to_model(tmp_path):
    first = folder(tmp_path / "first", "---\nbase_model: mistralai/Mistral-7B\n---\n", model_type="llama")
    second = folder(tmp_path / "second", f"---\r\ntags: [x]\r\nbase_model:\r\n- {first}\r\n---\r\n")
    third = folder(tmp_path / "third", f"---\nbase_model: {second}\n---\n")
    assert find_family(third) == "mistral"


def test_config_counts_where_card_names_no_family(tmp_path):
    assert find_family(folder(tmp_path / "a", "# No front matter", model_type="qwen2")) == "qwen"
    assert find_family(folder(tmp_path / "b", "---\nbase_model: a-name\n---\n", model_type="phi3")) == "phi"
    assert find_family(folder(tmp_path / "c", "---\n: [\n---\n", model_type="llama")) == "llama"
    assert find_family(folder(tmp_path / "d", "---\nbase_model: 3\n---\n", model_type="gpt_neox")) is None


def test_cards_that_name_each_other_end_the_search(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    folder(one, f"---\nbase_model: {other}\n---\n")
    folder(other, f"---\nbase_model: {one}\n---\n", model_type="gemma2")
    assert find_family(str(one)) == "gemini"
    assert find_family(folder(tmp_path / "self", f"---\nbase_model: {tmp_path / 'self'}\n---\n")) is None


def test_broken_files_give_no_family(tmp_path):
    path = tmp_path / "model"
    folder(path)
    (path / "README.md").write_bytes(b"---\n\xff\xfe\n---\n")
    (path / "config.json").write_text("[")
    assert find_family(str(path)) is None


def test_one_warning_per_related_judge():
    warnings = self_preference_warnings(
        {"small": EMBEDDED, "large": "gpt-4o", "other": "Qwen/Qwen3-8B"},
        {"base": EMBEDDED, "tuned": "HuggingFaceTB/SmolLM2-1.7B", "odd": "a-name"},
        teacher="gpt-4o-2024-05-13",
    )
    assert len(warnings) == 2
    assert warnings[0].startswith(
        "judge 'small' (embedded) shares the family smollm with candidate 'base' and candidate 'tuned': "
    )
    assert "with the teacher (gpt-4o-2024-05-13, which wrote the training dialogues):" in warnings[1]
    assert all("judges favor text of their own family" in warning for warning in warnings)


def test_unknown_family_is_related_only_to_same_model():
    assert self_preference_warnings({"judge": "a-name"}, {"one": "another-name"}, teacher=None) == []
    assert (
        "is the same model as candidate 'one'"
        in self_preference_warnings({"judge": "a-name"}, {"one": "a-name"}, teacher=None)[0]
    )


@pytest.mark.parametrize(
    ("ref", "shown"),
    [
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("embedded", "embedded"),
        ("/home/ann/runs/demo/model", "demo/model"),
        ("s3://bucket/private/llama-3-8b/", "llama-3-8b"),
        ("../models/qwen", "qwen"),
    ],
)
def test_display_name_hides_paths(ref, shown):
    assert display_name(ref) == shown


def test_warnings_name_no_paths():
    (warning,) = self_preference_warnings({"judge": "/home/ann/m"}, {"tuned": "/home/ann/m"}, teacher=None)
    assert "/home/ann" not in warning
