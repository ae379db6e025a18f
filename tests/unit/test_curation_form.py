"""Rules about the form of replies, each with what it must let through."""

import pytest

from factory.config import Quality
from factory.curation.rules.context import DialogueContext, RuleSettings
from factory.curation.rules.reply_form import (
    copied_reference,
    repetition,
    too_short,
    unfinished_sentence,
    wrong_language,
)
from factory.records import Message

BOOK = RuleSettings(Quality(), frozenset({"ENGLISH"}))
BREAD = (
    "Flour, water and salt is all it takes, love. Knead it until it stops sticking to your hands, "
    "leave it under a cloth while you do the washing, and bake it hot."
)


def case(*turns: str, references: tuple[str, ...] = ()) -> DialogueContext:
    """A dialogue of user and assistant in turn."""
    roles = ("user", "assistant")
    messages = (Message("system", "x"), *(Message(roles[n % 2], turn) for n, turn in enumerate(turns)))
    return DialogueContext(messages, "a baker", "Name: Ada", references)


def reply(text: str, asked: str = "How do I bake bread?") -> DialogueContext:
    return case(asked, text)


@pytest.mark.parametrize("text", ["", "...", "Theo", "in order", "🙂🙂🙂", "네 맞아"])
def test_next_to_no_words_are_too_short(text):
    assert too_short(reply(text), BOOK)


@pytest.mark.parametrize(
    "text",
    [
        "4.1.2.2.1",
        "1 2 3 4 5 6 7 8 9 10",
        "(555) 010-4477",
        "25 + 17 = 42 ✔ 42 - 17 = 25 ✔",
        "x^2 + y^2 = z^2",
        "١٢ ٣٤ ٥٦ ٧٨",
        "๑๒ ๓๔ ๕๖",
        "*** 3 *** 2 *** 1 *** 🎉",
        "2 x 3 = ?\n4 x 5 = ?",
    ],
)
def test_numbers_and_symbols_alone_are_too_short(text):
    assert too_short(reply(text), BOOK)


@pytest.mark.parametrize(
    "text",
    [
        "It is four.",
        "Static and Steam",
        "四です。",
        "물론 그렇게 하지요",
        "At 5:30.",
        "Пятый дом, 2 этаж",
        "١٢ كيلو طحين",
        "12 กิโลเมตร",
        "三百五十四",
        "1. Flour 2. Salt 3. 42",
        "आटा २ किलो",
    ],
)
def test_a_short_answer_may_be_a_good_one(text):
    assert too_short(reply(text), BOOK) is None


def test_one_empty_reply_spoils_a_dialogue():
    found = too_short(case("Hello there!", BREAD, "And then?", "Oh"), BOOK)
    assert found == "reply 2 has 1 words"


@pytest.mark.parametrize(
    "text",
    [
        f"{BREAD} And when the crust has gone dark at the edges you take it out and you put it on a",
        f"{BREAD}\nNow for the rest of the family you will want to make three more of them,",
        "Here is how:\n```python\nprint('bread')\n",
        "Drei Dinge sind wichtig. Erstens das Mehl, zweitens das Wasser und drittens, was die meisten Leute immer wie",
        "1. Mix the flour with the water and the salt in a big bowl.\n"
        "2. Then take the dough and fold it over and over on the floured board until it is no lon",
        "小麦粉と水と塩だけです。よくこねてから布をかけて一時間ほど休ませ、それから熱いかまどで焼いてくだ",
    ],
)
def test_an_end_in_the_middle_is_cut_off(text):
    assert unfinished_sentence(reply(text), BOOK)


