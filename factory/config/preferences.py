"""Preference pairs for training such as DPO (`character-factory export --format preferences`)."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from factory.config.sections import Section, each_once

PreferenceSource = Literal["votes", "passed_over", "judged"]
PREFERENCE_SOURCES: tuple[PreferenceSource, ...] = get_args(PreferenceSource)
"""In the order in which they are believed, where they disagree about two replies."""


class Preferences(Section):
    """Which pairs of replies are exported as preferences."""

    sources: Annotated[tuple[PreferenceSource, ...], AfterValidator(each_once)] = Field(
        PREFERENCE_SOURCES, min_length=1
    )
    """`votes`: replies in the playground to the same prompt that people like and do not like. `passed_over`: the
    dialogues that lost against others of their assignment (`dialogues.candidates`). `judged`: answers of an evaluation
    to the same question. Those that the run lacks are left out."""
    min_margin: float = Field(1.0, gt=0, le=4)
    """Judged answers are a pair where their mean scores, by the judges that scored both, differ by so many points."""
