"""Quality rules about the form of replies: what each rejects and what it must accept."""
# ruff: noqa: RUF001 - texts in many scripts

import pytest

from factory.config import Quality
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.copied_reference import CopiedReference
from factory.records import Message
from factory.text.language import detect, detect_expected

RULES = Quality()
ENGLISH = frozenset({"ENGLISH"})
BREAD = (
    "Flour, water and salt is all it takes, love. Knead it until it stops sticking to your hands, "
    "leave it under a cloth while you do the washing, and bake it hot."
)


def dialogue(*turns: str, references: tuple[str, ...] = (), languages: frozenset[str] = ENGLISH) -> DialogueContext:
    """Return a dialogue with alternating turns of user and assistant."""
    roles = ("user", "assistant")
    messages = (Message("system", "x"), *(Message(roles[n % 2], turn) for n, turn in enumerate(turns)))
    return DialogueContext(messages, "a baker", "Name: Ada", references, languages)


def reply(text: str, user: str = "How do I bake bread?", languages: frozenset[str] = ENGLISH) -> DialogueContext:
    return dialogue(user, text, languages=languages)


@pytest.mark.parametrize("text", ["", "...", "Theo", "in order", "🙂🙂🙂", "네 맞아"])
def test_too_short_rejects_few_words(text):
    assert RULES.too_short.find(reply(text))


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
def test_too_short_rejects_numbers_and_symbols(text):
    assert RULES.too_short.find(reply(text))


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
def test_too_short_accepts_short_answers(text):
    assert RULES.too_short.find(reply(text)) is None


def test_too_short_checks_every_reply():
    found = RULES.too_short.find(dialogue("Hello there!", BREAD, "And then?", "Oh"))
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
def test_unfinished_sentence_rejects_cut_replies(text):
    assert RULES.unfinished_sentence.find(reply(text))


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
def test_unfinished_sentence_accepts_other_endings(text):
    assert RULES.unfinished_sentence.find(reply(text)) is None


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
def test_repetition_rejects_loops(text):
    assert RULES.repetition.find(reply(text))


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
def test_repetition_accepts_refrains_and_tables(text):
    assert RULES.repetition.find(reply(text)) is None


def test_repetition_rejects_the_same_long_reply_twice():
    assert RULES.repetition.find(dialogue("How do I bake bread?", BREAD, "And cake?", BREAD)) == "the same reply twice"
    assert RULES.repetition.find(dialogue("Thanks!", "You're welcome, love.", "Bye!", "You're welcome, love.")) is None


REFERENCE = "Mix flour, water and salt, knead the dough for ten minutes, let it rise and bake it at 230 degrees."


@pytest.mark.parametrize("text", [REFERENCE, REFERENCE.upper(), f"  {REFERENCE}\n", REFERENCE.replace("ten", "10")])
def test_copied_reference_rejects_copies(text):
    assert CopiedReference(threshold=0.7).find(dialogue("How?", text, references=(REFERENCE,)))


def test_copied_reference_accepts_another_voice():
    retold = f"Listen, love: {REFERENCE.lower()} And don't you dare open that door before it's brown!"
    assert RULES.copied_reference.find(dialogue("How?", retold, references=(REFERENCE,))) is None
    assert RULES.copied_reference.find(dialogue("How?", REFERENCE)) is None, "a generated reply has no reference"


def test_copied_reference_accepts_a_short_copy():
    both = (REFERENCE, "You're welcome!")
    assert RULES.copied_reference.find(dialogue("How?", BREAD, "Thanks!", both[1], references=both)) is None
    assert RULES.copied_reference.find(dialogue("How?", REFERENCE, "Thanks!", "Any time, love.", references=both))
    assert RULES.copied_reference.find(dialogue("Thanks!", both[1], references=both[1:])) == "reply 1 is its reference"