@pytest.mark.parametrize(
    "text",
    [
        BREAD,
        f"{BREAD}\n\nYours, with flour on my sleeves,\nAda Oduya of the corner bakery",
        "The rain came down on platform nine\nand no one saw it go,\nmy old umbrella, black, not mine,\nstood there",
        "You need:\n- two cups of the strong flour that the mill by the river sells in paper bags\n- water\n- salt",
        f"{BREAD} *wipes both hands on the apron and leans over the counter to look at you*",
        f'{BREAD} As my aunt used to say to everybody who came in: "Bread waits for nobody, child"',
        f"{BREAD} Read the rest of what I have to say about it at https://example.org/bread",
        "Bread: done!\n```python\nfor loaf in oven: loaf.take_out_of_the_oven_and_put_it_on_the_rack_to_cool\n```",
        "lol yeah i just throw it all in a bowl and hope for the best and somehow it works out every single time",
        "ขนมปังต้องใช้แป้ง น้ำ และเกลือ นวดให้นุ่มแล้วพักไว้หนึ่งชั่วโมง จากนั้นอบในเตาที่ร้อนจัดจนเหลืองสวย",
        f"{BREAD} Come and get it while it is hot, my dears, and bring your friends #bread #morning",
        f"{BREAD} That is how my mother did it and how I do it to this very day, my friend 🙂",
    ],
)
def test_an_end_without_a_full_stop_may_be_an_end(text):
    assert unfinished_sentence(reply(text), BOOK) is None


LOOP = "I am a baker and I bake the bread for all of you. "


@pytest.mark.parametrize(
    "text",
    [
        LOOP * 6,
        BREAD + " And so on and so on" * 12,
        "Well. " + "no " * 30,
        "\n".join(f"{n}. Knead the dough until it is smooth and shiny." for n in range(1, 9)),
        f"{BREAD} ha{'ha' * 40}",
        "面包很好吃我很喜欢。" * 8,
        LOOP * 2 + "I like it. " + LOOP * 3 + "Really, I do. " + LOOP * 3,
    ],
)
def test_a_reply_that_goes_in_circles_is_a_repetition(text):
    assert repetition(reply(text), BOOK)


POEM = """Bake it brown and bake it slow,
   roll the dough and let it grow,
sing, my oven, sing.
In the morning, dark and cold,
I light the fire as did of old
my mother with her apron on
and flour in her hair.
Bake it brown and bake it slow,
   roll the dough and let it grow,
sing, my oven, sing.
The baker's boy is at the door,
he wants a loaf and then one more,
and pays me with a button, for
he has no coin to spare.
Bake it brown and bake it slow,
   roll the dough and let it grow,
sing, my oven, sing."""


@pytest.mark.parametrize(
    "text",
    [
        BREAD,
        POEM,
        "No, no, no, no! Never, never, never put the dough in a cold oven.",
        "\n".join(f"{n} x 7 = {7 * n}" for n in range(1, 13)),
        "Tick, tock, tick, tock, tick, tock, says the clock over the oven, and I wait.",
        "```\n" + "row = row + 1\n" * 12 + "```\nThat is the loop, written out for you.",
        "Hahahaha! You put sugar in it? Ha!",
        "| loaf | price |\n| --- | --- |\n| rye | 3 |\n| wheat | 2 |\n| spelt | 4 |\n| oat | 3 |",
    ],
)
def test_refrains_emphasis_and_tables_are_no_loops(text):
    assert repetition(reply(text), BOOK) is None


def test_the_same_long_reply_to_two_turns_is_a_repetition():
    assert repetition(case("How do I bake bread?", BREAD, "And cake?", BREAD), BOOK) == "the same reply twice"
    assert repetition(case("Thanks!", "You're welcome, love.", "Bye!", "You're welcome, love."), BOOK) is None


REFERENCE = "Mix flour, water and salt, knead the dough for ten minutes, let it rise and bake it at 230 degrees."


@pytest.mark.parametrize("text", [REFERENCE, REFERENCE.upper(), f"  {REFERENCE}\n", REFERENCE.replace("ten", "10")])
def test_an_unchanged_reference_is_copied(text):
    assert copied_reference(case("How?", text, references=(REFERENCE,)), RuleSettings(Quality(max_copied=0.7)))


