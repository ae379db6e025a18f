"""Rules for dialogues: pure functions that return what they found, or None.

A quality rule is one module with one `Rule` class, and one line in `factory.config.Quality`.
"""
