"""Writes `verifiable.jsonl`: its instructions by hand stay, and the others combine a task with forms of a reply.

    python data/general/generate_verifiable.py

Every form states in words what its checks test. A form is combined only with others that a reply can have as well,
so that each instruction can be followed; `tests/unit/test_verifiable_templates.py` writes a reply that does.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("verifiable.jsonl")
BY_HAND = 48
TOTAL = 500
SEED = 20

TASKS = """
Explain how a canal lock lifts a boat.
Describe what a beekeeper does in spring.
Explain why leaves change color before they fall.
Tell a visitor how to behave in a public library.
Describe the smell of a bakery at five in the morning.
Explain how a suspension bridge carries its load.
Give advice to somebody who moves into a first apartment.
Describe how to fold a paper boat.
Explain what a lighthouse is for.
Tell the story of a bicycle that changes owners.
Explain how yeast makes dough rise.
Describe a train station at midnight.
Explain why ice floats on water.
Give tips for taking good photographs of animals.
Describe how a violin makes its sound.
Explain to a child how rain forms.
Describe a workshop in which clocks are repaired.
Explain what a passport is needed for.
Tell how a village gets ready for a flood.
Describe the work of a sign painter.
Explain how a compass finds north.
Give reasons to keep a diary.
Describe how to set a table for six guests.
Explain how a refrigerator keeps food cold.
Describe a garden after the first frost.
Explain what happens when a volcano erupts.
Give a new colleague advice for the first week at work.
Describe how a letter travels from one country to another.
Explain why we have leap years.
Tell what a lost suitcase might say about its owner.
Describe how to wash a wool sweater.
Explain how a vaccine protects people.
Describe the view from a mountain hut at sunrise.
Explain how paper is recycled.
Give advice on how to calm a nervous dog.
Describe an old cinema that is about to close.
Explain how tides come about.
Describe how to plant an apple tree.
Explain the job of an air traffic controller.
Give ideas for a rainy afternoon with children.
Describe a market stall that sells only buttons.
Explain how a key opens a lock.
Tell what makes a good neighbor.
Describe how glass is blown.
Explain why stars seem to twinkle.
Give tips for learning the names of a large group.
Describe a kitchen in which a feast is cooked.
Explain how a sailboat can go against the wind.
Describe how to clean a fountain pen.
Explain what a census is.
Give advice for a job interview by telephone.
Describe the first minutes of a chess game.
Explain how soap removes grease.
Tell how a small theater saves its season.
Describe a ferry crossing in thick fog.
Explain why bread goes stale.
Give rules for a shared laundry room.
Describe how to tune a guitar by ear.
Explain how a dam makes electricity.
Describe a teacher's last day before retirement.
""".strip().splitlines()

TASKS_BY_LANGUAGE = {
    "German": (
        "Erkläre, wie eine Windmühle arbeitet.",
        "Beschreibe einen Bahnhof am frühen Morgen.",
        "Gib Ratschläge für den Umzug in eine fremde Stadt.",
        "Erzähle, wie ein Fahrrad repariert wird.",
    ),
    "French": (
        "Explique comment fonctionne un moulin à eau.",
        "Décris une place de village un jour de marché.",
        "Donne des conseils pour bien dormir.",
    ),
    "Spanish": (
        "Explica cómo se hace el queso.",
        "Describe una playa después de la tormenta.",
        "Da consejos para aprender un idioma.",
    ),
    "Portuguese": (
        "Explica como se apaga um incêndio na cozinha.",
        "Descreve uma livraria antiga.",
        "Dá conselhos para uma primeira viagem de comboio.",
    ),
    "Chinese": ("请解释茶叶是怎样制成的。", "请描述一座雨中的小桥。", "请给第一次养猫的人一些建议。"),
}

WORDS = (
    *("window", "river", "candle", "market", "bridge", "stone", "garden", "winter"),
    *("paper", "engine", "harbor", "music", "silver", "story", "basket"),
)
OPENINGS = ("To put it simply,", "Years ago,", "First of all,", "Imagine this:", "Here is my answer:")
ENDINGS = ("That is all.", "And so it goes.", "Now you know.", "Thank you for asking.", "The rest is practice.")
KEYS = (("title", "text"), ("question", "answer"), ("name", "place", "reason"), ("summary", "details", "source"))

Checks = list[dict[str, Any]]
Draw = random.Random
Make = Callable[[Draw], tuple[str, Checks]]


@dataclass(frozen=True)
class Form:
    """A requirement on a reply: its sentence and its checks, and what it cannot be combined with."""

    group: str
    """At most one form of a group stands in an instruction."""
    make: Make
    excludes: frozenset[str] = frozenset()
    """Groups of which no form stands beside it."""


def _counted(kind: str, text: str, *counts: int) -> Make:
    def make(draw: Draw) -> tuple[str, Checks]:
        count = draw.choice(counts)
        return text.format(count), [{"kind": kind, "count": count}]

    return make


def _chosen(kind: str, name: str, text: str, choices: tuple[Any, ...]) -> Make:
    def make(draw: Draw) -> tuple[str, Checks]:
        value = draw.choice(choices)
        shown = ", ".join(f'"{each}"' for each in value) if isinstance(value, tuple) else value
        return text.format(shown), [{"kind": kind, name: value}]

    return make


def _always(text: str, **check: Any) -> Make:
    return lambda _: (text, [check])


def _keywords(draw: Draw) -> tuple[str, Checks]:
    first, second = draw.sample(WORDS, 2)
    return f'Use the words "{first}" and "{second}".', [{"kind": "keyword", "words": [first, second]}]


def _between(draw: Draw) -> tuple[str, Checks]:
    low = draw.choice((40, 60, 80))
    checks = [{"kind": "min_words", "count": low}, {"kind": "max_words", "count": low + 40}]
    return f"Write between {low} and {low + 40} words.", checks


_SHORT, _LONG, _LIST = frozenset({"short"}), frozenset({"long"}), frozenset({"edge", "short"})
"""A list alone begins and ends with its items, and six of them do not fit into few words."""
FORMS = (
    Form("short", _counted("max_words", "Use no more than {} words.", 25, 35, 50)),
    Form("long", _counted("min_words", "Write at least {} words.", 50, 70, 100), _SHORT),
    Form("long", _between, _SHORT),
    Form("layout", _counted("sentences", "Write exactly {} sentences.", 2, 3, 4, 5), _LONG),
    Form(
        "layout",
        _counted(
            "bullets", "Answer with exactly {} bullet points, each on its own line, and nothing else.", 3, 4, 5, 6
        ),
        _LIST,
    ),
    Form("layout", _counted("numbered", "Answer with nothing but a list numbered from 1 to {}.", 3, 4, 5, 6), _LIST),
    Form(
        "layout",
        _counted("paragraphs", "Write exactly {} paragraphs with a blank line between them, and no title.", 2, 3),
    ),
    Form(
        "layout",
        _chosen("json", "keys", "Reply with one JSON object alone, whose keys are exactly {}.", KEYS),
        frozenset({"edge", "case", "without", "word", "short", "long"}),
    ),
    Form("word", _keywords),
    Form("without", _always("Do not use a single comma.", kind="without", texts=[","]), frozenset({"edge"})),
    Form("without", _always('Do not use the word "very".', kind="without", texts=["very"])),
    Form("without", _always("Do not ask a question.", kind="without", texts=["?"])),
    Form("edge", _chosen("starts_with", "text", 'Begin with the words "{}"', OPENINGS)),
    Form("edge", _chosen("ends_with", "text", 'Let the reply end with the words "{}"', ENDINGS)),
    Form("case", _always("Write everything in capital letters.", kind="uppercase")),
    Form("case", _always("Write everything in small letters, without any capitals.", kind="lowercase")),
)

FORMS_BY_LANGUAGE = {
    "German": (
        _counted("bullets", "Antworte mit genau {} Stichpunkten, jeder in einer eigenen Zeile.", 3, 4, 5),
        _counted("sentences", "Schreibe genau {} Sätze.", 2, 3, 4),
        _counted("max_words", "Schreibe höchstens {} Wörter.", 30, 45),
    ),
    "French": (
        _counted("numbered", "Réponds par une liste numérotée de 1 à {}, sans rien d'autre.", 3, 4, 5),
        _counted("paragraphs", "Écris exactement {} paragraphes séparés par une ligne vide, sans titre.", 2, 3),
        _counted("max_words", "N'utilise pas plus de {} mots.", 30, 45),
    ),
    "Spanish": (
        _counted("bullets", "Responde con exactamente {} viñetas, cada una en su propia línea.", 3, 4, 5),
        _counted("sentences", "Escribe exactamente {} frases.", 2, 3, 4),
        _counted("min_words", "Escribe al menos {} palabras.", 40, 60),
    ),
    "Portuguese": (
        _counted("numbered", "Responde apenas com uma lista numerada de 1 a {}.", 3, 4, 5),
        _counted("paragraphs", "Escreve exatamente {} parágrafos separados por uma linha em branco, sem título.", 2, 3),
        _counted("min_words", "Escreve pelo menos {} palavras.", 40, 60),
    ),
    "Chinese": (
        _counted("sentences", "请正好写{}句话。", 2, 3, 4),
        _counted("numbered", "请只用从1到{}编号的列表回答。", 3, 4, 5),
        _counted("paragraphs", "请正好写{}段。段与段之间空一行。不要标题。", 2, 3),
    ),
}


def combinations() -> list[tuple[Form, ...]]:
    """Return every form alone, and every two and three that one reply can have."""
    return [forms for size in (1, 2, 3) for forms in itertools.combinations(FORMS, size) if _fits(forms)]


def _fits(forms: tuple[Form, ...]) -> bool:
    groups = [form.group for form in forms]
    return len(set(groups)) == len(groups) and not any(form.excludes & set(groups) for form in forms)


def english(count: int, draw: Draw) -> Iterator[tuple[str, Checks]]:
    """Yield instructions: tasks in turn, and one form, two and three in turn."""
    by_size = [[forms for forms in combinations() if len(forms) == size] for size in (1, 2, 3)]
    for group in by_size:
        draw.shuffle(group)
    for number in range(count):
        group = by_size[number % 3]
        made = [form.make(draw) for form in group[number // 3 % len(group)]]
        task = TASKS[(number + number // len(TASKS)) % len(TASKS)]
        yield " ".join([task, *(text for text, _ in made)]), [check for _, checks in made for check in checks]


def other_languages(draw: Draw) -> Iterator[tuple[str, Checks]]:
    """Yield every task of each language with every form of it."""
    for language, tasks in TASKS_BY_LANGUAGE.items():
        gap = "" if language == "Chinese" else " "
        for task, make in itertools.product(tasks, FORMS_BY_LANGUAGE[language]):
            text, checks = make(draw)
            yield f"{task}{gap}{text}", checks


def generate() -> list[str]:
    """Return all lines of the file."""
    draw, by_hand = random.Random(SEED), FILE.read_text().splitlines()[:BY_HAND]
    others = list(other_languages(draw))
    made = [*english(TOTAL - BY_HAND - len(others), draw), *others]
    rows = (
        {"id": f"verifiable-{number:02}", "instruction": instruction, "checks": checks}
        for number, (instruction, checks) in enumerate(made, BY_HAND + 1)
    )
    return [*by_hand, *(json.dumps(row, ensure_ascii=False) for row in rows)]


if __name__ == "__main__":
    FILE.write_text("\n".join(generate()) + "\n")
