"""The report's topic map and similar pairs, by the real libraries."""

from factory.report.sections import profile_statistics


def character(text: str) -> dict:
    return {"persona": text, "experience": text, "personality": "calm"}


def test_map_has_all_characters_and_the_equal_pair():
    characters = [
        character(f"a {job} from {city}, {number}, who {habit}")
        for job in ("baker", "tuner", "keeper")
        for city in ("Oslo", "Quito", "Busan", "Turin")
        for habit in ("sings", "paints", "rows")
        for number in range(6)
    ]
    characters.append(characters[0])
    found = profile_statistics.topic_map(characters, seed=1)
    assert len(found["points"]) == 217
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y, _ in found["points"])
    assert [0, 216, 1.0] in found["pairs"]
    assert found == profile_statistics.topic_map(characters, seed=1)


def test_few_characters_have_only_similar_pairs():
    texts = ("a baker from Oslo", "a pilot of small planes", "a clerk in a harbor", "a baker from Oslo")
    assert profile_statistics.topic_map([character(text) for text in texts], 1) == {
        "points": [], "topics": [], "pairs": [[0, 3, 1.0]],
    }  # fmt: skip


def test_characters_without_a_word_have_no_map():
    assert profile_statistics.topic_map([character("")] * 2, 1) == {}
    assert profile_statistics.topic_map([{"persona": "", "experience": None, "personality": "!"}] * 20, 1) == {}
    page = profile_statistics.topic_map([character("同じ人です。毎朝パンを焼きます。町の皆が知っています。")] * 200, 1)
    assert page["points"]