EDIT = "Correct the sentence.\n\nMy aunt have bake bread in the old oven every morning since ten year."


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("How does a refrigerator keep food cold?", "How does a refrigerator keep food cold?"),
        ("Plan a quiet weekend in a small town by the sea.", "A quiet weekend in a small town by the sea. Plan it!"),
        (EDIT, EDIT),
        ("Wie lagere ich Kartoffeln im Keller, damit sie nicht keimen?", "Wie lagere ich Kartoffeln im Keller, damit?"),
        ("怎样泡一壶好的龙井茶？", "怎样泡一壶好的龙井茶呢？"),
        (
            "김치가 건강에 좋은 이유를 다섯 살 아이에게 설명하듯이 알려 주세요.",
            "김치가 건강에 좋은 이유를 다섯 살 아이에게 설명하듯이",
        ),
    ],
)
def test_echoes_request_rejects_requests(user, text):
    assert RULES.echoes_request.find(reply(text, user))


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("How do I bake bread?", BREAD),
        (EDIT, "My aunt has baked bread in the old oven every morning for ten years."),
        (
            "Repeat after me: I shall never bake bread in a cold oven again.",
            "I shall never bake bread in a cold oven again!",
        ),
        (
            "Sort these alphabetically: rye bread, oat bread, corn bread, wheat",
            "Corn bread, oat bread, rye bread, wheat.",
        ),
        ("Name one bread.", "Name one bread? Rye, love, always rye, with caraway seeds in the crust."),
        ("怎样泡一壶好的龙井茶？", "龙井茶嘛，水烧开放到八十五度，三克茶叶慢慢泡。"),
        ("How?", "How?"),
    ],
)
def test_echoes_request_accepts_answers_and_edited_texts(user, text):
    assert RULES.echoes_request.find(reply(text, user)) is None


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("Write a poem about my bakery.", "What kind of poem would you like to have?"),
        ("How do I bake bread?", '"Which bread do you mean, my love?" *smiles*'),
        ("Schreib mir ein Gedicht über Brot.", "Was für ein Gedicht möchtest du denn haben?"),
        ("请给我写一首关于面包的诗。", "你想要什么样的诗呢？"),
        ("اكتب لي قصيدة عن الخبز من فضلك", "أي نوع من القصائد تريد يا صديقي؟"),
        ("Γράψε μου ένα ποίημα για το ψωμί.", "Τι είδους ποίημα θα ήθελες να σου γράψω;"),
    ],
)
def test_only_question_rejects_questions_in_place_of_answers(user, text):
    assert RULES.only_question.find(reply(text, user))


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ("Ask me something about my bakery, please.", "When did you sell your very first loaf?"),
        ("Formuliere eine Frage für eine Umfrage über Brot.", "Wie oft kaufen Sie Brot beim Bäcker?"),
        ("请你提出一个关于面包的问题。", "你最喜欢哪一种面包呢？"),
        ("Hello there!", "Well hello, and who might you be?"),
        ("How do I bake bread?", "Bread? Flour, water and salt. Can you knead?"),
        ("How do I bake bread?", "Who knows."),
        ("Set the variable i to five in Java.", "int i = 5;"),
        ("How do I bake bread?", "Why?"),
    ],
)
def test_only_question_accepts_questions_that_fit(user, text):
    assert RULES.only_question.find(reply(text, user)) is None


def test_only_question_reads_the_end_of_a_dialogue():
    turns = ("Help me bake a bread.", "Which bread do you mean, love?", "The rye one, of course.", BREAD)
    assert RULES.only_question.find(dialogue(*turns)) is None
    assert RULES.only_question.find(dialogue(*turns[2:], *turns[:2]))
    asked = ("Which bread would you like to bake?",)
    assert RULES.only_question.find(dialogue(*turns[:2], references=asked)) is None, "its reference is a question too"


