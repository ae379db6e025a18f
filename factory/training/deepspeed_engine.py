"""The DeepSpeed engine of a config: ZeRO 1 to 3, offload, precision, optimizer."""

import os
from typing import Any

import torch

from factory.config import Training

CPU_BUCKET = 1 << 24
"""Gradients that are reduced at once; DeepSpeed's default of 500 million takes 1 GB in each worker, fine on a GPU."""


def zero_config(training: Training, on_gpu: bool, universal: bool = False) -> dict[str, Any]:
    """Return DeepSpeed's config (https://www.deepspeed.ai/docs/config-json/).

    Args:
        training: the settings.
        on_gpu: whether memory can be pinned.
        universal: whether the checkpoint to load was converted for another number of workers.
    """
    zero: dict[str, Any] = {"stage": training.zero_stage}
    if not on_gpu:
        zero["reduce_bucket_size"] = CPU_BUCKET
    on_cpu = {"device": "cpu", "pin_memory": on_gpu}
    if training.offload != "none":
        zero["offload_optimizer"] = on_cpu
    if training.offload == "all":
        zero["offload_param"] = on_cpu
    return {
        "train_micro_batch_size_per_gpu": 1,  # a packed sequence
        "gradient_accumulation_steps": training.global_batch_size // training.num_workers,
        "gradient_clipping": training.max_grad_norm,
        "bf16": {"enabled": training.precision == "bf16"},
        "zero_optimization": zero,
        # DeepSpeed's own CPU optimizer is compiled on first use, which a machine without a GPU can do without.
        "zero_force_ds_cpu_optimizer": on_gpu,
        "checkpoint": {"load_universal": universal},
        "steps_per_print": 10**9,
    }


def build_optimizer(parameters: list[torch.nn.Parameter], training: Training, on_gpu: bool) -> Any:
    """Return Adam with decoupled weight decay."""
    settings: dict[str, Any] = {
        "lr": training.learning_rate,
        "betas": training.betas,
        "weight_decay": training.weight_decay,
    }
    if training.offload != "none" and on_gpu:
        from deepspeed.ops.adam import DeepSpeedCPUAdam

        return DeepSpeedCPUAdam(parameters, **settings)
    return torch.optim.AdamW(parameters, fused=True, **settings)


def build_engine(module: torch.nn.Module, training: Training, on_gpu: bool, universal: bool = False) -> Any:
    """Return the engine that trains a module's parameters, and check its ZeRO stage."""
    import deepspeed

    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    engine, *_ = deepspeed.initialize(
        model=module,
        model_parameters=parameters,
        optimizer=build_optimizer(parameters, training, on_gpu),
        config=zero_config(training, on_gpu, universal),
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
    """Return the learning rate of a step (from 0), which falls linearly from the first step to the last."""
    done = step / max(steps - 1, 1)
    return training.learning_rate + (training.final_learning_rate - training.learning_rate) * done


def consolidated_weights(engine: Any, trained_only: bool) -> dict[str, torch.Tensor] | None:
    """Return all weights on the CPU of rank 0, None elsewhere; every rank must call it.

    Args:
        engine: of any ZeRO stage.
        trained_only: leave frozen parameters out.
    """
    if engine.zero_optimization_stage() == 3:
        state = engine._zero3_consolidated_16bit_state_dict(exclude_frozen_parameters=trained_only)
    else:
        state = engine.module_state_dict(exclude_frozen_parameters=trained_only)
    if torch.distributed.get_rank() != 0:
        return None
    return {name.removeprefix("model."): tensor.detach().cpu().clone() for name, tensor in state.items()}
