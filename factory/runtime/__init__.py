"""The Ray session of a run and what happens around it: capacity, progress, metrics, shutdown."""
