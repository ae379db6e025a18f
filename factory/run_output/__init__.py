"""The output folder of a run: where its tables are, and readers for whatever is there."""
