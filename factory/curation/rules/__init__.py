"""Rules for dialogues: pure functions that return a reject reason or None."""
