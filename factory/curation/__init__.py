"""Dialogues to the curated training set: what is left out, why, and who is kept for validation.

Everything that judges a dialogue is pure (`quality`, `decontamination`, `near_duplicates`,
`selection`, `figures`); `examining`, `matching`, `selecting` and `writing` let Ray move the rows.
"""
