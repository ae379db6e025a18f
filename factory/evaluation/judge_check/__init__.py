"""Judge check: scores and comparisons of answer pairs whose order is known."""
