"""Safety rules: personal data, real people and offensive words, and texts that only look like them."""

import json
from pathlib import Path

import numpy as np
import pytest

from factory.config import Safety
from factory.curation.rules.context import DialogueContext
from factory.curation.rules.personal_data import NAMES, check_regions, find_personal_data, personal_data
from factory.curation.rules.real_people import find_names, read_real_people, real_person
from factory.curation.rules.safety import check_safety
from factory.curation.rules.toxicity import PART, parts, toxicities
from factory.errors import ConfigError, InputError
from factory.records import Message

DATA = Path(__file__).parents[2] / "data"
ALL = Safety().personal_data
US = ("US",)
HOSTILE = [
    "\0",
    "\ud800",
    "a",
    "1",
    "1 ",
    "1-",
    "+1 ",
    "@",
    "a@",
    "a.",
    "a@b.",
    "(",
    "+",
    "안녕 ",
    "面",
    "A1",
    "1234 5678 ",
    "$",
]


def dialogue(*turns: str, persona: str = "a baker", profile: str = "Name: Ada Oduya") -> DialogueContext:
    """Return a dialogue with alternating turns of user and assistant."""
    roles = ("user", "assistant")
    spoken = [Message(roles[n % 2], turn) for n, turn in enumerate(turns)]
    return DialogueContext((Message("system", f"{persona}\n{profile}"), *spoken), persona, profile)


def kinds(text: str, *regions: str) -> list[str]:
    return [kind for _, _, kind in find_personal_data(text, ALL, regions or US)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("email", "Write to ada.oduya@lagosbread.com, love."),
        ("email", "제 이메일은 minseo.kim@daum.net입니다."),
        ("email", "<a+b@mail.co.uk>"),
        ("phone", "Ring +44 20 8366 1177 after six."),
        ("phone", "My number is (650) 253-0000."),
        ("phone", "Call +49 30 901820."),
        ("card", "Take my card, 4539 1488 0343 6467, and buy flour."),
        ("card", "371449635398431"),
        ("iban", "Pay to DE89 3704 0044 0532 0130 00 by Friday."),
        ("iban", "GB82WEST12345698765432"),
        ("national_id", "My social is 536-90-4399."),
        ("national_id", "CPF 390.533.447-05"),
        ("national_id", "DNI 54362315K"),
        ("national_id", "RCCMNL83S18D969H"),
    ],
)
def test_personal_data_are_found(kind, text):
    assert kinds(text) == [kind]


def test_national_phone_numbers_need_their_region():
    assert kinds("제 번호는 010-3777-4567입니다.") == []
    assert kinds("제 번호는 010-3777-4567입니다.", "KR") == ["phone"]


@pytest.mark.parametrize(
    "text",
    [
        "I was born in 1984, I am 41 and I have baked 12,500 loaves since 2003-04-01.",
        "It costs $1,299.99, or 1.299,99 €, and the rent is 2,400 a month.",
        "Room 204, at 12:30, gate 7B; flight BA 2490, seat 34C.",
        "ISBN 978-3-16-148410-0, and the older one 0-306-40615-2.",
        "ISBN 9783161484100",
        "Call 555-0123, or (212) 555-0187, or +1 212-555-0147.",
        "Ring 07700 900123 or +44 20 7946 0958.",
        "Write to ada@example.com, to info@bakery.example, or to root@localhost.",
        "Ada @ the bakery, @ada_bakes, a@b",
        "Pi is 3.14159265358979, e is 2.718281828459045, and 1/3 is 0.333333333333.",
        "The years 1914-1918 and 1939-1945; pages 123-456 and 1001-1010.",
        "Scores: 21-19, 21-17, 15-12. Ratio 16:9. 192.168.0.1. Version 10.2.33.",
        "Route 66, Apollo 11, THX 1138, R2-D2, HAL 9000, 1 2 3 4 5 6 7 8 9 10.",
        "Mix 250 g flour, 150 ml water, 5 g salt and 3 g yeast at 230 °C for 35 minutes.",
        "My locker is 12-34-56 and the safe 36-24-36.",
        "Order 1000234567 of 12/05/2021, tracking 00340434161094042557.",
        "Latitude 51.5074, longitude -0.1278; 6,371 km; 299792458 metres a second; 86400 seconds.",
        "4539 1488 0343 6468 fails its check digit, and 000-12-3456 was never given out.",
        "저는 1984년에 태어났고 204호에 살아요. 빵은 3,500원이에요.",
        "La cuenta es de 1.234,56 euros y mi calle es la número 1234.",
    ],
)
def test_numbers_of_stories_are_no_personal_data(text):
    assert kinds(text, "US", "GB", "KR") == []


