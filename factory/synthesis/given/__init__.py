"""Finished profiles as input: rows of tables, and character cards (V2 and V3)."""
