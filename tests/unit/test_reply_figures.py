import itertools

import pytest

from factory.config import Alarms
from factory.population.alarm_lines import raised_alarms
from factory.population.first_person import has_first_person
from factory.population.reply_figures import ReplyFigures, opening
from tests.drawn_cast import profile


def replies_of(number, planted=""):
    texts = [str(profile(number)[name]) for name in ("appearance", "experience")]
    return [f"{planted}{text}, and I like it." for text in texts]


def figures_of(rows, planted=lambda number: ""):
    figures = ReplyFigures()
    for number in rows:
        figures.add(number * 0x9E3779B97F4A7C15 % 2**64, replies_of(number, planted(number)), "english")
    return figures


def test_any_order_and_partition_gives_the_same_figures():
    whole = figures_of(range(300)).to_manifest()
    for parts in (2, 3):
        split = [figures_of(range(part, 300, parts)) for part in range(parts)]
        for order in itertools.permutations(split):
            total = ReplyFigures()
            for part in order:
                total = total + part
            assert total.to_manifest() == whole


def test_varied_replies_raise_no_alarm_and_one_opening_does():
    assert raised_alarms(figures_of(range(300)).to_manifest(), Alarms()) == []
    planted = figures_of(range(300), lambda number: "Well, my friend, " if number % 5 == 0 else "")
    (line,) = raised_alarms(planted.to_manifest(), Alarms())
    assert line == "120 of 600 (20.0%) have the first words of a reply 'well my friend' (alarms.opening: 5.0%)"


def test_replies_without_a_first_person_raise_an_alarm():
    figures = ReplyFigures()
    for number in range(300):
        text = str(profile(number)["appearance"])
        figures.add(number << 40, [text if number % 4 else f"{text} is mine"], "english")
        # A language without a list does not count.
        figures.add(number << 40 | 7, [str(profile(number)["experience"])], "spanish")
    manifest = figures.to_manifest()
    assert manifest["no_first_person"] == {"number": 225, "of": 300}
    (line,) = raised_alarms(manifest, Alarms())
    assert line.startswith("225 of 300 (75.0%) replies have no first person")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Well, my friend, it is late.", "well my friend"),
        ("**Ah!** The sea", "ah the sea"),
        ("제가 어릴 때는 바다에서", "제가 어릴 때는"),
        ("我是一个厨师住在北京。", "我是一个厨师"),
        ("...", ""),
    ],
)
def test_an_opening_is_three_words_or_six_characters(reply, found):
    assert opening(reply) == found


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("I think so", "english", True),
        ("It's mine, isn't it", "english", True),
        ("The mill iris", "english", False),
        ("Das ist meine Sache", "german", True),
        ("Der Michel", "german", False),
        ("C'est pour moi", "french", True),
        ("Dat is van mij", "dutch", True),
        ("Creo que no", "spanish", None),
    ],
)
def test_first_person_is_found_where_pronouns_are_needed(text, language, found):
    assert has_first_person(text, language) is found
