"""The control tokens of a chat template."""

from collections.abc import Mapping
from dataclasses import dataclass

from factory.errors import ConfigError


@dataclass(frozen=True)
class TurnTokens:
    """The control tokens that a chat template writes, by id."""

    names: Mapping[int, str]
    named: frozenset[int] | None = None
    """Those whose rows are trained beside adapters; None for the untrained ones."""

    @property
    def vocabulary(self) -> int:
        """The embeddings that a model needs for them."""
        return max(self.names) + 1


def no_room(rows: int, vocabulary: int) -> ConfigError:
    """Return the error of adapters left apart that would need new embeddings."""
    return ConfigError(
        f"training.lora.merge: false: the base model has {rows:,} embeddings, and with training.chat_template its "
        f"tokenizer gets {vocabulary:,} tokens, whose rows adapters cannot hold; set merge: true, or take a chat "
        "template of tokens that it has"
    )
