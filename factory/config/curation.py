"""What a training set keeps of the dialogues."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from factory.config.paths import InputPath
from factory.config.sections import Section, each_once
from factory.config.synthesis import Strategy

Rule = Literal[
    "too_short",
    "unfinished_sentence",
    "repetition",
    "breaks_character",
    "leaked_prompt",
    "speaks_for_user",
    "copied_reference",
    "wrong_language",
]


class Quality(Section):
    """When a dialogue is left out for what its replies say; `curation/quality.py` has the rules."""

    disabled_rules: Annotated[tuple[Rule, ...], AfterValidator(each_once)] = ()
    """Rules that are not asked."""
    min_words: int = Field(3, ge=1)
    """`too_short`: a reply has fewer words (characters, in scripts without spaces), or numbers and symbols alone."""
    unfinished_min_words: int = Field(12, ge=1)
    """`unfinished_sentence`: a last line of so many words must end as a sentence or a text does; verses are shorter."""
    max_repeated: float = Field(0.5, gt=0, le=1)
    """`repetition`: the most of a reply that may have stood in it before. A song with a refrain has about 0.3."""
    leaked_words: int = Field(12, ge=4)
    """`leaked_prompt`: so many words in a row are those of the profile, the persona or a prompt."""
    max_copied: float = Field(0.9, gt=0, le=1)
    """`copied_reference`: how alike a rewritten reply and its reference may be (Jaccard, of three words in a row)."""
    language_letters: int = Field(60, ge=1)
    """`wrong_language`: replies with fewer letters are too short to tell."""
    language_certainty: float = Field(0.9, ge=0, le=1)
    """`wrong_language`: how likely the other language must be."""


PersonalData = Literal["email", "phone", "card", "iban", "national_id"]
SafetyReason = Literal["personal_data", "real_person", "toxic"]
"""Why a dialogue is left out for the sake of people, in the order in which it is asked."""
PERSONAL_DATA: SafetyReason = "personal_data"
"""The one whose rows hold nothing of the dialogue but a masked excerpt, and whose texts the report does not show."""


def _countries(values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(len(one) == 2 and one.isascii() and one.isupper() for one in values):
        raise ValueError("give countries in two capital letters, such as [US, KR]")
    return values


class Safety(Section):
    """When a dialogue is left out for the sake of people (`curation/safety.py`), and what the report says of bias."""

    personal_data: Annotated[tuple[PersonalData, ...], AfterValidator(each_once)] = (
        "email",
        "phone",
        "card",
        "iban",
        "national_id",
    )
    """`personal_data`: what no message may hold; none: it is not asked."""
    phone_regions: Annotated[tuple[str, ...], AfterValidator(_countries)] = ("US",)
    """Countries (ISO 3166) whose phone numbers are known without the `+` and the country's code."""
    toxicity: float | None = Field(0.99, gt=0, lt=1)
    """`toxic`: a part of a reply is offensive with this probability or more (English); null: it is not asked."""
    real_people: bool = True
    """`real_person`: whether personas and profiles may name none."""
    real_people_file: InputPath | None = None
    """Their full names, one a line; null: the built-in list of well-known people of our time."""
    pair_characters: int = Field(10_000, ge=0)
    """Characters that the report's stereotype pairs are looked for in; 0: in none."""
    min_pair_count: int = Field(10, ge=2)
    """Fewer characters with a word tell nothing of it."""
    pair_significance: float = Field(0.05, gt=0, lt=1)
    """How likely one pair or more may be listed by chance alone, over all that were looked at."""


class MixtureSource(Section):
    """One table of dialogues that goes into the training set."""

    corpus: str
    strategy: Strategy
    weight: float | None = Field(None, gt=0)
    """Its part of the training set, beside the others' weights; without weights all rows are taken."""


class NearDuplicates(Section):
    """Which replies count as near-duplicates."""

    threshold: float | None = Field(0.8, ge=0.5, le=0.99)
    """Jaccard similarity of three-word shingles from which on replies are near-duplicates; null keeps all."""


class Curation(Section):
    """What of the dialogues becomes the training set."""

    limit: int | None = Field(None, ge=1)
    """Read only the first dialogues of each table."""
    mixture: tuple[MixtureSource, ...] = ()
    """Without any, all dialogues of this config's corpora and strategies."""
    quality: Quality = Quality()
    near_duplicates: NearDuplicates = NearDuplicates()
    benchmark: InputPath | None = None
    """The evaluation, none of whose text may be in the set: a PersonaGym checkout; null: the built-in one."""
    benchmark_words: int = Field(13, ge=8)
    """So many words in a row of a benchmark's text are that text; 13 is GPT-3's."""
    max_per_character: int | None = Field(None, ge=1)
    """The most dialogues of one character; the mixture's weights are taken over what this leaves."""
    validation_fraction: float = Field(0.02, ge=0, lt=1)
    """The part of the characters that is kept for validation; the paper does not say whether it has any."""

    @model_validator(mode="after")
    def _mixture_is_clear(self) -> Self:
        names = [(source.strategy, source.corpus) for source in self.mixture]
        if len(set(names)) < len(names):
            raise ValueError("mixture names a corpus and strategy twice; give it once, with the sum of the weights")
        if len({source.weight is None for source in self.mixture}) > 1:
            raise ValueError("mixture has a weight for some sources alone; give each one or none")
        return self
