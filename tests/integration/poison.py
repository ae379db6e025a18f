"""A vLLM logits processor that ends the engine's process when a prompt holds certain tokens.

It stands in for the prompts that crash a kernel: the engine dies for real, in its own process.
Named in `engine_kwargs`; the tokens are in the environment, separated by commas.
"""

import os

from vllm.v1.sample.logits_processor import LogitsProcessor

POISON = "FACTORY_TEST_POISON"


class Poison(LogitsProcessor):
    """Changes no logits; looks at each prompt as it comes into the batch."""

    def __init__(self, vllm_config, device, is_pin_memory) -> None:
        self._tokens = os.environ[POISON]

    def is_argmax_invariant(self) -> bool:
        return True

    def apply(self, logits):
        return logits

    def update_state(self, batch_update) -> None:
        for _, _, prompt, _ in batch_update.added if batch_update else ():
            if f",{self._tokens}," in f",{','.join(map(str, prompt or []))},":
                os._exit(1)
