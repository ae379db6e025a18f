"""The real job on dialogues of the real one before it: every row once, with its reason, wherever it runs."""

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from factory.config.loading import load_config
from factory.curation.dry_run import check
from factory.curation.run import SCRATCH, begin
from factory.errors import UserError
from factory.records import content_id
from factory.runtime.progress import Progress
from factory.storage import file_io
from factory.storage.schemas import EXAMPLES
from tests.integration.conftest import make_runs
from tests.integration.runs import GOOD_PROFILE, Run

INSTRUCTIONS = 200
PERSONAS = 40
SPLITS = ("train", "validation")
WEIGHTS = {"generate": 3, "rewrite": 2}
MOST = 6
QUESTION = "The ferry is late again and forty people are looking at you: what do you say to them, and what do you do?"
VOICE = (
    "the bread is warm and I know every one who comes in before light with snow on their boots because my aunt taught "
    "me to listen first then knead slowly never count loaves twice or sell what you would not eat yourself on a cold "
    "morning when all of our street still sleeps under its blankets while water runs down old windows"
)
WORDS = VOICE.split()
SPANISH = "El pan se hace con harina, agua y sal, y hay que amasarlo con mucho cariño antes de meterlo en el horno."


def speech(seed: str) -> str:
    """A reply like no other."""
    drawing = random.Random(seed)
    return f"Listen, love: {' '.join(drawing.choices(WORDS, k=60))}."


SAME = speech("the same")
ADDRESS = "ada.oduya@lagosbread.com"
REAL = "Baker, Number 39"
"""The person whom one of the personas names."""
REAL_PERSONA = "a baker, number 39"
SPOILED = {
    ("generate", 0): ("too_short", "Oh."),
    ("generate", 1): ("unfinished_sentence", f"{speech('cut')} And then you take {' '.join(WORDS[:14])}"),
    ("generate", 2): ("repetition", "I am a baker and I bake the bread for you. " * 8),
    ("generate", 3): ("breaks_character", f"As an AI language model, I do not bake. {speech('model')}"),
    ("generate", 4): ("leaked_prompt", f"Name: Ada Oduya\nAge: 34\n{speech('profile')}"),
    ("generate", 5): ("speaks_for_user", f"{speech('user')}\n\nUser: And then?"),
    ("generate", 6): ("wrong_language", SPANISH),
    ("generate", 7): ("benchmark_text", f"{speech('benchmark')} {QUESTION}"),
    ("generate", 8): ("benchmark_text", speech("asked")),
    ("rewrite", 8): ("benchmark_text", speech("asked again")),
    ("rewrite", 9): ("copied_reference", speech("reference 9")),
    ("generate", 10): ("near_duplicate", SAME),
    ("rewrite", 10): ("near_duplicate", SAME.replace("love", "my love")),
    ("generate", 11): ("near_duplicate", SAME.upper()),
    ("generate", 12): ("personal_data", f"{speech('mail')} Write to {ADDRESS}, love."),
    ("rewrite", 13): ("toxic", f"{speech('insult')} You stupid fucking bitch, get the fuck out of my shop."),
}
"""What is wrong with some of the dialogues; of the near-duplicates one stays."""


def asked(number: int) -> str:
    return QUESTION if number == 8 else f"What do you do at {number} minutes past five?"


