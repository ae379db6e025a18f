"""The map of characters, by the real libraries."""

from factory.report.sections import profiles


def character(text: str) -> dict:
    return {"persona": text, "experience": text, "personality": "calm"}


def test_the_map_has_a_place_for_everyone_and_finds_the_twins():
    places = ("Oslo", "Quito", "Busan", "Turin")
    cast = [character(f"a {job} from {place}") for job in ("baker", "tuner", "keeper") for place in places]
    cast.append(character("a baker from Oslo"))
    found = profiles.topics(cast, seed=1)
    assert len(found["points"]) == 13
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y, _ in found["points"])
    assert found["pairs"][0] == [0, 12, 1.0]
    assert found == profiles.topics(cast, seed=1)


def test_characters_without_a_word_have_no_map():
    assert profiles.topics([character("")] * 2, 1) == {}
    assert profiles.topics([{"persona": "", "experience": None, "personality": "!"}] * 20, 1) == {}
    assert profiles.topics([character("同じ人です。毎朝パンを焼きます。町の皆が知っています。")] * 20, 1)["points"]
