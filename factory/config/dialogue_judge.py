"""A judge as a rule of curation: how it is asked, and which dialogues it lets pass."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from factory.config.evaluation import AnyJudge, EndpointJudge, JudgeSampling, ScriptedJudge, ServedModel, judge_kind
from factory.config.sections import Section, each_once
from factory.config.synthesis import Strategy

JUDGED_REASONS = {"voice": "judged_out_of_voice", "facts": "judged_facts_wrong", "answers": "judged_no_answer"}
"""What a judge scores, and the reason of a reject for it, in the order in which they are looked at."""
AXES = tuple(JUDGED_REASONS)
MinScore = Annotated[int, Field(ge=1, le=5)]


class JudgeRule(Section):
    """Scores from 1 to 5 that a dialogue needs to stay in the curated set."""

    voice: MinScore = 3
    """Below it a dialogue is rejected as `judged_out_of_voice`. Where the judge finds that the request leaves no room
    for a voice, as some technical ones do, voice does not count."""
    facts: MinScore = 3
    """Below it a dialogue is rejected as `judged_facts_wrong`: it contradicts the profile or, if it was rewritten,
    lost or changed facts of the reference."""
    answers: MinScore = 3
    """Below it a dialogue is rejected as `judged_no_answer`."""
    on: Annotated[tuple[Strategy, ...], AfterValidator(each_once)] = Field(("generate", "rewrite"), min_length=1)
    """The strategies whose dialogues are judged."""
    sample: float = Field(1.0, gt=0, le=1)
    """The share of the dialogues that are judged, chosen by hash; the others pass."""
    unreadable: Literal["reject", "keep"] = "reject"
    """What happens to a dialogue without a verdict, after all attempts: it is rejected as `judge_failed`, or passes."""
    min_accuracy: float = Field(0.8, ge=0, le=1)
    """Before it judges dialogues, the judge must give the reply in character the higher score for voice in this share
    of the built-in pairs with a generic reply; equal scores are half a hit. 0: no check."""
    attempts: int = Field(3, ge=1)
    """Attempts to get a valid verdict."""
    sampling: JudgeSampling = JudgeSampling()

    def as_judge(self) -> AnyJudge:
        """Return the judge alone, without log-probabilities, which this rule has no use for."""
        kind = next(kind for kind in (ServedModel, EndpointJudge, ScriptedJudge) if isinstance(self, kind))
        values = {name: getattr(self, name) for name in kind.model_fields}
        return kind.model_validate(values | ({"logprobs": False} if kind is EndpointJudge else {}))


class ServedDialogueJudge(JudgeRule, ServedModel):
    """A judge that the factory serves, at `evaluation.fleet`."""


class EndpointDialogueJudge(JudgeRule, EndpointJudge):
    """A judge behind an OpenAI-compatible endpoint."""


class ScriptedDialogueJudge(JudgeRule, ScriptedJudge):
    """A judge whose verdicts are given as data."""


DialogueJudge = Annotated[
    Annotated[ServedDialogueJudge | EndpointDialogueJudge | ScriptedDialogueJudge, Field(discriminator="kind")],
    BeforeValidator(judge_kind),
]
"""`kind` defaults to openai where there is a `base_url`, else to served."""
