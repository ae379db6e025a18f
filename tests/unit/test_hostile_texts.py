"""No text of a model or a user takes long to process: only a hang reaches the time limit."""

from collections.abc import Callable

import pytest

from factory.config import Quality, Safety
from factory.curation.rules import personal_data, toxicity
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.custom_rules import PatternRule
from factory.curation.rules.endings import is_complete
from factory.curation.rules.rule import Rule
from factory.evaluation import rubric, verdict_parsing
from factory.evaluation.general_ability.ifeval import VerifiableInstruction, failed_checks
from factory.evaluation.judge_check.pairwise import parse_pair_verdict
from factory.evaluation.parity import fork_rules
from factory.evaluation.verdict_statements import MAX_CHARACTERS
from factory.inference import json_reply
from factory.personagym import fill_slots
from factory.playground.streaming import repair_text
from factory.population.first_person import has_first_person
from factory.population.reply_figures import opening
from factory.population.word_moments import word_vector
from factory.records import Message, ProfileFields, TokenChoice
from factory.synthesis.facts import find_lost_fact
from factory.synthesis.given.given_rows import read_given
from factory.synthesis.profile_rules.long_items import prompt_ngrams
from factory.synthesis.profile_rules.profile_check import broken_rules
from factory.text import control_tokens, language, markdown_cells, normalize, redaction, thoughts
from tests.hard_texts import HOSTILE
from tests.made_cards import made_card
from tests.unit.test_ifeval_file import CASES as IFEVAL

CHECKS = VerifiableInstruction.model_validate(
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
            *({"kind": "ifeval", "rule": rule, "arguments": arguments} for rule, arguments, *_ in IFEVAL),
        ],
    }
)


def rule_on_reply(rule: Rule) -> Callable[[str], object]:
    """Return a function that applies a rule to a hostile reply."""

    def find(text: str) -> str | None:
        messages = (Message("system", "x"), Message("user", "How?"), Message("assistant", text))
        return rule.find(DialogueContext(messages, "a baker", "Name: Ada\nAge: 34", (), frozenset({"ENGLISH"})))

    return find


def rule_on_reference(rule: Rule) -> Callable[[str], object]:
    """Return a function that applies a rule to a hostile reply, request and reference, and to a plain reply."""

    def find(text: str) -> list[str | None]:
        replies = (
            (Message("user", text), Message("assistant", text)),
            (Message("user", text), Message("assistant", "So.")),
        )
        return [rule.find(DialogueContext(messages, "a baker", "Name: Ada", (text,))) for messages in replies]

    return find


COMPARING = ("copied_reference", "echoes_request", "lost_numbers", "lost_code", "lost_names", "lost_substance")
ESCAPE = control_tokens.TokenEscape(["<|im_end|>", "<<", "[/INST]", "a\n"])
READERS: dict[str, Callable[[str], object]] = {
    "card": lambda text: read_given(made_card(1, description=text[:15_000]), "English"),
    "profile_rules": lambda text: list(
        broken_rules(dict.fromkeys(ProfileFields.model_fields, text), "a baker", "English", prompt_ngrams("A baker."))
    ),
    "fact": lambda text: find_lost_fact({"occupation": text[:2000]}, {"experience": text}),
    **{name: rule_on_reply(rule) for name, rule in Quality().rules.items()},
    **{
        f"{name} of a reference": rule_on_reference(rule) for name, rule in Quality().rules.items() if name in COMPARING
    },
    "custom rule": rule_on_reply(PatternRule(name="catastrophic", pattern=r"(a+)+$|(\w*\s*)*!!$|(.*x){9}y")),
    "is_complete": lambda text: is_complete(text, ("Ada",)),
    "personal_data": lambda text: personal_data.find_personal_data(text, Safety().personal_data, ()),
    "toxicity": toxicity.parts,
    "find_control_token": control_tokens.find_control_token,
    "escape_control_tokens": control_tokens.escape_control_tokens,
    "escape": ESCAPE.escape,
    "unescape": ESCAPE.unescape,
    "split_text": thoughts.split_text,
    "find_thought_mark": thoughts.find_thought_mark,
    "redact_urls": redaction.redact_urls,
    "prose": language.prose,
    "languages_named": language.languages_named,
    "clean_line": normalize.clean_line,
    "clean_paragraphs": normalize.clean_paragraphs,
    "extract_json_object": json_reply.extract_json_object,
    "verdict": lambda text: [verdict_parsing.parse_verdict(part) for part in (text, text[:MAX_CHARACTERS])],
    "expected_score": lambda text: verdict_parsing.expected_score([TokenChoice(text[:MAX_CHARACTERS], {"4": -0.1})], 4),
    "pair verdict": parse_pair_verdict,
    "verifiable": lambda text: failed_checks(CHECKS, text),
    "rubric": lambda text: (rubric.read_rubric("T", text), fill_slots(text, persona=text)),
    "fork rules": lambda text: (fork_rules.shown_examples(text), fork_rules.counted_scores(text)),
    "dataset card": lambda text: (markdown_cells.cell(text), markdown_cells.fenced(text)),
    "repair_text": repair_text,
    "first person": lambda text: [has_first_person(text, one) for one in ("english", "german", "french", "dutch")],
    "opening": opening,
    "word vector": word_vector,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("reader", READERS)
def test_hostile_texts_are_fast(reader):
    for text in HOSTILE:
        READERS[reader](text)
