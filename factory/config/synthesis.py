"""Synthesis: personas, instructions, profiles and dialogues."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from factory.config.cast import LanguageChoice, Quota, Shares
from factory.config.evaluation import AnyJudge, JudgeSampling
from factory.config.paths import Source
from factory.config.sections import Name, Sampling, Section, each_once

Strategy = Literal["generate", "rewrite"]
InstructionFormat = Literal["messages", "sharegpt", "lima", "alpaca", "dolly", "opencharacter", "ph-instruct"]


class Personas(Section):
    """The personas."""

    source: Source
    """JSONL, JSON, CSV, Parquet or text."""
    column: str = "persona"
    limit: int | None = Field(None, ge=1)
    """Read only the first rows of the source."""
    facts: dict[str, str] = Field(default_factory=dict)
    """Columns that are fixed for the profile, by what they are: `{age: age, gender: sex, occupation: occupation}`. They
    are in the prompt (`profile-facts.md`), and a profile without one is rejected: an item of a profile must have the
    words of its fact, other facts must occur in the profile."""
    draw: dict[str, Shares] = Field(default_factory=dict)
    """Traits drawn by a hash of the persona's id and put into the prompt beside the facts:
    `{disposition: {moral: 8, ambiguous: 1.5, immoral: 0.5}, temperament: {calm: 1, irritable: 1}}`."""
    language: Literal["detect"] | LanguageChoice | None = None
    """The language of each profile: of a `column`, drawn by `weights`, or that of the persona (`detect`). null:
    `profiles.language`."""
    quotas: tuple[Quota, ...] = ()
    """Shares of values among the accepted personas; rows above them are rejected by a hash of their ids. With several
    quotas the shares hold in each combination of values."""
    unique: str | None = None
    """A column that is different for each person, such as `uuid`: of rows with the same value the first is accepted."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if both := self.facts.keys() & self.draw.keys():
            raise ValueError(f"{min(both)!r} is in facts and in draw; it is fixed by a column or drawn")
        return self

    @property
    def cast(self) -> dict[str, Any]:
        """The settings besides source, column and limit that are not the default."""
        return self.model_dump(exclude={"source", "column", "limit"}, exclude_defaults=True)


class Instructions(Section):
    """One corpus of instructions."""

    corpus: Name
    """Its name in table names, such as `lima`."""
    source: Source
    format: Literal["auto"] | InstructionFormat = "auto"
    """The format of its rows; `auto` detects it from their columns."""
    limit: int | None = Field(None, ge=1)


class Profiles(Section):
    """Profiles, generated from the personas or given."""

    source: Source | None = None
    """Finished profiles: JSONL, JSON, CSV or Parquet with the columns `persona`, `name`, `age`, `gender`, `race`,
    `birth_place`, `appearance`, `experience`, `personality` and perhaps `language`, or character cards (V2 or V3) as
    JSON or PNG. With `personas` they join the generated profiles, without `personas` they are the only ones."""
    limit: int | None = Field(None, ge=1)
    """Read only the first rows of `source`."""
    language: str = "English"
    """The language of generated profiles, and of given ones that name none."""
    sampling: Sampling = Sampling()
    rules: Literal["reject", "flag", "off"] = "reject"
    """What becomes of a generated profile that breaks a rule, such as a placeholder, the persona as the name, or an
    unfinished sentence: it is rejected, or accepted with the rules' names in the column `flags`. Given profiles are not
    checked."""
    attempts: int = Field(1, ge=1)
    """How often a profile is asked for until it is accepted; 1 in the paper. Another attempt has the same prompt, and a
    temperature of at least 0.5."""
    ending: Literal["sentence", "free"] = "free"
    """`sentence`: engines of kind vllm end appearance, experience and personality with a full stop, so that no bound
    cuts them in mid-word. A very small model then wrote fewer valid profiles."""


class ChoiceOfCandidates(Section):
    """The judge that chooses the best of several candidates."""

    judge: AnyJudge
    """As in `evaluation.judges`; take one that shares no model family with the engine. `evaluation.fleet` is its
    endpoint if the factory serves it."""
    sampling: JudgeSampling = JudgeSampling()
    attempts: int = Field(3, ge=1)
    """Attempts to get a valid verdict."""


class Dialogues(Section):
    """Which dialogues are generated."""

    strategies: Annotated[tuple[Strategy, ...], AfterValidator(each_once)] = Field(("generate",), min_length=1)
    characters_per_instruction: int = Field(3, ge=1)
    """The paper's n."""
    sampling: Sampling = Sampling()
    candidates: int = Field(1, ge=1, le=16)
    """Best of n: dialogues generated for each assignment, of which `choose` keeps the one with the most wins; the
    others are in `passed_over/`. The judge compares each pair in both orders, n (n - 1) requests per assignment, and a
    dialogue wins where it is preferred in both."""
    choose: ChoiceOfCandidates | None = None
    """How the best candidate is chosen; required with more than one."""

    @model_validator(mode="after")
    def _can_choose(self) -> Self:
        if self.candidates > 1 and self.choose is None:
            raise ValueError(
                f"candidates is {self.candidates}, and nothing chooses among them; set choose: {{judge: {{name: a, "
                "model: ...}}}, or candidates: 1"
            )
        return self