def settings(folder: Path) -> dict:
    """A corpus, and an engine that has a reply of its own to each of its instructions."""
    corpus = folder / "bread.jsonl"
    with corpus.open("w") as file:
        for number in range(INSTRUCTIONS):
            turns = [("user", asked(number)), ("assistant", speech(f"reference {number}"))]
            file.write(json.dumps({"messages": [{"role": r, "content": c} for r, c in turns]}) + "\n")
    benchmark = folder / "benchmark" / "questions" / "set"
    benchmark.mkdir(parents=True)
    (benchmark.parents[1] / "personas.json").write_text(json.dumps(["A ferryman from Oban who hums to the engine"]))
    (benchmark / "ferryman.json").write_text(json.dumps({"Expected Action": [QUESTION]}))
    (folder / "people.txt").write_text(f"# People\n{REAL}\n")
    replies = []
    for number in range(INSTRUCTIONS):
        spoken = {s: SPOILED.get((s, number), ("", speech(f"{s} {number}")))[1] for s in ("generate", "rewrite")}
        rewritten = json.dumps({"replies": [spoken["rewrite"]]})
        replies.append({"contains": f"[user]\n{asked(number)}\n", "reply": rewritten})
        replies.append({"contains": asked(number), "reply": spoken["generate"]})
    return {
        "engine": {"kind": "scripted", "replies": replies, "default": json.dumps(GOOD_PROFILE)},
        "instructions": [{"corpus": "bread", "source": str(corpus)}],
        "dialogues": {"strategies": ["generate", "rewrite"], "characters_per_instruction": 1},
        "curation": {
            "validation_fraction": 0.25,
            "benchmark": str(benchmark.parents[1]),
            "mixture": [{"corpus": "bread", "strategy": s, "weight": w} for s, w in WEIGHTS.items()],
            "max_per_character": MOST,
        },
        "safety": {"real_people_file": str(folder / "people.txt")},
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory, shared_ray):
    """Dialogues, not curated."""
    folder = tmp_path_factory.mktemp("made")
    for make in make_runs(folder, shared_ray):
        run = make("dialogues", PERSONAS, **settings(folder))
        run.finish()
        yield run


@pytest.fixture(scope="module")
def curated(made, tmp_path_factory):
    """Curated in one go; nobody changes it."""
    run = copied(made, tmp_path_factory.mktemp("curated"))
    run.finish(job="curate")
    return run


def copied(run: Run, folder: Path) -> Run:
    """The same tables in a place of their own."""
    shutil.copytree(run.output, folder / "run")
    return Run(folder, run.config | {"output": str(folder / "run")}, environment=run.environment)


def rows(run: Run) -> list[dict]:
    return [row for split in SPLITS for row in run.rows(f"curated/{split}")]


def by_id(run: Run) -> dict[str, dict]:
    found = rows(run)
    assert len({row["dialogue_id"] for row in found}) == len(found), "a dialogue stands twice"
    return {row["dialogue_id"]: row for row in found}


def dialogues(run: Run) -> dict[str, dict]:
    return {row["dialogue_id"]: row for s in ("generate", "rewrite") for row in run.rows(f"dialogues/{s}-bread")}


def test_every_dialogue_ends_in_one_table_with_its_reason(made, curated):
    before, after = dialogues(made), by_id(curated)
    assert before.keys() == after.keys()
    spoken = {text.strip(): reason for reason, text in SPOILED.values()}
    for name, row in after.items():
        reply = before[name]["messages"][-1]["content"]
        kept = row["status"] == "ok"
        assert row["reason"] in {spoken.get(reply), "real_person"} | CHOSEN
        assert kept == (row["reason"] is None)
        assert row["messages"] == (before[name]["messages"] if kept else None)
        assert kept or row["detail"].endswith(reply) or row["reason"] == "personal_data"
        same = ("character_id", "instruction_id", "corpus", "strategy", "prompt", "model")
        assert {key: row[key] for key in same} == {key: before[name][key] for key in same}
    expected = Counter(reason for reason, _ in SPOILED.values()) - Counter(["near_duplicate"])
    expected["real_person"] = sum(row["character_id"] == content_id(REAL_PERSONA) for row in before.values())
    assert expected["real_person"]
    assert Counter(row["reason"] for row in after.values() if row["reason"] not in CHOSEN) == expected


def test_a_personal_datum_goes_no_further(curated):
    (row,) = [row for row in rows(curated) if row["reason"] == "personal_data"]
    assert row["detail"].startswith("e-mail address in reply 1: … ")
    assert row["detail"].endswith(" Write to [e-mail address], love.")
    for path in Path(curated.output, "curated").rglob("*.json"):
        assert ADDRESS not in path.read_text()
    assert ADDRESS not in json.dumps(rows(curated))
    told = curated.table("curated/train").manifest()["safety"]
    assert (told["people"]["names"], told["toxicity"], told["personal_data"][0]) == (1, 0.99, "email")


