"""Figures of a whole population, of characters or of replies, and the alarms that they raise."""
