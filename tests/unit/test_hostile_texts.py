"""No text from a model or a user takes long to process; only a hang reaches the time limit."""

from collections.abc import Callable

import pytest

from factory.config import Quality, Safety
from factory.curation.rules import personal_data, toxicity
from factory.curation.rules.context import DialogueContext, RuleSettings
from factory.curation.rules.endings import is_whole
from factory.curation.rules.quality import RULES
from factory.evaluation import rubric, verdict_parsing
from factory.evaluation.general_ability.ifeval import Verifiable, failed_checks
from factory.export import dataset_card
from factory.inference import json_reply
from factory.playground.streaming import legible
from factory.records import Message, TokenChoice
from factory.text import control_tokens, language, normalize, redaction
from tests.hard_texts import HOSTILE

BOOK = RuleSettings(Quality(), frozenset({"ENGLISH"}))
CHECKS = Verifiable.model_validate(
    {
        "id": "all",
        "instruction": "Do it all.",
        "checks": [
            *({"kind": kind, "count": 3} for kind in ("max_words", "min_words", "bullets", "sentences", "numbered")),
            {"kind": "paragraphs", "count": 3},
            {"kind": "json", "keys": ["a"]},
            {"kind": "keyword", "words": ["bread", "aa"]},
            {"kind": "without", "texts": ["bread", "a"]},
            {"kind": "starts_with", "text": "x"},
            {"kind": "ends_with", "text": "x"},
            {"kind": "uppercase"},
            {"kind": "lowercase"},
            {"kind": "one_of", "options": ["a", "b"]},
        ],
    }
)


def rule(judge: Callable[[DialogueContext, RuleSettings], str | None]) -> Callable[[str], object]:
    """Return a function that applies a rule to a reply."""

    def judged(text: str) -> str | None:
        messages = (Message("system", "x"), Message("user", "How?"), Message("assistant", text))
        return judge(DialogueContext(messages, "a baker", "Name: Ada\nAge: 34"), BOOK)

    return judged


READERS: dict[str, Callable[[str], object]] = {
    **{name: rule(judge) for name, judge in RULES},
    "is_whole": lambda text: is_whole(text, ("Ada",)),
    "personal_data": lambda text: personal_data.find_personal_data(text, Safety().personal_data, ()),
    "toxicity": toxicity.parts,
    "find_control_token": control_tokens.find_control_token,
    "escape_control_tokens": control_tokens.escape_control_tokens,
    "redact_urls": redaction.redact_urls,
    "prose": language.prose,
    "languages_named": language.languages_named,
    "clean_line": normalize.clean_line,
    "clean_paragraphs": normalize.clean_paragraphs,
    "extract_json_object": json_reply.extract_json_object,
    "verdict": lambda text: (verdict_parsing.parse_verdict(text), verdict_parsing.parse_final_score(text)),
    "expected_score": lambda text: verdict_parsing.expected_score([TokenChoice(text, {"4": -0.1})], 4),
    "verifiable": lambda text: failed_checks(CHECKS, text),
    "rubric": lambda text: rubric.fill(rubric.read_rubric("T", text), text, text, text, [text]),
    "dataset card": lambda text: (dataset_card.cell(text), dataset_card.fenced(text)),
    "legible": legible,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("reader", READERS)
def test_hostile_texts_are_fast(reader):
    for text in HOSTILE:
        READERS[reader](text)