CHOSEN = {None, "over_mixture_quota", "over_character_limit"}


def test_the_mixture_keeps_its_proportions_and_no_character_is_heard_too_often(curated):
    reasons = Counter((row["strategy"], row["reason"]) for row in rows(curated))
    assert reasons["rewrite", None] == round(reasons["generate", None] * 2 / 3)
    assert reasons["generate", "over_mixture_quota"] == 0
    assert reasons["rewrite", "over_mixture_quota"] > 20
    assert reasons["generate", "over_character_limit"] > 0
    assert max(Counter(row["character_id"] for row in rows(curated) if row["status"] == "ok").values()) <= MOST


def test_what_was_found_stands_before_the_reply(curated):
    told = {row["reason"]: row["detail"].split("\n\n") for row in rows(curated) if row["reason"]}
    assert told["real_person"][0] == "persona: baker number 39"
    assert told["toxic"][0].startswith("offensive with a probability of ")
    assert told["speaks_for_user"][0] == "User:"
    assert told["benchmark_text"][0].endswith("the ferry is late again and forty people are looking at you what")
    keeper = told["near_duplicate"][0].removeprefix("near ")
    twins = [row for row in rows(curated) if row["reason"] == "near_duplicate"]
    assert by_id(curated)[keeper]["reason"] in CHOSEN
    assert all(keeper < row["dialogue_id"] for row in twins)


def test_no_character_of_validation_is_trained_on(curated):
    train, validation = ({row["character_id"] for row in curated.rows(f"curated/{split}")} for split in SPLITS)
    assert not train & validation
    assert len(validation) >= 4
    for split in SPLITS:
        assert {row["split"] for row in curated.rows(f"curated/{split}")} == {split}
        table = curated.table(f"curated/{split}")
        assert all(table.read(shard).schema == EXAMPLES for shard in table.shards())


def test_the_manifests_tell_the_accounts_and_figures_of_the_rows(curated):
    total = 0
    for split in SPLITS:
        manifest = curated.table(f"curated/{split}").manifest()
        accounts = {"ok": manifest["ok"], **manifest["rejected"]}
        assert accounts == curated.reasons(f"curated/{split}")
        assert manifest["rows_in"] == sum(accounts.values())
        total += manifest["rows_in"]
        good = [row for row in curated.rows(f"curated/{split}") if row["status"] == "ok"]
        figures = manifest["figures"]
        assert figures["characters"] == len({row["character_id"] for row in good})
        assert figures["demographics"]["age"] == {"30-39": figures["characters"]}
        assert figures["languages"] == {"english": len(good)}
        assert figures["turns"] == len(good)
        assert 0 < figures["distinct_ngrams"]["1"]["share"] < figures["distinct_ngrams"]["3"]["share"] <= 1
        assert manifest["sources"] == dict(Counter(f"{row['strategy']}-{row['corpus']}" for row in good))
        assert manifest["benchmark"]["texts"] == 2
    assert total == 2 * INSTRUCTIONS
    assert not list(Path(curated.output, SCRATCH).glob("*"))


@pytest.mark.slow
def test_a_run_killed_on_s3_goes_on_and_a_finished_one_is_skipped(made, curated, s3, tmp_path):
    place = f"{s3}/curate"
    fs, name = file_io.filesystem(place)
    fs.put(made.output, name, recursive=True)
    run = Run(tmp_path, made.config | {"output": place})
    run.kill_when(lambda: len(files(run, SCRATCH, "/verdicts/")) >= 1, job="curate")
    # What a kill in the middle of writing leaves besides: a whole shard, and no manifest.
    shard = curated.table("curated/train").shards()[0]
    run.table("curated/train").write_arrow(shard, curated.table("curated/train").read(shard))
    assert "going on" in run.finish(job="curate")
    assert by_id(run) == by_id(curated)

    before = files(run, "curated", ".parquet")
    assert begin(load_config(tmp_path / "config.json"), Progress()) is None, "it is finished"
    assert files(run, "curated", ".parquet") == before


