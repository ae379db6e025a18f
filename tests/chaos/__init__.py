"""Faults at seeded random moments, and whether anything is lost: `make chaos`."""
