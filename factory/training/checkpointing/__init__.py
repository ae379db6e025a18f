"""Checkpoints: what a training needs to go on, copied in memory, written in the background, read by each worker."""
