"""The built-in verifiable instructions: the file is the one generated, and each can be followed and failed."""

import json
import runpy
from collections import Counter
from pathlib import Path

from factory.evaluation.general_ability.ifeval import VerifiableInstruction, failed_checks, read_verifiable

FOLDER = Path(__file__).parents[2] / "data" / "general"
INSTRUCTIONS = read_verifiable()
GENERATED = INSTRUCTIONS[48:]
LAYOUTS = {
    "sentences": lambda parts: ". ".join(parts) + ".",
    "paragraphs": "\n\n".join,
    "bullets": lambda parts: "\n".join(f"- {part}" for part in parts),
    "numbered": lambda parts: "\n".join(f"{number}. {part}" for number, part in enumerate(parts, 1)),
}
WRONG = {
    "max_words": "stone " * 200,
    "min_words": "Stone.",
    "sentences": "One. Two. Three. Four. Five. Six. Seven.",
    "bullets": "- one",
    "numbered": "1. one\n1. two",
    "paragraphs": "one\n\ntwo\n\nthree\n\nfour",
    "json": "no",
    "keyword": "no",
    "without": "Very, very much?",
    "starts_with": "no",
    "ends_with": "no",
    "uppercase": "no",
    "lowercase": "NO",
}
"""A reply that fails a check of each kind."""


def obedient(instruction: VerifiableInstruction) -> str:
    """Return a reply that follows the instruction."""
    checks = {check.kind: check.model_dump() for check in instruction.checks}
    if "json" in checks:
        return json.dumps(dict.fromkeys(checks["json"]["keys"], "so"))
    words = list(checks["keyword"]["words"]) if "keyword" in checks else []
    layout, count = next(((kind, checks[kind]["count"]) for kind in LAYOUTS if kind in checks), ("sentences", 1))
    need = checks["min_words"]["count"] if "min_words" in checks else count
    words += ["so"] * max(need, count)
    reply = LAYOUTS[layout]([" ".join(words[n::count]) for n in range(count)])
    if layout == "sentences" and "sentences" not in checks:
        reply = " ".join(words)
    reply = f"{checks['starts_with']['text']} {reply}" if "starts_with" in checks else reply
    if "ends_with" in checks:
        gap = " in the end: " if "sentences" in checks else " "
        reply = f"{reply.removesuffix('.')}{gap}{checks['ends_with']['text']}"
    case = str.upper if "uppercase" in checks else str.lower if "lowercase" in checks else str
    return case(reply)


def test_the_file_is_the_one_that_is_generated():
    module = runpy.run_path(str(FOLDER / "generate_verifiable.py"))
    assert (FOLDER / "verifiable.jsonl").read_text().splitlines() == module["generate"]()


def test_five_hundred_differ_and_a_tenth_is_in_other_languages():
    assert len({each.instruction for each in INSTRUCTIONS}) == len({each.id for each in INSTRUCTIONS}) == 500
    english = runpy.run_path(str(FOLDER / "generate_verifiable.py"))["TASKS"]
    others = [each for each in GENERATED if not each.instruction.startswith(tuple(english))]
    assert len(others) == 48
    kinds = Counter(check.kind for each in INSTRUCTIONS for check in each.checks)
    assert min(kinds[kind] for kind in WRONG) >= 12, kinds


def test_each_instruction_can_be_followed_and_failed():
    for instruction in GENERATED:
        assert failed_checks(instruction, obedient(instruction)) == [], instruction
        for check in instruction.checks:
            assert check.kind in failed_checks(instruction, WRONG[check.kind]), instruction