def test_sample_data_has_no_personal_data_and_no_names():
    people = read_real_people(None)
    for path in sorted(DATA.rglob("*.jsonl")):
        for line in path.read_text().splitlines():
            text = "\n".join(_texts(json.loads(line)))
            assert kinds(text) == [], f"{path.name}: {line[:80]}"
            if path.name == "personas.jsonl":
                assert not list(find_names(text, people)), line


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in items for text in _texts(item)]


def test_personal_data_are_reported_masked():
    text = "Write to ada.oduya@lagosbread.com or +49 30 901820, love."
    found = personal_data(dialogue("How?", "Well.", "And?", text), Safety())
    assert found == "e-mail address in reply 2: Write to [e-mail address] or [telephone number], love."
    assert (
        personal_data(dialogue("I am bo@bread.org", "Hi."), Safety())
        == "e-mail address in user turn 1: I am [e-mail address]"
    )
    found = personal_data(dialogue("Hi.", "Hi.", profile=f"{'long ' * 50}ada@lagosbread.com"), Safety())
    assert found.startswith("e-mail address in the system message: … long long ")
    assert set(NAMES) == set(ALL)


def test_disabled_kinds_are_not_searched():
    mail = dialogue("How?", "Write to ada@lagosbread.com")
    assert personal_data(mail, Safety(personal_data=("phone",))) is None
    assert check_safety(mail, Safety(personal_data=()), None, 0) is None


def test_unknown_regions_are_reported():
    check_regions(("US", "KR"))
    with pytest.raises(ConfigError, match=r"safety.phone_regions: 'XX' is not a supported country"):
        check_regions(("US", "XX"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a fan of Serena Williams who never misses a match", "serena williams"),
        ("Name: SERENA WILLIAMS\nAge: 34", "serena williams"),
        ("He met J.R.R. Tolkien's son.", "j r r tolkien"),
        ("a reader of Gabriel Garcia Marquez", "gabriel garcia marquez"),
        ("lee a Gabriel García Márquez cada noche", "gabriel garcía márquez"),
        ("이름: 손흥민\n나이: 34", "손흥민"),
        ("喜欢村上春樹的读者", "村 上 春 樹"),
    ],
)
def test_full_names_of_real_people_are_found(text, found):
    people = read_real_people(None)
    assert real_person(dialogue("Hi.", "Hi.", persona=text), people) == f"persona: {found}"
    assert real_person(dialogue("Hi.", "Hi.", profile=text), people) == f"profile: {found}"


@pytest.mark.parametrize(
    "text",
    [
        "a tennis coach called Serena who works with Venus",
        "Name: Williams Serenade",
        "a jobs adviser named Steve; gates, bills and cooks",
        "an expert in the martin luther tradition who is king of the hill",
        "Serena. Williamson is her neighbour.",
        "a nurse who loves swift water and taylors",
    ],
)
def test_parts_of_names_are_no_real_people(text):
    assert real_person(dialogue("Hi.", "Hi.", persona=text), read_real_people(None)) is None


def test_real_people_in_replies_are_accepted():
    assert real_person(dialogue("Who?", "Serena Williams, of course."), read_real_people(None)) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# nobody\n\n", "has no name"),
        ("Ada Oduya\nGrace\n", "line 2: 'Grace' is a single word"),
        ("Ada Oduya\n...\n", "line 2: '...' has 0 words"),
        ("one two three four five six seven eight nine", "has 9 words; give a full name"),
    ],
)
def test_invalid_name_lists_are_reported_with_the_line(tmp_path, content, message):
    (tmp_path / "people.txt").write_text(content)
    with pytest.raises(InputError, match=message) as problem:
        read_real_people(str(tmp_path / "people.txt"))
    assert "\n" not in str(problem.value)


