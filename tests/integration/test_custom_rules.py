"""Rules of the user's own in a run over two corpora with both strategies, resumed once."""

import json
from collections import Counter

from tests.integration.conftest import make_runs

SPLITS = ("train", "validation")
RULES = [
    {"name": "no-brands", "pattern": "(?i)\\bacme"},
    {"name": "asks-for-bread", "pattern": "bread", "in": "requests", "when": "missing"},
    {"name": "catastrophic", "pattern": "(x+x+)+y"},
    {"name": "not-from-lagos", "pattern": "Birth Place: Oslo", "in": "profile"},
]
ROWS = 30


def expected(number: int) -> str | None:
    """Return the rule that dialogues on an instruction break."""
    if number % 3 == 0:
        return "no-brands"
    return "asks-for-bread" if number % 5 == 0 else "catastrophic" if number == 7 else None


def reply(number: int, strategy: str, corpus: str) -> str:
    brand = "I sell Acme flour." if expected(number) == "no-brands" else "I sell flour."
    hostile = "x" * 20_000 + ("y" if number == 7 else "")
    unique = f"At {number} I knead the dough of the {corpus} morning, and we {strategy} it slowly with salt. {brand}"
    return unique if number % 7 else f"{unique} {hostile}."


def test_custom_rules_over_corpora_and_strategies(tmp_path, shared_ray):
    replies, corpora = [], []
    for corpus in ("rye", "oat"):
        path = tmp_path / f"{corpus}.jsonl"
        with path.open("w") as file:
            for number in range(ROWS):
                what = "stones" if number % 5 == 0 else "bread"
                asked = f"What of the {corpus} {what} at {number:02} o'clock?"
                messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": "None at all today."}]
                file.write(json.dumps({"messages": messages}) + "\n")
                rewritten = json.dumps({"replies": [reply(number, "rewrite", corpus)]})
                replies.append({"contains": f"[user]\n{asked}\n", "reply": rewritten})
                replies.append({"contains": asked, "reply": reply(number, "generate", corpus)})
        corpora.append({"corpus": corpus, "source": str(path)})
    profile = {
        "name": "Ada Oduya", "age": "34", "gender": "female", "race": "Black", "birth_place": "Lagos",
        "appearance": "Tall.", "experience": "She bakes.", "personality": "Warm.",
    }  # fmt: skip
    disabled = ["repetition", "wrong_language", "too_short", "unfinished_sentence"]
    for make in make_runs(tmp_path, shared_ray):
        run = make(
            "custom",
            24,
            engine={"kind": "scripted", "replies": replies, "default": json.dumps(profile)},
            instructions=corpora,
            dialogues={"strategies": ["generate", "rewrite"], "characters_per_instruction": 1},
            curation={
                "custom_rules": RULES,
                "validation_fraction": 0.3,
                "near_duplicates": {"threshold": None},
                "quality": {"disabled_rules": disabled},
            },
            safety={"toxicity": None},
        )
        run.finish()
        plan = run.finish("--dry-run", job="curate")
        assert "Custom rule: no-brands rejects '(?i)\\\\bacme' found in the replies" in plan
        run.finish(job="curate")
        rows = [row for split in SPLITS for row in run.rows(f"curated/{split}")]
        by_place = Counter((row["corpus"], row["strategy"], row["reason"]) for row in rows)
        for corpus in ("rye", "oat"):
            for strategy in ("generate", "rewrite"):
                broken = sum(expected(number) is not None for number in range(ROWS))
                assert by_place[corpus, strategy, "custom_rule"] == broken
                assert by_place[corpus, strategy, None] == ROWS - broken
        names = Counter(row["detail"].partition(":")[0] for row in rows if row["reason"])
        assert names == {name: 4 * count for name, count in Counter(map(expected, range(ROWS))).items() if name}
        manifests = [run.table(f"curated/{split}").manifest()["custom_rules"] for split in SPLITS]
        assert {name: sum(each[name] for each in manifests) for name in names} == names
        assert [each["not-from-lagos"] for each in manifests] == [0, 0]
        assert all(sum(each.values()) for each in manifests), "both splits have some"
        assert {row["detail"].split("\n")[0] for row in rows if row["reason"]} >= {
            "no-brands: reply 1 has 'Acme'",
            "asks-for-bread: not in the requests",
        }
        run.config["curation"]["custom_rules"] = RULES[1:]
        run.finish(job="curate")
        reasons = run.reasons("curated/train") | {}
        assert reasons["custom_rule"] < sum(manifests[0].values()), "changed rules curate again"
