"""Training: curated dialogues to a role-playing model.

curated/ ──tokenize, pack──► packed/ ──Ray Data──► workers of Ray Train, DeepSpeed ZeRO ──► checkpoints/ ──► model/

driver            starts the workers, and writes the manifest          (Ray Train)
monitor           collects the workers' events, reports progress
pack_step         builds the table of packed sequences                 (Ray Data)
dialogue          tokenizes a dialogue, with its loss mask             (pure)
packing           packs dialogues into sequences                       (pure)
data_order        which sequence is read at which step                 (pure)
data              what each worker reads                               (Ray Data)
worker            the training loop of each worker; worker_setup: its input
train_step        one optimizer step of all workers
bad_steps         when steps that go wrong end a training              (pure)
speed             utilization, and the peaks of GPUs                   (pure)
validation        the loss of each validation dialogue
preemption        stop and save requests, agreed on by all workers
model, attention  the base model, and the loss of a packed sequence    (torch)
deepspeed_engine  the DeepSpeed engine of a config
checkpoints       complete or ignored folders of training state; checkpoint_io: to and from an engine
metrics_log       metrics by step: JSONL, a plot; trackers: TensorBoard, Weights & Biases, trackio, MLflow
training_facts    what the metrics tell: skipped steps, changes        (pure)
validation_gain   whether the validation loss fell                     (pure)
export            the Hugging Face folder; model_card: its README
"""