def test_custom_name_lists_are_read_and_hashed(tmp_path):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("\ufeff# mine\nAda Oduya\n\nKim Min-seo\n")
    second.write_text("Kim Min-seo\nAda Oduya")
    assert read_real_people(str(first)).names == 2
    assert read_real_people(str(first)).digest == read_real_people(str(second)).digest != read_real_people(None).digest
    first.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8"):
        read_real_people(str(first))
    with pytest.raises(InputError, match="no such file"):
        read_real_people(str(tmp_path / "none.txt"))


LONG = "I knead the dough and let it rest while the oven warms and the street wakes up. " * 12
RUDE = [
    "You stupid fucking bitch, get the fuck out of my shop.",
    f"{LONG}Go to hell, you worthless piece of shit, and shut the fuck up. {LONG}",
]
MILD = [
    LONG,
    "Get out of my sight, villain! I will have my revenge, and you shall kneel before the sword.",
    "I killed the dragon and cut off its head; blood ran down the mountain, and the witch cursed us all.",
    "The rooster crows at five, the donkey brays, and the sow has had her piglets.",
    "Damn it, sailor, that was a hell of a storm.",
    "As a gay man from Lagos I know what it takes, and my wife is a Jewish doctor.",
    "I hate mondays, and my knee hurts like the devil.",
]


def test_offensive_replies_score_above_rough_ones():
    worst = toxicities([dialogue("Hi.", "Good morning.", "Hm?", text) for text in RUDE + MILD])
    assert (worst[: len(RUDE)] >= Safety().toxicity).all(), worst
    assert (worst[len(RUDE) :] < Safety().toxicity).all(), worst


def test_sample_data_is_not_offensive():
    rows = [json.loads(line) for line in (DATA / "judge-check.jsonl").read_text().splitlines()]
    # An attack adds words to an answer that deserves a low score, and may be a toxic one.
    better = toxicities([dialogue("Hi.", row["better"]) for row in rows if row["kind"] != "attack"])
    assert (better < Safety().toxicity).all()
    conversations = [
        json.loads(line) for name in ("instructions", "conversations") for line in (DATA / f"{name}.jsonl").open()
    ]
    scores = toxicities([dialogue(*(m["content"] for m in row["messages"])) for row in conversations])
    assert (scores < Safety().toxicity).all()


def test_dialogues_without_words_are_not_offensive():
    assert toxicities([]).shape == (0,)
    assert np.all(toxicities([dialogue("Hi.", ""), dialogue("Hi.", " \n"), dialogue("Hi.")]) == 0)


def test_parts_hold_all_words_of_a_reply():
    for text in (LONG, "word " * 500, "x" * 1001, "", "  a  "):
        assert "".join("".join(parts(text)).split()) == "".join(text.split())
        assert all(len(part) <= PART for part in parts(text))


def test_personal_data_are_checked_first():
    both = dialogue("Hi.", f"{RUDE[0]} ada@lagosbread.com", persona="a fan of Serena Williams")
    people = read_real_people(None)
    rejects = [
        check_safety(both, Safety(), people, 0.99),
        check_safety(dialogue("Hi.", RUDE[0]), Safety(), people, 0.99),
    ]
    assert [reject and reject.reason for reject in rejects] == ["personal_data", "toxic"]
    assert check_safety(dialogue("Hi.", RUDE[0]), Safety(toxicity=None), people, 0.99) is None
    found = check_safety(dialogue("Hi.", "Hi.", persona="a fan of Serena Williams"), Safety(), people, 0)
    assert found
    assert (found.reason, found.detail) == ("real_person", "persona: serena williams")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("part", HOSTILE)
def test_hostile_texts_are_fast(part):
    text = part * (100_000 // len(part))
    people = read_real_people(None)
    hostile = dialogue(text, text, persona=text, profile=text)
    (worst,) = toxicities([hostile])
    check_safety(hostile, Safety(phone_regions=("US", "KR")), people, worst)
