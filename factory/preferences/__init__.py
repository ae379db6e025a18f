"""Preference pairs: two replies to the same prompt, of which one was preferred, out of what a run has paid for."""
