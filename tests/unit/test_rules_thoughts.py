"""Replies with what is left of a model's thoughts are rejected, and texts about thinking or tags are kept."""

import json

import pytest

from factory.config import Quality
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.quality import check_quality
from factory.records import Completion, Message, Persona, Profile, Reject
from factory.synthesis.profiles import parse_profile
from factory.text.thoughts import MARKS, find_thought_mark, split_text

RULE = Quality().leaked_thoughts
SAID = "Listen, love: flour, water, salt and an early night. That is all there is to bread."
LEFT = [
    f"<think>\nShe asks about bread.\n</think>\n\n{SAID}",
    f"She asks about bread.\n</think>\n\n{SAID}",
    f"She asks about bread. </think> {SAID}",
    f"{SAID}\n<think>Is that enough?",
    f"[THINK]She asks about bread.[/THINK]{SAID}",
    f"She asks about bread.[/THINK]{SAID}",
    f"<seed:think>bread</seed:think>{SAID}",
    f"<|START_THINKING|>bread<|END_THINKING|>{SAID}",
    f"<|channel|>analysis<|message|>bread<|end|><|start|>assistant<|channel|>final<|message|>{SAID}",
    f"<|channel>thought\nbread<channel|>{SAID}",
    f"analysisShe asks about bread.assistantfinal{SAID}",
    "analysisWe need to answer as Ada, who is a baker.",
    f"bread assistantanalysis more bread {SAID}",
    f"<reasoning>She asks about bread.</reasoning>\n{SAID}",
    f"<reasoning>\nShe asks about bread.\n\n{SAID}",
    f"She asks about bread.\n</reasoning>\n\n{SAID}",
    f"{SAID}\n\n**<thinking>** Was that in character?",
    f"<Thinking>bread</Thinking>{SAID}",
    f"<thought>bread</thought>{SAID}",
    f"<reflection>bread</reflection> {SAID}",
    f"{SAID} </analysis>",
    f"<|begin_of_thought|>bread<|end_of_thought|>{SAID}",
    f"◁think▷bread◁/think▷{SAID}",
    f"She asks about XML: `<reasoning>`. </reasoning> {SAID}",
]
GOOD = [
    "I think bread is thinking, love, and I thought so all my life.",
    "My reasoning is simple. Analysis comes after breakfast.",
    "analysis of the dough takes a morning, and the final word is the oven's.",
    "Analysis: the yeast sleeps. Final: wake it.",
    "Put your steps between <reasoning> and </reasoning>, and the answer behind them.",
    "The tag <thinking> opens what </thinking> closes; so does <analysis>, I am told.",
    "A model writes its <scratchpad> there, my nephew says.",
    "```xml\n<think>\nflour\n</think>\n```\nThat is how they write it.",
    "The mark `</think>` ends a thought.",
    "*thinks* Hm. [thinking] Yes. (thinking aloud) Bread.",
    "</p> closes a paragraph and <b>this</b> is bold.",
    "The assistant's final word, and the assistant final exam, were mine.",
    "She <thinks> too much; a man <thoughtfully> kneads.",
]


def dialogue(*turns: str) -> DialogueContext:
    messages = (Message(("user", "assistant")[n % 2], turn) for n, turn in enumerate(turns))
    return DialogueContext((Message("system", "x"), *messages), "a baker", "Name: Ada\nAge: 34")


@pytest.mark.parametrize("text", LEFT)
def test_what_is_left_of_thoughts_is_rejected(text):
    assert RULE.find(dialogue("How is bread made?", SAID, "And?", text))
    assert check_quality(dialogue("How is bread made?", text), Quality()).reason == "leaked_thoughts"


@pytest.mark.parametrize("text", [*GOOD, SAID])
def test_texts_about_thinking_are_kept(text):
    assert RULE.find(dialogue("How is bread made?", text)) is None


def test_a_mark_that_the_user_asks_about_is_kept():
    assert RULE.find(dialogue("What does </think> mean?", "The mark </think> ends a thought.")) is None
    assert RULE.find(dialogue("What does </think> mean?", "It ends a thought.\n<reasoning>Hm")) == "<reasoning>"


@pytest.mark.parametrize("pair", MARKS)
def test_every_mark_that_is_split_off_is_also_found(pair):
    for text in (f"{pair[0]}hm", f"hm{pair[1]}Hello.", f"{pair[0]}hm{pair[1]}Hello."):
        assert find_thought_mark(text)
        assert find_thought_mark(split_text(text).text) is None


def test_profiles_with_thoughts_in_them_are_rejected():
    items = dict.fromkeys(("name", "age", "gender", "race", "birth_place", "appearance", "experience"), "Ada")

    def parsed(personality: str) -> Profile | Reject:
        reply = json.dumps(items | {"personality": personality})
        return parse_profile("English", Persona("c", "a baker"), Completion((reply,)))

    assert isinstance(parsed("Patient. I think she is kind."), Profile)
    for left in ("Patient.</think>", "<reasoning>She is patient."):
        assert parsed(left).reason == "leaked_thoughts"
