"""Curated dialogues to a role-playing model.

curated/ ──tokenise, pack──► packed/ ──Ray Data──► workers of Ray Train, DeepSpeed ZeRO ──► checkpoints/ ──► model/

dialogue       a dialogue to tokens and a loss mask                 (pure)
packing        dialogues to sequences of a fixed size               (pure)
order          which sequence is read at which step                 (pure)
pack           the table of packed sequences                        (Ray Data)
data           what each worker reads of it                         (Ray Data)
model          weights, adapters, and the loss of a packed sequence (torch)
zero           the DeepSpeed engine of a config
checkpoints    folders of training state, whole or not at all
saving         the engine's state to a checkpoint and back
worker         what each training process does                      (Ray Train)
history        metrics by step, as JSONL, for TensorBoard, as a picture
gain           whether the validation loss fell
run            the driver: starts the workers, shows and records what they tell
export         the Hugging Face folder                              (card: its README)
"""
