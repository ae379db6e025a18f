"""The DeepSpeed engine of a config: ZeRO 1 to 3, offload, precision, optimizer."""

import math
import os
from typing import Any

import torch

from factory.config import Training
from factory.training.parameter_size import whole_dimensions

CPU_BUCKET = 1 << 24
"""Gradients that are reduced at once; DeepSpeed's default of 500 million takes 1 GB in each worker, fine on a GPU."""


def zero_config(training: Training, on_gpu: bool) -> dict[str, Any]:
    """Return DeepSpeed's config (https://www.deepspeed.ai/docs/config-json/).

    Args:
        training: the settings.
        on_gpu: whether memory can be pinned.
    """
    zero: dict[str, Any] = {"stage": training.zero_stage}
    if on_gpu:
        zero["overlap_comm"] = True  # DeepSpeed's default at stage 3 only
    else:
        zero["reduce_bucket_size"] = CPU_BUCKET
    on_cpu = {"device": "cpu", "pin_memory": on_gpu}
    if training.offload != "none":
        zero["offload_optimizer"] = on_cpu
    if training.offload == "all":
        zero["offload_param"] = on_cpu
    config = {
        "train_micro_batch_size_per_gpu": 1,  # a packed sequence
        "gradient_accumulation_steps": training.global_batch_size // training.num_workers,
        "gradient_clipping": training.max_grad_norm,
        "bf16": {"enabled": training.precision == "bf16"},
        "zero_optimization": zero,
        # DeepSpeed's own CPU optimizer is compiled on first use, which a machine without a GPU can do without.
        "zero_force_ds_cpu_optimizer": on_gpu,
        "steps_per_print": 10**9,
    }
    return _merge(config, training.deepspeed)


def _merge(config: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    nested = {key: _merge(config[key], value) for key, value in more.items()
              if isinstance(value, dict) and isinstance(config.get(key), dict)}  # fmt: skip
    return config | more | nested


def build_optimizer(module: torch.nn.Module, training: Training, on_gpu: bool) -> Any:
    """Return Adam with decoupled weight decay for a module's trained parameters."""
    settings: dict[str, Any] = {"lr": training.learning_rate, "betas": training.betas}
    groups = _parameter_groups(module, training.weight_decay)
    if training.offload != "none" and on_gpu:
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam(groups, **settings)
    return torch.optim.AdamW(groups, fused=True, **settings)


def _parameter_groups(module: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trained parameters in groups with and without weight decay: norms, biases and embeddings have none."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, torch.nn.Embedding)}
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for parameter in trained:
        is_matrix = whole_dimensions(parameter) > 1 and id(parameter) not in embeddings
        groups.setdefault(weight_decay if is_matrix else 0.0, []).append(parameter)
    return [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()]


def build_engine(module: torch.nn.Module, training: Training, on_gpu: bool) -> Any:
    """Return the engine that trains a module's parameters, and check its ZeRO stage."""
    import deepspeed

    optimizer = build_optimizer(module, training, on_gpu)
    engine, *_ = deepspeed.initialize(
        model=module,
        model_parameters=[parameter for group in optimizer.param_groups for parameter in group["params"]],
        optimizer=optimizer,
        config=zero_config(training, on_gpu),
    )
    assert isinstance(engine, deepspeed.DeepSpeedEngine)
    assert engine.zero_optimization_stage() == training.zero_stage
    return engine


def join_workers(on_gpu: bool) -> None:
    """Initialize the process group of DeepSpeed's engines.

    Without the collective that DeepSpeed compiles for inference on CPUs, which no training uses: if a worker
    is killed while it compiles, the lock stays, and every later training hangs.
    """
    import deepspeed

    if not on_gpu:  # on GPUs it is not built, and this lookup would run compilers
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="nccl" if on_gpu else "gloo")


def use_cores(local_workers: int) -> None:
    """Divide the machine's cores among its workers; Ray gives a process that requests half a CPU one thread.

    On GPUs too: an optimizer that is offloaded to CPU memory runs there. Its code, compiled on first use, has its
    own OpenMP, which reads the number from the environment when it is loaded.
    """
    cores = max(1, (os.cpu_count() or 1) // local_workers)
    os.environ["OMP_NUM_THREADS"] = str(cores)
    torch.set_num_threads(cores)


def fix_loaded_optimizer(engine: Any) -> None:
    """Fix the optimizer state of an engine that loaded a checkpoint.

    From a universal checkpoint DeepSpeed loads the saved settings alone, and one step count for all parameter
    groups, on the device where it was saved. The fused Adam increments that count in place, on the GPU of its
    moments; DeepSpeed's CPU Adam requires a number.
    """
    inner = engine.optimizer.optimizer
    for group in inner.param_groups:
        for name, value in inner.defaults.items():
            group.setdefault(name, value)
    fused = isinstance(inner, torch.optim.AdamW)
    for state in inner.state.values():
        if "step" in state:
            count = float(state["step"])
            state["step"] = torch.tensor(count, device=state["exp_avg"].device) if fused else int(count)


def learning_rate(training: Training, step: int, steps: int) -> float:
    """Return the learning rate of a step (from 0): it rises in the warm-up, then decays until the last step."""
    warmup = math.ceil(training.warmup_ratio * steps)
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(steps - 1 - warmup, 1)
    decayed = {"linear": done, "cosine": (1 - math.cos(math.pi * done)) / 2, "constant": 0.0}
    span = training.final_learning_rate - training.learning_rate
    return training.learning_rate + span * decayed[training.lr_scheduler_type]
