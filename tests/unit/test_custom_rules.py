"""Rules of the user's own: what they find, and which are refused."""

import pytest

from factory.config import RunConfig
from factory.config.curation import Curation
from factory.config.loading import checked
from factory.curation.curation_inputs import rule_settings
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.custom_rules import broken_rule, check_custom_rules
from factory.errors import ConfigError
from factory.records import Message, Reject

DIALOGUE = DialogueContext(
    (
        Message("system", "You sell ACME goods."),
        Message("user", "Hast du Brötchen?"),
        Message("assistant", "Ja, drei."),
        Message("user", "Von Acme?"),
        Message("assistant", "Über Brot rede ich, ACME kenne ich nicht. Acme!"),
    ),
    "a baker",
    "Name: Ada\nAge: 34",
)
BRANDS = {"name": "no-brands", "pattern": "(?i)acme"}


def find(*rules: dict[str, str]) -> str | None:
    reject = check_custom_rules(DIALOGUE, Curation(custom_rules=rules).custom_rules)
    assert reject is None or reject.reason == "custom_rule"
    return reject and reject.detail


@pytest.mark.parametrize(
    ("rule", "detail"),
    [
        ({}, "no-brands: reply 2 has 'ACME'"),
        ({"in": "requests"}, "no-brands: request 2 has 'Acme'"),
        ({"in": "profile"}, None),
        ({"when": "missing"}, None),
        ({"in": "profile", "when": "missing"}, "no-brands: not in the profile"),
        ({"in": "profile", "pattern": r"Age: \d+"}, "no-brands: profile has 'Age: 34'"),
        ({"pattern": "Ü(ber) B(?P<x>rot)"}, "no-brands: reply 2 has 'Über Brot'"),
        ({"pattern": r"^\pL+,"}, "no-brands: reply 1 has 'Ja,'"),
        ({"pattern": "You sell"}, None),
        ({"pattern": ".+", "in": "requests"}, "no-brands: request 1 has 'Hast du Brötchen?'"),
    ],
)
def test_a_pattern_is_searched_where_it_says(rule, detail):
    assert find(BRANDS | rule) == detail


def test_the_first_broken_rule_is_named():
    rules = [{"name": "later", "pattern": "drei", "when": "missing"}, BRANDS, {"name": "third", "pattern": "Ja"}]
    assert broken_rule(find(*rules)) == "no-brands"
    assert broken_rule(find(*rules[::-1])) == "third"


def test_long_finds_are_shortened():
    text = "a" * 5000
    dialogue = DialogueContext((Message("user", text), Message("assistant", text)), "", "")
    (rule,) = Curation(custom_rules=[{"name": "many", "pattern": "a+"}]).custom_rules
    assert check_custom_rules(dialogue, (rule,)) == Reject("custom_rule", f"many: reply 1 has '{'a' * 100}'")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"pattern": "("}, "'custom_rules.0.pattern' is '(': no regular expression of RE2: missing ): ("),
        ({"pattern": "(?!a)b"}, "no regular expression of RE2: invalid perl operator: (?!"),
        ({"pattern": r"(a)\1"}, "no regular expression of RE2: invalid escape sequence: \\1"),
        ({"pattern": "x{100000}"}, "invalid repetition size"),
        ({"pattern": r"\pL{1000}"}, "pattern too large"),
        ({"pattern": r"(a|b|c)*d(x|y|\pL){0,400}$"}, "too long to compile"),
        ({"pattern": "a*"}, "also matches an empty text"),
        ({"pattern": "a" * 2001}, "at most 2000"),
        ({"name": "No brands"}, "give small letters, digits and hyphens"),
        ({"in": "thoughts"}, "'custom_rules.0.in' is 'thoughts'"),
        ({"wen": "found"}, "did you mean 'when'?"),
    ],
)
def test_a_wrong_rule_is_one_line(rule, said):
    with pytest.raises(ConfigError) as caught:
        checked(Curation, {"custom_rules": [BRANDS | rule]}, "config key")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_rules_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="name each once"):
        checked(Curation, {"custom_rules": [BRANDS, BRANDS]}, "config key")


def test_settings_change_with_the_rules_alone():
    none, one = rule_settings(Curation()), rule_settings(Curation(custom_rules=[BRANDS]))
    assert "custom_rules" not in none
    assert one.pop("custom_rules")[0]["in"] == "replies"
    assert none == one


def test_recorded_settings_can_be_read_again():
    config = RunConfig(output="x", curation={"custom_rules": [BRANDS | {"in": "profile"}]})
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config
