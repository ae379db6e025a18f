"""Rules for generated profiles: pure functions of the eight items that return what they found, or None."""
