"""Fault injection at seeded random moments, with checks that nothing is lost: `make chaos`."""
