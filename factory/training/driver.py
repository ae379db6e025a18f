"""The driver's part of training: packs, starts the workers, and writes the manifest."""

from dataclasses import asdict

import ray
import ray.data

from factory.config import RunConfig, Training
from factory.errors import ConfigError
from factory.inference.model_files import Located
from factory.inference.stored_models import finished_fingerprint
from factory.records import Counts
from factory.run_output import layout
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, on_gpu
from factory.storage import file_io
from factory.storage.manifest import build_manifest
from factory.storage.tables import Table, compute_fingerprint
from factory.text.redaction import redact_secrets
from factory.training.checkpoint_export import export_checkpoint
from factory.training.checkpointing import checkpoints
from factory.training.data_order import SampleOrder
from factory.training.dialogue import template_identity
from factory.training.metrics_log import MetricsLog
from factory.training.model import resolve_precision
from factory.training.model_card import write_card
from factory.training.model_export import set_aside
from factory.training.monitor import TrainingMonitor
from factory.training.pack_step import PackedTable, pack_split
from factory.training.trackers import start_trackers
from factory.training.training_facts import RESUMABLE
from factory.training.validation_gain import change_until
from factory.training.worker_group import run_workers
from factory.training.worker_setup import WorkerSetup

FINGERPRINT_EXCLUDED = {
    "num_workers", "pool", "accelerator_type", "device", "gradient_checkpointing", "attention", "liger", "fused_loss",
    "max_failures", "eval_steps", "validation_sequences", "sample_replies", "save_steps", "save_minutes",
    "save_total_limit", "max_skipped_steps", "export_checkpoint", "trackers",
}  # fmt: skip
"""Settings that may change between a run and the one that resumes from its checkpoint."""
CHANGEABLE = frozenset({*RESUMABLE, "early_stopping_patience"})
"""Settings that may change as long as a training is not finished; a finished one starts over with others."""


def train(config: RunConfig, model: Located, progress: Progress) -> None:
    """Build `packed/`, `checkpoints/` and `model/` from the curated dialogues, as far as they are missing.

    Raises:
        Stopped: the run received a stop request, and left a checkpoint.
        FactoryError: the run cannot go on; the same command resumes from the last checkpoint.
    """
    packed, table, fingerprint = open_table(config, model, progress)
    training = resolve_precision(config.training)
    order = SampleOrder(list(packed["train"].shards.values()), training.epochs, training.global_batch_size, config.seed)
    finished = table.manifest()
    _check_exported(table, training, finished["steps"] if finished else order.steps)
    model_folder = file_io.join(config.output, layout.MODEL)
    model_fingerprint = _model_fingerprint(fingerprint, training)
    set_aside(config.output, layout.MODEL, model_fingerprint, progress.print)
    if finished and finished_fingerprint(model_folder) == model_fingerprint:
        progress.record_table(finished, skipped=True)
        return
    gpu = on_gpu(training.device)
    setup = WorkerSetup(
        training, model.pinned, model_folder, model_fingerprint, config.seed, gpu, table.path, packed["train"],
        packed["validation"], order,
    )  # fmt: skip
    if not finished:
        _check_newest(table, progress)
    shown = redact_secrets(config.training.model_dump(mode="json"))
    trackers = start_trackers(training.trackers, table.path, fingerprint, shown, progress.print)
    monitor = TrainingMonitor(MetricsLog(table.path, trackers), progress, order.steps)
    progress.start(["training"], order.steps, "steps")
    try:
        if finished:
            monitor.take_from(finished)
        else:
            run_workers(setup, monitor)
        step = _export(setup, monitor.node_id)
    finally:
        progress.stop()
        monitor.log.close()
    _finish(table, config, model, setup, monitor, progress, fingerprint, step)


def _export(setup: WorkerSetup, node_id: str) -> int:
    """Export the model from its checkpoint, and return that checkpoint's step.

    Raises:
        ConfigError: there is no such checkpoint.
        TrainingError: it is damaged.
    """
    chosen = checkpoints.checkpoint_to_export(setup.checkpoints, setup.training.export_checkpoint)
    export_checkpoint(chosen, setup, node_id)
    return chosen.step


