"""Curation: dialogues to the training set, with the reason for every dialogue that is left out.

`rules` and everything else that decides about a dialogue is pure; `filter_step`, `dedup_step`,
`select_step` and `write_step` let Ray move the rows.
"""
