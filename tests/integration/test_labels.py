"""The jobs `label` and `calibrate` on an evaluation that was written by hand."""

import json
import os
import re
import signal

from factory.storage import file_io
from tests.integration.page_session import Session
from tests.small_run import SmallRun

ANSWERS, GOLD = 8, 2


def test_labels_of_a_page_calibrate_the_judges(make_run):
    run = make_run(
        "labeled",
        evaluation={
            "candidates": [{"name": name, "kind": "scripted"} for name in ("base", "tuned")],
            "judges": [{"name": name, "kind": "scripted"} for name in ("strict", "mild")],
        },
        chat={"port": 0},
        labels={"answers": ANSWERS, "gold": GOLD},
    )
    assert run.start(job="label").wait(300) == 2
    assert "is not finished; run evaluate first" in run.log()
    SmallRun(run.output).evaluation()
    assert run.start(job="calibrate").wait(300) == 2
    assert "has no labels; run label first" in run.log()

    run.start_until(lambda: "ready at" in run.log(), job="label")
    url = re.search(r"ready at (http://127\.0\.0\.1:\d+),", run.log())[1]
    session = Session(url)
    session.call("begin", "Ada", "native", True)
    notes = [session.call("save", None, "4", None, None, "")[2] for _ in range(ANSWERS + GOLD)]
    assert "All is done" in str(notes[-1])
    session.close()
    process = run.processes[-1]
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    rows = run.rows("labels/given")
    assert len({row["item_id"] for row in rows}) == len(rows) == ANSWERS + GOLD
    items = {row["item_id"]: row for row in run.rows("labels/items")}
    assert sum(row["kind"] == "single" for row in items.values()) == ANSWERS
    assert all(row["probability"] == 1 for row in items.values() if row["kind"] == "single")  # all of these few

    run.finish(job="calibrate")
    found = json.loads(file_io.read_bytes(f"{run.output}/labels/calibration.json"))
    assert (found["labels"], found["unused"]) == (ANSWERS, {"of known answers": GOLD})
    assert [judge["judge"] for judge in found["judges"]] == ["strict", "mild", "all"]
    for judge in found["judges"]:
        assert [one["corrected"]["mean"] for one in judge["candidates"]] == [4, 4]
        assert 0 < sum(task["labels"] for task in judge["agreement"].values()) <= ANSWERS  # of those with a score
        (difference,) = judge["differences"]
        assert difference["corrected"]["mean"] == 0
    (rater,) = found["raters"]
    assert (rater["labels"], rater["gold"]) == (ANSWERS, GOLD)
