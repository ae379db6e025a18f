"""Sections of the report: pure functions from what was gathered to plain data for the page."""
