"""Finds the fastest settings of vLLM for a run, by trials on the run's own prompts.

    config ──sweep──► a setting changed ──trial──► a small run, and what the plan says with it ──► the best settings

Only settings that change no row are tried.
"""
