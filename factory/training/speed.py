"""The speed of training relative to the peak of the GPUs: model FLOPs utilization."""

from dataclasses import dataclass
from typing import Any

from factory.training.parameter_size import whole_size

PEAK_FLOPS = {
    "GB200": 2500e12, "B200": 2250e12, "H200 NVL": 835e12, "H200": 989e12, "H100 NVL": 835e12, "H100 PCIe": 756e12,
    "H100": 989e12, "A100": 312e12, "MI300X": 1307e12, "L40S": 362e12, "L40": 181e12, "L4": 121e12, "A10G": 70e12,
    "A10": 125e12,
}  # fmt: skip
"""Dense bfloat16 operations per second by what torch's name of a device contains, from the vendors' data sheets; the
first match counts. An H100 without another word is the SXM one (`NVIDIA H100 80GB HBM3`)."""


def peak_flops(device_name: str) -> float | None:
    """Return a GPU's peak of dense bfloat16 operations per second; None if it is not known."""
    return next((flops for key, flops in PEAK_FLOPS.items() if key in device_name), None)


@dataclass(frozen=True)
class Operations:
    """Operations that a model needs forward and backward; those of attention and of recomputation are left out."""

    per_token: int
    per_learned_token: int
    """Of the output layer, which only learned tokens reach."""

    def utilization(self, tokens: float, learned: float, seconds: float, peak: float) -> float:
        """Return the share of `peak` operations per second that a number of tokens made use of."""
        return (self.per_token * tokens + self.per_learned_token * learned) / seconds / peak


def count_operations(model: Any) -> Operations:
    """Count a model's operations from its parameters, partitioned or not.

    A trained parameter takes two operations per token forward and four backward, a frozen one two and two, and an
    embedding none. Parts that texts never reach, such as a vision tower, are not counted.
    """
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    body = {id(parameter): parameter for parameter in model.get_decoder().parameters()}
    for outside in (*head.parameters(), *embedding.parameters()):
        body.pop(id(outside), None)
    return Operations(_operations(body.values()), _operations(head.parameters()))


def _operations(parameters: Any) -> int:
    return sum((6 if parameter.requires_grad else 4) * whole_size(parameter) for parameter in parameters)
