"""What curation keeps of the dialogues."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from factory.config.dialogue_judge import DialogueJudge
from factory.config.paths import InputPath
from factory.config.sections import Section, each_once
from factory.config.synthesis import Strategy
from factory.curation.rules.breaks_character import BreaksCharacter
from factory.curation.rules.copied_reference import CopiedReference
from factory.curation.rules.custom_rules import CustomRule
from factory.curation.rules.echoes_request import EchoesRequest
from factory.curation.rules.leaked_prompt import LeakedPrompt
from factory.curation.rules.leaked_thoughts import LeakedThoughts
from factory.curation.rules.lost_code import LostCode
from factory.curation.rules.lost_names import LostNames
from factory.curation.rules.lost_numbers import LostNumbers
from factory.curation.rules.lost_substance import LostSubstance
from factory.curation.rules.only_question import OnlyQuestion
from factory.curation.rules.repetition import Repetition
from factory.curation.rules.rule import Rule
from factory.curation.rules.speaks_for_user import SpeaksForUser
from factory.curation.rules.too_short import TooShort
from factory.curation.rules.unfinished_sentence import UnfinishedSentence
from factory.curation.rules.wrong_language import WrongLanguage


class Quality(Section):
    """Quality rules and their thresholds, in the order in which they are applied.

    A dialogue is rejected by the first rule that it breaks; the rule's name is the reason.
    """

    disabled_rules: tuple[str, ...] = ()
    """Rules that are not applied."""
    leaked_thoughts: LeakedThoughts = LeakedThoughts()  # first, as other rules would name what thoughts look like
    too_short: TooShort = TooShort()
    unfinished_sentence: UnfinishedSentence = UnfinishedSentence()
    repetition: Repetition = Repetition()
    breaks_character: BreaksCharacter = BreaksCharacter()
    leaked_prompt: LeakedPrompt = LeakedPrompt()
    speaks_for_user: SpeaksForUser = SpeaksForUser()
    copied_reference: CopiedReference = CopiedReference()
    echoes_request: EchoesRequest = EchoesRequest()
    only_question: OnlyQuestion = OnlyQuestion()
    lost_numbers: LostNumbers = LostNumbers()
    lost_code: LostCode = LostCode()
    lost_names: LostNames = LostNames()
    lost_substance: LostSubstance = LostSubstance()
    wrong_language: WrongLanguage = WrongLanguage()  # last, because it takes most of the time

    @field_validator("disabled_rules")
    @classmethod
    def _are_rules(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        rules = [name for name in cls.model_fields if name != "disabled_rules"]
        if unknown := [name for name in names if name not in rules]:
            raise ValueError(f"unknown rule {unknown[0]!r}; the rules are {', '.join(rules)}")
        return each_once(names)

    @property
    def rules(self) -> dict[str, Rule]:
        """The enabled rules by name, in order."""
        return {name: rule for name, rule in self if isinstance(rule, Rule) and name not in self.disabled_rules}


PersonalData = Literal["email", "phone", "card", "iban", "national_id"]
SafetyReason = Literal["personal_data", "real_person", "toxic"]
"""Reject reasons that protect people, in the order in which they are checked."""
PERSONAL_DATA: SafetyReason = "personal_data"
"""The reason whose rows hold only a masked excerpt of the dialogue, and whose texts the report does not show."""


def _countries(values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(len(value) == 2 and value.isascii() and value.isupper() for value in values):
        raise ValueError("give countries in two capital letters, such as [US, KR]")
    return values


class Safety(Section):
    """Safety rules (`curation/rules/safety.py`), and the bias statistics of the report."""

    personal_data: Annotated[tuple[PersonalData, ...], AfterValidator(each_once)] = (
        "email",
        "phone",
        "card",
        "iban",
        "national_id",
    )
    """`personal_data`: the kinds that no message may hold; empty turns the rule off."""
    phone_regions: Annotated[tuple[str, ...], AfterValidator(_countries)] = ("US",)
    """Countries (ISO 3166) whose phone numbers are detected without `+` and a country code."""
    toxicity: float | None = Field(0.99, gt=0, lt=1)
    """`toxic`: the probability from which on a part of a reply is offensive (English); null turns the rule off."""
    real_people: bool = True
    """`real_person`: reject dialogues whose persona or profile names a real person."""
    real_people_file: InputPath | None = None
    """Text file with one full name per line; null: the built-in list of well-known people of our time."""
    pair_characters: int = Field(10_000, ge=0)
    """The number of characters among which the report looks for stereotype pairs; 0: none."""
    min_pair_count: int = Field(10, ge=2)
    """Words in the profiles of fewer characters are not tested."""
    pair_significance: float = Field(0.05, gt=0, lt=1)
    """Family-wise error rate: the probability that any pair is listed by chance."""


class MixtureSource(Section):
    """One table of dialogues that goes into the training set."""

    corpus: str
    strategy: Strategy
    weight: float | None = Field(None, gt=0)
    """Its proportion of the training set, relative to the other weights; without weights all rows are kept."""


class NearDuplicates(Section):
    """Which replies count as near-duplicates."""

    threshold: float | None = Field(0.8, ge=0.5, le=0.99)
    """Jaccard similarity of three-word shingles from which on replies are near-duplicates; null keeps all."""


class Curation(Section):
    """Which dialogues become the training set."""

    limit: int | None = Field(None, ge=1)
    """Read only the first dialogues of each table."""
    mixture: tuple[MixtureSource, ...] = ()
    """The tables to use; empty: all dialogues of this config's corpora and strategies."""
    quality: Quality = Quality()
    custom_rules: tuple[CustomRule, ...] = ()
    """Rules of your own, applied in this order after those of `quality`; the reason is `custom_rule`, and `detail`
    begins with the rule's name: `[{name: no-brands, pattern: '(?i)acme', in: replies, when: found}]`."""
    near_duplicates: NearDuplicates = NearDuplicates()
    benchmark: InputPath | None = None
    """A PersonaGym checkout, none of whose texts may be in the training set; null: the built-in one."""
    benchmark_words: int = Field(13, ge=8)
    """This many words in a row of a benchmark text count as that text; 13 is GPT-3's value."""
    judge: DialogueJudge | None = None
    """A judge that reads what passed the rules above, and rejects what is out of character, wrong or no answer."""
    max_per_character: int | None = Field(None, ge=1)
    """The most dialogues per character; applied before the weights of the mixture."""
    validation_fraction: float = Field(0.02, ge=0, lt=1)
    """The fraction of characters that is held out for validation; the paper mentions no validation set."""

    @field_validator("custom_rules")
    @classmethod
    def _rules_differ(cls, rules: tuple[CustomRule, ...]) -> tuple[CustomRule, ...]:
        each_once(tuple(rule.name for rule in rules))
        return rules

    @model_validator(mode="after")
    def _mixture_is_clear(self) -> Self:
        names = [(source.strategy, source.corpus) for source in self.mixture]
        if len(set(names)) < len(names):
            raise ValueError("mixture names a corpus and strategy twice; give it once, with the sum of the weights")
        if len({source.weight is None for source in self.mixture}) > 1:
            raise ValueError("mixture has a weight for some sources only; give each one or none")
        return self
