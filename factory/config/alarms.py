"""Alarms of a population that is less varied than its rows look one by one."""

from pydantic import Field

from factory.config.sections import Section


class Alarms(Section):
    """From where on a run reports that its characters or replies collapse; null turns an alarm off.

    Alarms reject nothing and change no row. Shares alarm when they are above the limit beyond chance, so that small
    runs do not alarm.
    """

    birth_place: float | None = Field(0.1, gt=0, lt=1)
    """The share of accepted profiles with the same birth place."""
    full_name: float | None = Field(0.005, gt=0, lt=1)
    """The share of accepted profiles with the same full name."""
    opening: float | None = Field(0.05, gt=0, lt=1)
    """The share of curated replies with the same first three words (six characters without spaces)."""
    near_duplicates: float | None = Field(0.02, gt=0, lt=1)
    """The share of accepted profiles that have a near-duplicate: a Jaccard similarity of three-word shingles of about
    0.8 in appearance, experience and personality."""
    effective_ratio: float | None = Field(0.5, gt=0)
    """The effective number of profiles over that of their personas; below it, profiles are more alike than what they
    were written from."""
    stratum_rejects: float | None = Field(2.0, gt=1)
    """The share of rejected rows of a quota's value, a drawn trait or a language, over that of all others."""
    no_first_person: float | None = Field(0.5, gt=0, lt=1)
    """The share of curated replies without any first person (English, German, French and Dutch)."""
