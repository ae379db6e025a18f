"""The report's section on the judge of curation: kept and rejected dialogues beside each other."""

import re
from collections import Counter

from factory.records import JudgedDialogue, Reject, Score
from factory.report.sections.judged_dialogues import SHOWN, judged_data
from factory.run_output import layout
from factory.run_output.folder import open_folder
from factory.storage.rows import ok_row, rejected_row
from factory.storage.schemas import EXAMPLES, JUDGED_DIALOGUES
from factory.storage.tables import Table
from tests.made_run import make_run

ABOUT = {"name": "critic", "model": "m", "thresholds": {"voice": 3, "facts": 3, "answers": 3}}


def plain(text: str) -> str:
    return re.sub(r"secret", "[masked]", text)


def add_verdicts(output: str) -> dict[str, int]:
    """Judge the dialogues of a made run, every third out of voice, and return the voice of each."""
    voices: dict[str, int] = {}
    for name in ("generate", "rewrite"):
        for table in [t for t in open_folder(output, "").select(layout.DIALOGUES) if f"/{name}-" in t.name]:
            rows = [row for shard in table.table.shards() for row in table.table.read(shard).to_pylist()]
            judged = []
            for number, row in enumerate(row for row in rows if row["status"] == "ok"):
                ids = {key: row[key] for key in ("dialogue_id", "character_id", "strategy", "corpus")}
                if number % 7 == 6:
                    judged.append(rejected_row(Reject("judge_failed", "?"), ids | {"judge": "critic"}))
                    continue
                voice = voices[row["dialogue_id"]] = 2 if number % 3 == 0 else 5
                scores = {f"{axis}_score": Score(4) for axis in ("facts", "answers")}
                record = JudgedDialogue(
                    **ids, judge="critic", has_room=True, voice_score=Score(voice), **scores, reasoning="a secret"
                )
                judged.append(ok_row(record))
            parts = layout.DIALOGUES.parts(table.name)
            layout.JUDGED.table(output, **parts).write("00000", judged, JUDGED_DIALOGUES)
    return voices


def record_in_manifests(output: str, voices: dict[str, int]) -> None:
    """Write the decisions into the curated tables."""
    for split in layout.SPLITS:
        table = Table(output, layout.CURATED.name(split=split))
        manifest = dict(table.manifest())
        for shard in table.shards():
            rows = table.read(shard).to_pylist()
            for row in rows:
                if voices.get(row["dialogue_id"]) == 2 and row["status"] == "ok":
                    row |= {"status": "rejected", "reason": "judged_out_of_voice", "messages": None}
            table.write(shard, rows, EXAMPLES)
        scores = {"voice": {"2": 1, "5": 2}, "facts": {"4": 3}, "answers": {"4": 3}}
        manifest["judge"] = ABOUT | {"judged": 3, "failed": 1, "without_room": 0, "scores": scores}
        manifest["rejected"] = dict(manifest["rejected"]) | {"judged_out_of_voice": 1}
        table.finish(manifest)


def test_kept_and_rejected_dialogues_have_scores_and_turns(tmp_path):
    output = str(tmp_path / "run")
    make_run(output, characters=30)
    assert judged_data(open_folder(output, ""), plain) == {}, "no judge"
    voices = add_verdicts(output)
    record_in_manifests(output, voices)
    found = judged_data(open_folder(output, ""), plain)
    assert (found["settings"]["name"], found["judged"], found["failed"]) == ("critic", 6, 2)
    assert found["scores"]["voice"] == Counter({"5": 4, "2": 2})
    assert found["reasons"] == {"voice": 2, "facts": 0, "answers": 0}
    for side, voice in (("kept", 5), ("rejected", 2)):
        assert 2 <= len(found[side]) <= SHOWN
        for case in found[side]:
            assert voices[case["id"]] == case["voice"] == voice
            assert case["reasoning"] == "a [masked]"
            assert [turn["role"] for turn in case["turns"]][:2] == ["user", "assistant"]