def test_a_reference_told_in_another_voice_is_not_copied():
    told = f"Listen, love: {REFERENCE.lower()} And don't you dare open that door before it's brown!"
    assert copied_reference(case("How?", told, references=(REFERENCE,)), BOOK) is None
    assert copied_reference(case("How?", REFERENCE), BOOK) is None, "a generated reply has no reference"


def test_one_copied_reply_of_many_counts_if_it_is_long():
    both = (REFERENCE, "You're welcome!")
    assert copied_reference(case("How?", BREAD, "Thanks!", both[1], references=both), BOOK) is None
    assert copied_reference(case("How?", REFERENCE, "Thanks!", "Any time, love.", references=both), BOOK)
    assert copied_reference(case("Thanks!", both[1], references=both[1:]), BOOK) == "reply 1 is its reference"


SPANISH = "El pan se hace con harina, agua y sal, y hay que amasarlo con mucho cariño antes de meterlo en el horno."
KOREAN = (
    "빵은 밀가루와 물과 소금으로 만들지요. 반죽이 손에 붙지 않을 때까지 치대고 한 시간쯤 쉬게 한 다음 "
    "뜨거운 오븐에 넣어 노릇노릇해질 때까지 구우면 된답니다. 우리 할머니가 늘 그렇게 하셨어요."
)
GERMAN = "Das Brot braucht nur Mehl, Wasser und Salz, und wer es lange genug knetet, der wird satt und zufrieden."


@pytest.mark.parametrize("text", [SPANISH, KOREAN, GERMAN])
def test_a_reply_in_a_language_that_nobody_asked_for_is_wrong(text):
    assert wrong_language(reply(text), BOOK)
    assert wrong_language(reply(BREAD, asked=GERMAN), RuleSettings(Quality(), frozenset({"KOREAN"})))


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("How do I bake bread?", BREAD),
        ("¿Cómo se hace el pan en casa si no tengo horno?", SPANISH),
        ("Write it in Spanish, please.", SPANISH),
        ("¿Y el pan?", SPANISH),
        ("Wie backe ich Brot?", GERMAN),
        ("Tell my German neighbour how to bake.", GERMAN),
        ("How do I say cheers?", "Prost! Santé! Salud!"),
        (
            "What is it?",
            "It is $\\sigma = \\sqrt{\\frac{1}{3} (x^2 + y^2)}$ and\n\\[\\mu = \\alpha + \\beta\\]\nand that is all.",
        ),
        ("How do I print?", "```\n" + "pan = harina + agua\n" * 8 + "```\nThere you are, love, that prints the bread."),
    ],
)
def test_a_reply_may_be_in_the_users_language_or_in_one_that_is_asked_for(asked, text):
    assert wrong_language(reply(text, asked), BOOK) is None


def test_a_word_or_two_of_the_users_excuse_no_language():
    assert wrong_language(case("How do I bake bread?", BREAD, "And then?", GERMAN), BOOK)
    assert wrong_language(case("How do I bake bread?", BREAD, "Und wie lange bleibt es im Ofen?", GERMAN), BOOK) is None


def test_languages_that_are_hard_to_tell_apart_excuse_one_another():
    asked = "Hvordan baker jeg et godt brød hjemme når jeg ikke har noen ovn, og hvor lenge skal deigen heve?"
    told = "Du skal bruge mel, vand og salt, og så skal dejen hæve i en time, før du bager brødet i en varm ovn."
    assert wrong_language(reply(told, asked), BOOK) is None
    assert wrong_language(reply(told), BOOK)


def test_characters_may_speak_their_own_language():
    assert wrong_language(reply(KOREAN), RuleSettings(Quality(), frozenset({"KOREAN"}))) is None
    assert wrong_language(reply(KOREAN), RuleSettings(Quality())) is None, "a language that the detector does not know"


def test_a_rewritten_reply_keeps_its_references_language():
    assert (
        wrong_language(case("How?", SPANISH, references=("Harina, agua y sal, y mucho tiempo en el horno.",)), BOOK)
        is None
    )
