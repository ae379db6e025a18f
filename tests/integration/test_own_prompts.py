"""A run with two prompts by path: their versions in rows, and an item that one of them defines."""

import json
from pathlib import Path

from factory.inference.prompts import load_prompt
from tests.integration.conftest import make_runs
from tests.integration.runs import GOOD_PROFILE, Run

QUESTIONS = 6
SECRET = "She never learned to read the letters of her aunt."
OWN_PROFILE = GOOD_PROFILE | {"secret": SECRET, "favorite_food": "plantain"}


def changed(name: str, *changes: tuple[str, str]) -> str:
    """Return the text of a built-in prompt with other words."""
    text = load_prompt(name).text
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def versions(run: Run, table: str, column: str = "prompt") -> set[str]:
    return {str(row[column]).partition("#")[0] for row in run.rows(table)}


def test_prompts_by_path_and_their_items(tmp_path, shared_ray):
    source = tmp_path / "questions.jsonl"
    asked = [f"What is the price of {number} loaves?" for number in range(QUESTIONS)]
    rows = [[{"role": "user", "content": each}, {"role": "assistant", "content": "Two."}] for each in asked]
    source.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    fields = "output: ProfileFields\nfields: {secret: {at_most: 300}, favorite_food: {at_most: 60}}\n"
    replies = [{"contains": "price of", "reply": "Two coins, love."}]
    for make in make_runs(tmp_path, shared_ray):
        run = make(
            "own",
            5,
            engine={"kind": "scripted", "replies": replies, "default": json.dumps(OWN_PROFILE)},
            instructions=[{"corpus": "prices", "source": str(source)}],
            dialogues={"strategies": ["generate"], "characters_per_instruction": 2},
            profiles={"rules": "reject"},
            prompts={"profile": "my/character.txt", "dialogue-generate": "my/dialogue.md"},
        )
        folder = Path(run.folder) / "my"
        folder.mkdir()
        profile = folder / "character.txt"
        profile.write_text(changed("profile", ("version: 1\n", "version: 31\n"), ("output: ProfileFields\n", fields)))
        (folder / "dialogue.md").write_text(changed("dialogue-generate", ("version: 1\n", "version: 32\n")))
        plan = " ".join(run.finish("--dry-run").split())
        assert "Prompt of your own: profile@31#" in plan
        assert "Prompt of your own: dialogue-generate@32#" in plan
        assert plan.count("Prompt of your own") == 2
        run.finish()
        assert run.reasons("profiles") == {"ok": 5}
        assert versions(run, "profiles") == {"profile@31"}
        assert {row["profile"].split("\n")[-2:][0] for row in run.rows("profiles")} == {f"Secret: {SECRET}"}
        assert {row["profile"].split("\n")[-1] for row in run.rows("profiles")} == {"Favorite Food: plantain"}
        dialogues = run.rows("dialogues/generate-prices")
        assert len(dialogues) == 2 * QUESTIONS
        assert versions(run, "dialogues/generate-prices") == {"dialogue-generate@32"}
        assert {row["messages"][-1]["content"] for row in dialogues} == {"Two coins, love."}
        assert all(SECRET in row["messages"][0]["content"] for row in dialogues), "own items are in the character"

        profile.write_text(profile.read_text().replace("secret:", "wish:").replace("version: 31", "version: 33"))
        assert run.start("--yes").wait(300) == 2, "no profile is accepted"
        assert versions(run, "profiles") == {"profile@33"}
        assert run.reasons("profiles") == {"invalid_reply": 5}, "another prompt begins the table anew"
