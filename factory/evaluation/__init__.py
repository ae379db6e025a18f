"""Evaluation of models: answers to a benchmark, judged one at a time, and their scores."""