SPANISH = "El pan se hace con harina, agua y sal, y hay que amasarlo con mucho cariño antes de meterlo en el horno."
KOREAN = (
    "빵은 밀가루와 물과 소금으로 만들지요. 반죽이 손에 붙지 않을 때까지 치대고 한 시간쯤 쉬게 한 다음 "
    "뜨거운 오븐에 넣어 노릇노릇해질 때까지 구우면 된답니다. 우리 할머니가 늘 그렇게 하셨어요."
)
GERMAN = "Das Brot braucht nur Mehl, Wasser und Salz, und wer es lange genug knetet, der wird satt und zufrieden."


@pytest.mark.parametrize("text", [SPANISH, KOREAN, GERMAN])
def test_wrong_language_rejects_other_languages(text):
    assert RULES.wrong_language.find(reply(text))
    assert RULES.wrong_language.find(reply(BREAD, GERMAN, frozenset({"KOREAN"})))


@pytest.mark.parametrize(
    ("user", "text"),
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
def test_wrong_language_accepts_requested_languages(user, text):
    assert RULES.wrong_language.find(reply(text, user)) is None


def test_wrong_language_ignores_very_short_user_turns():
    assert RULES.wrong_language.find(dialogue("How do I bake bread?", BREAD, "And then?", GERMAN))
    assert (
        RULES.wrong_language.find(dialogue("How do I bake bread?", BREAD, "Und wie lange bleibt es im Ofen?", GERMAN))
        is None
    )


def test_wrong_language_groups_similar_languages():
    user = "Hvordan baker jeg et godt brød hjemme når jeg ikke har noen ovn, og hvor lenge skal deigen heve?"
    danish = "Du skal bruge mel, vand og salt, og så skal dejen hæve i en time, før du bager brødet i en varm ovn."
    assert RULES.wrong_language.find(reply(danish, user)) is None
    assert RULES.wrong_language.find(reply(danish))


def test_wrong_language_uses_the_characters_language():
    assert RULES.wrong_language.find(reply(KOREAN, languages=frozenset({"KOREAN"}))) is None
    assert RULES.wrong_language.find(reply(KOREAN, languages=frozenset())) is None, (
        "a language that the detector does not know"
    )


def test_wrong_language_accepts_the_references_language():
    references = ("Harina, agua y sal, y mucho tiempo en el horno.",)
    assert RULES.wrong_language.find(dialogue("How?", SPANISH, references=references)) is None


JAPANESE = "パンは小麦粉と水と塩で作ります。生地をよくこねて、一時間ほど休ませてから、熱いオーブンで焼きます。"
ARABIC = "الخبز يحتاج إلى دقيق وماء وملح فقط، ومن يعجنه وقتا كافيا ثم يتركه يرتاح ساعة قبل الفرن يأكل خبزا طيبا."
CODE = "```\npan = harina + agua + sal + masa + horno\n```\n"


@pytest.mark.parametrize(
    "text",
    [
        *(text * 4 for text in (BREAD, SPANISH, KOREAN, GERMAN, JAPANESE, ARABIC)),
        f"{BREAD[:100]} {GERMAN * 4}",
        f"{GERMAN * 4} {BREAD[:100]}",
        f"{CODE}{BREAD * 3}",
        "1 2 3 4 5 6 7 8 9 " * 40,
        "👩‍🍳🍞 " * 80 + SPANISH * 3,
    ],
)
@pytest.mark.parametrize("expected", ["ENGLISH", "GERMAN", "SPANISH", "KOREAN", "JAPANESE", "ARABIC"])
def test_wrong_language_finds_the_same_in_a_sample(text, expected):
    rule = RULES.wrong_language
    assert rule.detect(text, frozenset({expected})) == rule.detect(text)


def test_wrong_language_needs_the_whole_text_to_reject():
    switched = f"{BREAD} {GERMAN * 4}"
    assert detect_expected(switched, ENGLISH, 0.9) == detect(switched), "the sample is of both languages"
    assert RULES.wrong_language.find(reply(f"{BREAD[:60]} {GERMAN * 4}")) == "reply 1 is in German"