def files(run: Run, folder: str, part: str) -> dict[str, object]:
    """The files below a folder whose path has a part, and when each was written."""
    fs, name = file_io.filesystem(file_io.join(run.output, folder))
    found = fs.find(name, detail=True) if fs.exists(name) else {}
    return {path: info["LastModified"] for path, info in found.items() if part in path}


@pytest.mark.slow
def test_a_run_without_a_good_dialogue_says_so_and_the_old_tables_are_kept(curated, tmp_path):
    run = copied(curated, tmp_path)
    code = run.start("--limit", "5", "curation.quality.min_words=10000", "curation.mixture=[]", job="curate").wait(120)
    line = run.log().splitlines()[-1]
    assert code == 2, run.log()
    assert line.startswith("error: curated: none of 10 dialogues is good (too_short 10); loosen curation.quality")
    assert "Traceback" not in run.log()
    assert run.table("curated/train").manifest() is None
    assert len(list(Path(run.output, "archive").glob("curated-*/.manifest.json"))) == 2


def test_what_is_missing_is_told_before_anything_runs(made, tmp_path):
    run = copied(made, tmp_path)
    assert run.start("curation.benchmark=/nowhere", job="curate").wait(60) == 2, run.log()
    assert run.log().startswith("error: benchmark /nowhere/personas.json: no such file; curation.benchmark ")
    assert run.log().count("\n") == 1

    def told(**curation: object) -> str:
        path = tmp_path / "other.json"
        path.write_text(json.dumps(run.config | {"curation": run.config["curation"] | curation}))
        with pytest.raises(UserError) as problem:
            check(load_config(path))
        return str(problem.value)

    bread = {"corpus": "bread", "strategy": "rewrite"}
    assert "validation_fraction" in told(validation_fraction=1)
    run.config["safety"] = {"real_people_file": "/nowhere.txt"}
    assert told().startswith("people /nowhere.txt: no such file; safety.real_people_file names ")
    run.config["safety"] = {"phone_regions": ["XX"]}
    assert "no country is 'XX'" in told()
    run.config["safety"] = {}
    assert "twice" in told(mixture=[bread, bread])
    assert "weight for some" in told(mixture=[bread, {"corpus": "bread", "strategy": "generate", "weight": 1}])
    line = told(mixture=[{"corpus": "cake", "strategy": "rewrite"}])
    assert "rewrite-cake: there is no finished table" in line
    assert "make synthesize" in line
    manifest = Path(run.output, "assignments", "bread", ".manifest.json")
    manifest.write_text(manifest.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    assert "other assignments" in told()
    shutil.copy(Path(made.output, "assignments", "bread", ".manifest.json"), manifest)
    for strategy in WEIGHTS:
        counted = Path(run.output, "dialogues", f"{strategy}-bread", ".manifest.json")
        counted.write_text(json.dumps(json.loads(counted.read_text()) | {"ok": 0}))
    assert "no dialogue was accepted" in told()
    assert not Path(run.output, "curated").exists()


def test_a_dry_run_tells_sources_rules_and_thresholds_and_writes_nothing(made, tmp_path):
    run = copied(made, tmp_path)
    before = sorted(Path(run.output).rglob("*"))
    said = run.finish(
        "--dry-run", "curation.quality.disabled_rules=[unfinished_sentence]", "profiles.language=Klingon", job="curate"
    )
    for part in (
        "generate-bread",
        "200",
        "wrong_language",
        "min_words 3",
        "12 bands of 10",
        "2 texts",
        "1 names",
        "Klingon",
    ):
        assert part in said
    assert "unfinished_sentence," not in said
    assert sorted(Path(run.output).rglob("*")) == before
