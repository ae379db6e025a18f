"""Rules that compare rewritten replies with their references: on 40 rewrites in twelve languages, and on spoiled ones."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.config import Quality
from factory.curation.rules.context import DialogueContext
from factory.records import Message
from factory.text.content import code_blocks, names, without_code
from factory.text.quantities import count_digits, numbers, spelled_numbers

REWRITES = [json.loads(line) for line in (Path(__file__).parents[1] / "replies/rewrites.jsonl").read_text().splitlines()]
"""Twenty references in the style of LIMA and twenty in that of Alpaca, each as a character says it; written before the
rules were tried on them."""
RULES = {name: rule for name, rule in Quality().rules.items() if name.startswith("lost_")}
GENERIC = {
    "English": "That is a very good question, and there are many things to think about here. Every case is different, "
    "so take your time, ask somebody who has done it before, and trust yourself. You will do well, my friend.",
    "German": "Das ist eine sehr gute Frage, und es gibt dabei vieles zu bedenken. Jeder Fall liegt anders, also nimm "
    "dir Zeit, frag jemanden mit Erfahrung und vertraue dir selbst. Du schaffst das schon, mein Freund.",
    "Spanish": "Es una pregunta muy buena y hay muchas cosas que pensar. Cada caso es distinto, así que tómate tu "
    "tiempo, pregunta a alguien con experiencia y confía en ti. Seguro que te irá bien, amigo mío.",
    "French": "C'est une très bonne question, et il y a bien des choses à considérer. Chaque cas est différent, alors "
    "prends ton temps, demande à quelqu'un qui s'y connaît et fais-toi confiance. Tout ira bien, mon ami.",
    "Russian": "Это очень хороший вопрос, и тут есть о чём подумать. Каждый случай особенный, так что не торопись, "
    "спроси того, кто уже делал это, и доверяй себе. Всё у тебя получится, дружище.",
    "Korean": "정말 좋은 질문이네. 생각할 것이 참 많지만 사람마다 다 다르니까 천천히 해 봐. 먼저 해 본 사람에게 물어보고 너 자신을 "
    "믿으렴. 틀림없이 잘될 거야, 친구야.",
    "Chinese": "这个问题问得真好，要考虑的事情很多。每个人的情况都不一样，所以别着急，去请教有经验的人，相信自己，朋友，你一定行的。",
    "Japanese": "それはとても良い質問だね。考えることはたくさんあるけれど、人それぞれだから焦らないで、詳しい人に聞いて、自分を信じてごらん。きっとうまくいくよ。",
    "Arabic": "هذا سؤال جيد جدا، وهناك أمور كثيرة يجب التفكير فيها. كل حالة مختلفة، فخذ وقتك واسأل من سبقك إلى ذلك "
    "وثق بنفسك. ستنجح إن شاء الله يا عزيزي.",
    "Hindi": "यह बहुत अच्छा सवाल है, और इसमें सोचने की कई बातें हैं। हर किसी का हाल अलग होता है, इसलिए धीरज रखो, किसी "
    "जानकार से पूछो और खुद पर भरोसा करो। सब ठीक होगा, दोस्त।",
    "Thai": "เป็นคำถามที่ดีมากเลยนะ มีเรื่องให้คิดเยอะ แต่ละคนก็ไม่เหมือนกัน เพราะฉะนั้นค่อย ๆ ทำไป ลองถามผู้รู้ดู แล้วเชื่อมั่นในตัวเอง "
    "เดี๋ยวก็สำเร็จ",
}


def broken(reply: str, reference: str, user: str = "How?") -> dict[str, str]:
    messages = (Message("user", user), Message("assistant", reply))
    dialogue = DialogueContext(messages, "a baker", "Name: Ada", (reference,))
    return {name: found for name, rule in RULES.items() if (found := rule.find(dialogue))}


def test_faithful_rewrites_are_accepted():
    assert len(REWRITES) == 40
    flagged = {row["user"]: found for row in REWRITES if (found := broken(row["rewrite"], row["reference"], row["user"]))}
    assert len(flagged) <= 1, flagged


def test_references_themselves_are_accepted():
    assert not [row["user"] for row in REWRITES if broken(row["reference"], row["reference"], row["user"])]


def first_quarter(row: dict[str, str]) -> str | None:
    text = row["rewrite"]
    return text[: len(text) // 4] if row["style"] == "lima" else None


def other_numbers(row: dict[str, str]) -> str | None:
    given = {number for number in numbers(without_code(row["reference"])) if count_digits(number) > 1}
    changed = re.sub(r"(?<![\w.])\d{2,}", lambda match: str(int(match[0]) + 7), row["reference"])
    return changed if len(given) > 1 else None


def without_names(row: dict[str, str]) -> str | None:
    found = names(row["reference"])
    text = re.sub("|".join(map(re.escape, found)) or r"\Z.", "somebody", row["reference"])
    return text if len(found) > 2 else None


DEFECTS: dict[str, tuple[int, float, Callable[[dict[str, str]], str | None]]] = {
    "three quarters dropped": (20, 0.9, first_quarter),
    "numbers changed": (15, 0.8, other_numbers),
    "code dropped": (3, 1.0, lambda row: without_code(row["rewrite"]) if code_blocks(row["reference"]) else None),
    "names dropped": (5, 0.9, without_names),
    "a generic reply": (20, 0.95, lambda row: GENERIC[row["language"]] if row["style"] == "lima" else None),
}
"""How many rewrites a defect can be put into at least, how many of them must be caught, and how."""


@pytest.mark.parametrize("defect", DEFECTS)
def test_spoiled_rewrites_are_caught(defect):
    least, share, spoil = DEFECTS[defect]
    spoiled = [(row, text) for row in REWRITES if (text := spoil(row))]
    missed = [row["user"] for row, text in spoiled if not broken(text, row["reference"], row["user"])]
    assert len(spoiled) >= least
    assert len(missed) <= (1 - share) * len(spoiled) + 1e-9, missed
