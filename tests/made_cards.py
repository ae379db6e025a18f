"""Profiles and character cards in several scripts, made from a number."""

import random
import struct
import zlib
from typing import Any

from factory.synthesis.profiles import LABELS

WORDS = {
    "Latin": "harbor Šibenik naïve ropes weigh \"tin\" 'ash' crème 12% lantern O'Brien façade über",
    "Hangul": "등대지기 고양이 새벽 바다 편지 느리게 웃는다 서울",
    "Han": "老茶匠 山间 清晨 听雨 写信 小城 灯火",
    "Arabic": "حارس المنارة يحب البحر كثيراً رسائل قديمة",
    "Devanagari": "गाँव की शिक्षिका सुबह नदी चाय पुस्तक",
    "Thai": "ครู บ้าน ทะเล เช้า จดหมาย หนังสือ",
    "emoji": "🧑‍🚀 ok\u00a0then <b>&amp;</b> {{x}} \\n \u200d$PATH %s",
}


def made_profile(number: int) -> dict[str, str]:
    """Return the persona, the items and the language of a profile: distinct for each number."""
    draw = random.Random(number)
    script = list(WORDS)[number % len(WORDS)]
    words = WORDS[script].split()

    def text(length: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(1, length)))

    items = {name: text(40 if name in ("appearance", "experience", "personality") else 4) for name in LABELS}
    return {"persona": f"{text(12)} {number}", **items, "language": script}


def made_card(number: int, **changed: Any) -> dict[str, Any]:
    """Return a card as other programs write it, with fields and extensions that are not ours."""
    made = made_profile(number)
    data = {
        "name": made["name"], "description": f"{made['experience']}\n\n{made['appearance']} {number}",
        "personality": made["personality"], "scenario": made["birth_place"], "first_mes": "{{user}}! It is {{char}}.",
        "mes_example": "<START>\n{{user}}: hm", "creator_notes": f"notes for people {number}", "system_prompt": "",
        "post_history_instructions": "", "alternate_greetings": [made["race"]], "tags": ["tag", made["gender"]],
        "creator": f"somebody {number}", "character_version": "1.2", "nickname": "N", "group_only_greetings": [],
        "extensions": {"depth_prompt": {"depth": number, "prompt": made["age"]}, "other/program": [None, 1.5, made]},
        "character_book": {"entries": [{"keys": ["a"], "content": made["persona"], "extensions": {"x": number}}]},
    }  # fmt: skip
    return {"spec": "chara_card_v3", "spec_version": "3.0", "data": data | changed}


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
