"""Ollama's Modelfile for an exported model."""

from contextlib import suppress

from factory.errors import ModelError
from factory.inference.chat_template import ChatTokenizer
from factory.records import Message
from factory.training.dialogue import NEW_TOKENS
from factory.training.dialogue import TEMPLATES as OURS

TEMPLATES = {
    "llama-3": (
        "{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>"
        "{{- end }}<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "chatml": (
        "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
    ),
}
"""In Ollama's language, which is Go's, by the names of our own templates; it adds the first token of a text itself."""
UNKNOWN = """\
# No TEMPLATE: the chat template of this model is neither that of LLaMA-3 nor ChatML. Write it in Ollama's language:
# with another one, the model sees chats in a form that it has not learned."""
BASE_HINT = "A folder with the weights of the base model; of those in Ollama's library take the same one, unquantized."
PROBE = [
    Message("system", "Be Ada."), Message("user", "Who?"), Message("assistant", "Ada."), Message("user", "Really?"),
]  # fmt: skip


def template_name(folder: str, tokenizer: ChatTokenizer) -> str | None:
    """Return the name of the template of ours that asks with the same tokens as a model's own, or None.

    Args:
        folder: the model's.
        tokenizer: its tokenizer, with its chat template.
    """
    asked = tokenizer.encode(PROBE)
    for path in sorted(OURS.glob("*.jinja")):
        with suppress(ModelError):  # the vocabulary has no such tokens
            ours = ChatTokenizer(folder, path.read_text(), new_tokens=NEW_TOKENS.get(path.stem, ()))
            if ours.encode(PROBE) == asked:
                return path.stem
    return None


def build_modelfile(name: str | None, end_of_turn: str, system: str, context: int, base: str | None = None) -> str:
    """Return a Modelfile for the folder that it lies in.

    Args:
        name: of the template, or None if Ollama's is not known.
        end_of_turn: the token that ends a turn.
        system: a system message, of which a chat may give another.
        context: tokens that a chat may have.
        base: what the adapters in the folder belong to; None if it holds a whole model.
    """
    known = f'TEMPLATE """{TEMPLATES[name]}"""' if name else UNKNOWN
    source = "FROM ." if base is None else f"# {BASE_HINT}\nFROM {base}\nADAPTER ."
    quoted = system.strip().replace('"""', "'''")
    return f"""# ollama create role-player
{source}
{known}
PARAMETER stop "{end_of_turn}"
PARAMETER num_ctx {context}
# One example: put your own character in, or send a system message with each chat.
SYSTEM \"\"\"{quoted}\"\"\"
"""