def open_table(config: RunConfig, model: Located, progress: Progress) -> tuple[dict[str, PackedTable], Table, str]:
    """Pack the curated dialogues and begin the table of checkpoints; return both, and the training's fingerprint."""
    training = resolve_precision(config.training)
    packed = {split: pack_split(config, model, split, progress) for split in ("train", "validation")}
    table = layout.CHECKPOINTS.table(config.output)
    settings = training.model_dump() | {"chat_template": template_identity(training.chat_template)}
    if settings["initialize_untrained_rows"] is None:
        del settings["initialize_untrained_rows"]  # runs from before it was a setting go on
    fingerprint_inputs = {
        "seed": config.seed,
        "model": asdict(model),
        "packed": [(split.manifest["fingerprint"], split.manifest["finished"]) for split in packed.values()],
        **{name: value for name, value in settings.items() if name not in FINGERPRINT_EXCLUDED},
    }
    fingerprint = compute_fingerprint(fingerprint_inputs)
    table.begin(fingerprint, fingerprint_inputs, progress.print, CHANGEABLE)
    return packed, table, fingerprint


def _model_fingerprint(fingerprint: str, training: Training) -> str:
    """Return the fingerprint of the exported model: that of its training, unless it is not the last checkpoint."""
    if training.export_checkpoint == "last":
        return fingerprint
    return compute_fingerprint({"training": fingerprint, "export_checkpoint": training.export_checkpoint})


def _check_newest(table: Table, progress: Progress) -> None:
    """Check the newest checkpoint byte by byte, mark damaged ones, and report the step to resume from."""
    for path in checkpoints.unreadable(table.path):
        checkpoints.mark_damaged(path)
    for checkpoint in checkpoints.finished_checkpoints(table.path):
        if not checkpoint.is_resumable:
            continue
        if not any(ray.get([_changed_files.remote(checkpoint, [name]) for name in checkpoint.files])):
            break
        checkpoints.mark_damaged(checkpoint.path)
    for name in checkpoints.damaged(table.path):
        progress.print(f"training: the checkpoint {name} is damaged; it is kept, and not used")
    if found := checkpoints.newest(table.path):
        progress.print(f"training: resuming from step {found.step}")


def _check_exported(table: Table, training: Training, steps: int) -> None:
    """Check that the checkpoint to export is there, or is still to come.

    Raises:
        ConfigError: it is not, and training would only find out at its end.
    """
    complete = checkpoints.complete_checkpoints(table.path)
    done = complete[0].step if complete else 0
    step, name = training.export_step, training.export_checkpoint
    if step is not None and not done < step <= steps and checkpoints.choose(complete, name) is None:
        raise ConfigError(checkpoints.no_such_checkpoint(complete, name))


@ray.remote(num_cpus=IO_TASK_CPUS)
def _changed_files(checkpoint: checkpoints.Checkpoint, names: list[str]) -> list[str]:
    return checkpoints.changed_files(checkpoint, names)


def _finish(
    table: Table,
    config: RunConfig,
    model: Located,
    setup: WorkerSetup,
    monitor: TrainingMonitor,
    progress: Progress,
    fingerprint: str,
    exported_step: int,
) -> None:
    ended = monitor.ended
    change = change_until(Table(table.path, "validation"), exported_step, setup.seed)
    dialogues = Counts(ok=setup.train.manifest["ok"])
    steps = monitor.log.rows("step")
    manifest = build_manifest(
        table.name,
        dialogues.rows,
        dialogues,
        progress.timing(dialogues),
        fingerprint,
        model=asdict(model),
        steps=ended["step"],
        planned_steps=setup.order.steps,
        stopped_early=ended["stopped_early"],
        exported_step=exported_step,
        **monitor.log.facts(),
        epochs=setup.training.epochs,
        tokens=sum(row["tokens"] for row in steps),
        train_loss=steps[-1]["loss"] if steps else float("nan"),
        validation=change and asdict(change) | {"significant": change.significant},
        trained_by=monitor.trained_by,
        checkpoint_seconds=round(monitor.blocked_seconds, 1),
    )
    write_card(config, setup, manifest)
    table.finish(manifest)
    progress.record_table(manifest)
    progress.print(change.sentence if change else "Change of the validation loss unknown: the validations before and "
                 "after training have no dialogue in common")  # fmt: skip
