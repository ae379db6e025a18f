"""Lineage: follows any id through all tables, and finds the training examples near the worst answers."""
