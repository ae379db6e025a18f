"""Rows of profiles with drawn words, as varied as the word lists, and the same with planted collapses."""

import json
import random

import pyarrow as pa

from factory.population.cast_figures import COLUMNS, LONG_ITEMS

SYLLABLES = [
    "ba",
    "den",
    "fir",
    "gol",
    "hus",
    "jem",
    "kai",
    "lor",
    "mun",
    "nes",
    "pol",
    "qua",
    "rit",
    "sov",
    "tur",
    "wex",
]
HANGUL = "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허고노도로모보소오조초코토포호"
HAN = "山水火木金土日月星雲風雨雪花草竹梅松石田川海天地人心手足目耳口書畫琴棋詩酒茶米麥"
WORDS = {
    "Latin": [a + b + c for a in SYLLABLES for b in SYLLABLES for c in ("", "ra", "lin", "to")],
    "Hangul": [a + b for a in HANGUL for b in HANGUL],
    "Han": [a + b for a in HAN for b in HAN],
}
SENTENCES, SENTENCE_WORDS = 4, 12
TEMPLATE = (
    "A dedicated person known for a strong work ethic, warm eyes and a neat look, who has grown up in a small town"
)


def text(draw: random.Random, script: str, words: int) -> str:
    """Return so many drawn words; in Han characters without spaces."""
    return ("" if script == "Han" else " ").join(draw.choices(WORDS[script], k=words))


def profile(number: int, script: str = "Latin") -> dict[str, str | None]:
    """Return an accepted profile whose words are all drawn."""
    draw = random.Random(number)
    items = {name: text(draw, script, SENTENCES * SENTENCE_WORDS) for name in LONG_ITEMS}
    strata = {"disposition": draw.choice(["moral", "immoral"]), "language": draw.choice(["English", "Korean"])}
    return {
        "character_id": f"{draw.getrandbits(64):016x}",
        "status": "ok",
        "persona": text(draw, script, 14),
        "name": text(draw, script, 2),
        "birth_place": draw.choice(WORDS[script]),
        "strata": json.dumps(strata),
        **items,
    }


def templated(number: int, script: str = "Latin") -> dict[str, str | None]:
    """Return a profile with one template, of whose words half are in all."""
    own = profile(number, script)
    words = str(own["appearance"]).split()
    return own | {name: f"{TEMPLATE} {' '.join(words[at * 16 : at * 16 + 20])}" for at, name in enumerate(LONG_ITEMS)}


def copied(number: int) -> dict[str, str | None]:
    """Return a profile of which every second one has the texts and the persona of one of twenty."""
    other = profile(number % 20)
    kept = {name: other[name] for name in (*LONG_ITEMS, "persona")}
    return profile(number) | (kept if number % 2 else {})


def table_of(rows: list[dict[str, str | None]]) -> pa.Table:
    """Return rows as they are read from a table of profiles."""
    schema = pa.schema([(name, pa.string()) for name in (*COLUMNS, *LONG_ITEMS)])
    return pa.Table.from_pylist(rows, schema=schema)
