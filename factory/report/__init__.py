"""What people look at, hand on and play with after a run."""
