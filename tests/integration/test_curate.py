"""The curate job on dialogues of the synthesize job: every row once, with its reason, on disk and on S3."""

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from factory.config.loading import load_config
from factory.curation.curation_run import begin
from factory.curation.dry_run import check
from factory.errors import UserError
from factory.records import content_id
from factory.runtime.progress import Progress
from factory.storage import file_io, tables
from factory.storage.schemas import EXAMPLES
from tests.integration.conftest import make_runs
from tests.integration.runs import GOOD_PROFILE, Run

TEMPORARY = f"{tables.TEMPORARY}/curated"
INSTRUCTIONS = 200
PERSONAS = 40
SPLITS = ("train", "validation")
WEIGHTS = {"generate": 3, "rewrite": 2}
MAX_PER_CHARACTER = 6
QUESTION = "The ferry is late again and forty people are looking at you: what do you say to them, and what do you do?"
VOICE = (
    "the bread is warm and I know every one who comes in before light with snow on their boots because my aunt taught "
    "me to listen first then knead slowly never count loaves twice or sell what you would not eat yourself on a cold "
    "morning when all of our street still sleeps under its blankets while water runs down old windows"
)
WORDS = VOICE.split()
SPANISH = "El pan se hace con harina, agua y sal, y hay que amasarlo con mucho cariño antes de meterlo en el horno."


def speech(seed: str) -> str:
    """Return a unique reply."""
    words = random.Random(seed).choices(WORDS, k=60)
    return f"Listen, love: {' '.join(words)}."


SAME = speech("the same")
ADDRESS = "ada.oduya@lagosbread.com"
REAL = "Baker, Number 39"
"""The person that one of the personas names."""
REAL_PERSONA = "a baker, number 39"
REJECTED = {
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
    ("rewrite", 14): ("leaked_thoughts", f"<reasoning>{speech('thought')}</reasoning>\n\n{speech('thinks')}"),
    ("generate", 10): ("near_duplicate", SAME),
    ("rewrite", 10): ("near_duplicate", SAME.replace("love", "my love")),
    ("generate", 11): ("near_duplicate", SAME.upper()),
    ("generate", 12): ("personal_data", f"{speech('mail')} Write to {ADDRESS}, love."),
    ("rewrite", 13): ("toxic", f"{speech('insult')} You stupid fucking bitch, get the fuck out of my shop."),
}
"""The reasons and replies of rejected dialogues; one of the near-duplicates is kept."""
THOUGHT = (
    'THOUGHT: they ask about bread {"replies": ["THOUGHT"]} }{ and I am a baker who was told to answer in two '
    "sentences, as it is the same thought for all of them, word by word, each time."
)
THINKING = {
    20: f"<think>\n{THOUGHT}\n</think>\n\n",
    21: f"{THOUGHT}\n</think>\n\n",
    22: "<think>\n\n</think>\n\n",
    23: f"[THINK]{THOUGHT}[/THINK]",
    24: f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>",
    25: f"<think>{THOUGHT}</think>Hm.<think>{THOUGHT} Write to {ADDRESS}, love.</think>",
    26: f"analysis{THOUGHT}assistantfinal",
}
"""What a reasoning model writes before some of its replies."""
UNCLOSED = 27


def user_turn(number: int) -> str:
    return QUESTION if number == 8 else f"What do you do at {number} minutes past five?"


def settings(folder: Path) -> dict:
    """Return settings with a corpus, and an engine with a unique reply to each of its instructions."""
    corpus = folder / "bread.jsonl"
    with corpus.open("w") as file:
        for number in range(INSTRUCTIONS):
            turns = [("user", user_turn(number)), ("assistant", speech(f"reference {number}"))]
            file.write(json.dumps({"messages": [{"role": r, "content": c} for r, c in turns]}) + "\n")
    benchmark = folder / "benchmark" / "questions" / "set"
    benchmark.mkdir(parents=True)
    (benchmark.parents[1] / "personas.json").write_text(json.dumps(["A ferryman from Oban who hums to the engine"]))
    (benchmark / "ferryman.json").write_text(json.dumps({"Expected Action": [QUESTION]}))
    (folder / "people.txt").write_text(f"# People\n{REAL}\n")
    replies = []
    for number in range(INSTRUCTIONS):
        texts = {s: REJECTED.get((s, number), ("", speech(f"{s} {number}")))[1] for s in ("generate", "rewrite")}
        thought = THINKING.get(number, "")
        rewritten = thought + json.dumps({"replies": [texts["rewrite"]]})
        replies.append({"contains": f"[user]\n{user_turn(number)}\n", "reply": rewritten})
        generated = f"<think>\n{THOUGHT}" if number == UNCLOSED else thought + texts["generate"]
        replies.append({"contains": user_turn(number), "reply": generated})
    return {
        "engine": {"kind": "scripted", "replies": replies, "default": THINKING[21] + json.dumps(GOOD_PROFILE)},
        "instructions": [{"corpus": "bread", "source": str(corpus)}],
        "dialogues": {"strategies": ["generate", "rewrite"], "characters_per_instruction": 1},
        "curation": {
            "validation_fraction": 0.25,
            "benchmark": str(benchmark.parents[1]),
            "mixture": [{"corpus": "bread", "strategy": s, "weight": w} for s, w in WEIGHTS.items()],
            "max_per_character": MAX_PER_CHARACTER,
        },
        "safety": {"real_people_file": str(folder / "people.txt")},
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory, shared_ray):
    """A run with dialogues that are not curated."""
    folder = tmp_path_factory.mktemp("made")
    for make in make_runs(folder, shared_ray):
        run = make("dialogues", PERSONAS, **settings(folder))
        run.finish()
        yield run


@pytest.fixture(scope="module")
def curated(made, tmp_path_factory):
    """A run that was curated without interruption; no test changes it."""
    run = copied(made, tmp_path_factory.mktemp("curated"))
    run.finish(job="curate")
    return run


def copied(run: Run, folder: Path) -> Run:
    """Return a run with a copy of the tables."""
    shutil.copytree(run.output, folder / "run")
    return Run(folder, run.config | {"output": str(folder / "run")}, environment=run.environment)


def rows(run: Run) -> list[dict]:
    return [row for split in SPLITS for row in run.rows(f"curated/{split}")]


def by_id(run: Run) -> dict[str, dict]:
    found = rows(run)
    assert len({row["dialogue_id"] for row in found}) == len(found), "a dialogue appears twice"
    return {row["dialogue_id"]: row for row in found}


def dialogues(run: Run, status: str = "ok") -> dict[str, dict]:
    found = [row for s in ("generate", "rewrite") for row in run.rows(f"dialogues/{s}-bread")]
    return {row["dialogue_id"]: row for row in found if row["status"] == status}


def test_every_dialogue_is_in_one_table_with_its_reason(made, curated):
    before, after = dialogues(made), by_id(curated)
    assert before.keys() == after.keys()
    reasons = {text.strip(): reason for reason, text in REJECTED.values()}
    for name, row in after.items():
        reply = before[name]["messages"][-1]["content"]
        kept = row["status"] == "ok"
        assert row["reason"] in {reasons.get(reply), "real_person"} | SELECTION
        assert kept == (row["reason"] is None)
        assert row["messages"] == (before[name]["messages"] if kept else None)
        assert kept or row["detail"].endswith(reply) or row["reason"] == "personal_data"
        same = ("character_id", "instruction_id", "corpus", "strategy", "prompt", "model")
        assert {key: row[key] for key in same} == {key: before[name][key] for key in same}
    expected = Counter(reason for reason, _ in REJECTED.values()) - Counter(["near_duplicate"])
    expected["real_person"] = sum(row["character_id"] == content_id(REAL_PERSONA) for row in before.values())
    assert expected["real_person"]
    assert Counter(row["reason"] for row in after.values() if row["reason"] not in SELECTION) == expected


def test_thoughts_are_kept_apart_and_never_curated(made, curated):
    profiles = made.rows("profiles")
    assert {(row["name"], *row["thoughts"]) for row in profiles} == {(GOOD_PROFILE["name"], THOUGHT)}
    before, after = dialogues(made), by_id(curated)
    (unclosed,) = dialogues(made, "rejected").values()
    assert (unclosed["reason"], unclosed["detail"], unclosed["thoughts"]) == ("truncated", "", [THOUGHT])
    assert "THOUGHT" not in json.dumps([row["messages"] for row in before.values()])
    thinking = {name: row for name, row in before.items() if row["thoughts"]}
    assert len(thinking) == 2 * (len(THINKING) - 1), "all but the empty thought"
    assert all("THOUGHT" in row["thoughts"][0] and row["thought_tokens"] > 30 for row in thinking.values())
    held = {name for name, row in thinking.items() if ADDRESS in row["thoughts"][0]}
    assert len(held) == 2
    assert {after[name]["reason"] for name in thinking} <= SELECTION | {"real_person"}
    for name, row in after.items():
        assert row["thoughts"] == (before[name]["thoughts"] if row["status"] == "ok" and name not in held else None)
        assert "THOUGHT" not in json.dumps([row["messages"], row["detail"]])
    assert any(row["thoughts"] for row in after.values())
    tokens = sum(row["thought_tokens"] for row in [*before.values(), unclosed])
    strategies = [made.table(f"dialogues/{strategy}-bread").manifest() for strategy in WEIGHTS]
    assert sum(manifest["thought_tokens"] for manifest in strategies) == tokens


def test_personal_data_are_not_passed_on(curated):
    (row,) = [row for row in rows(curated) if row["reason"] == "personal_data"]
    assert row["detail"].startswith("e-mail address in reply 1: … ")
    assert row["detail"].endswith(" Write to [e-mail address], love.")
    for path in Path(curated.output, "curated").rglob("*.json"):
        assert ADDRESS not in path.read_text()
    assert ADDRESS not in json.dumps(rows(curated))
    safety = curated.table("curated/train").manifest()["safety"]
    assert (safety["people"]["names"], safety["toxicity"], safety["personal_data"][0]) == (1, 0.99, "email")


SELECTION = {None, "over_mixture_quota", "over_character_limit"}


def test_mixture_and_limit_per_character_hold(curated):
    reasons = Counter((row["strategy"], row["reason"]) for row in rows(curated))
    assert reasons["rewrite", None] == round(reasons["generate", None] * 2 / 3)
    assert reasons["generate", "over_mixture_quota"] == 0
    assert reasons["rewrite", "over_mixture_quota"] > 20
    assert reasons["generate", "over_character_limit"] > 0
    kept = Counter(row["character_id"] for row in rows(curated) if row["status"] == "ok")
    assert max(kept.values()) <= MAX_PER_CHARACTER


def test_details_begin_with_what_was_found(curated):
    details = {row["reason"]: row["detail"].split("\n\n") for row in rows(curated) if row["reason"]}
    assert details["real_person"][0] == "persona: baker number 39"
    assert details["toxic"][0].startswith("offensive with a probability of ")
    assert details["speaks_for_user"][0] == "User:"
    assert details["benchmark_text"][0].endswith("the ferry is late again and forty people are looking at you what")
    kept = details["near_duplicate"][0].removeprefix("near ")
    duplicates = [row for row in rows(curated) if row["reason"] == "near_duplicate"]
    assert by_id(curated)[kept]["reason"] in SELECTION
    assert all(kept < row["dialogue_id"] for row in duplicates)


def test_splits_share_no_character(curated):
    train, validation = ({row["character_id"] for row in curated.rows(f"curated/{split}")} for split in SPLITS)
    assert not train & validation
    assert len(validation) >= 4
    for split in SPLITS:
        assert {row["split"] for row in curated.rows(f"curated/{split}")} == {split}
        table = curated.table(f"curated/{split}")
        assert all(table.read(shard).schema == EXAMPLES for shard in table.shards())


def test_manifests_count_the_rows(curated):
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
    assert total == 2 * INSTRUCTIONS - 1, "all but the one without a reply"
    assert not list(Path(curated.output, TEMPORARY).glob("*"))


@pytest.mark.slow
def test_killed_run_on_s3_is_resumed(made, curated, s3, tmp_path):
    place = f"{s3}/curate"
    fs, name = file_io.filesystem(place)
    fs.put(made.output, name, recursive=True)
    run = Run(tmp_path, made.config | {"output": place})
    run.kill_when(lambda: len(files(run, TEMPORARY, "/filter-results/")) >= 1, job="curate")
    # A kill in the middle of writing also leaves a whole shard, and no manifest.
    shard = curated.table("curated/train").shards()[0]
    run.table("curated/train").write_arrow(shard, curated.table("curated/train").read(shard))
    assert ": resuming, " in run.finish(job="curate")
    assert by_id(run) == by_id(curated)

    before = files(run, "curated", ".parquet")
    assert begin(load_config(tmp_path / "config.json"), Progress()) is None, "it is finished"
    assert files(run, "curated", ".parquet") == before


def files(run: Run, folder: str, part: str) -> dict[str, object]:
    """Return the files below a folder whose path has a part, and when each was written."""
    fs, name = file_io.filesystem(file_io.join(run.output, folder))
    found = fs.find(name, detail=True) if fs.exists(name) else {}
    return {path: info["LastModified"] for path, info in found.items() if part in path}


@pytest.mark.slow
def test_run_without_accepted_dialogues_fails(curated, tmp_path):
    run = copied(curated, tmp_path)
    code = run.start(
        "--limit", "5", "curation.quality.too_short.min_words=10000", "curation.mixture=[]", job="curate"
    ).wait(120)
    line = run.log().splitlines()[-1]
    assert code == 2, run.log()
    assert line.startswith("error: curated: none of 10 dialogues was accepted (too_short 10); loosen curation.quality")
    assert "Traceback" not in run.log()
    assert run.table("curated/train").manifest() is None
    assert len(list(Path(run.output, "archive").glob("curated-*/.manifest.json"))) == 2


def test_missing_inputs_are_reported_first(made, tmp_path):
    run = copied(made, tmp_path)
    assert run.start("curation.benchmark=/nowhere", job="curate").wait(60) == 2, run.log()
    assert run.log().startswith("error: benchmark /nowhere/personas.json: no such file; curation.benchmark ")
    assert run.log().count("\n") == 1

    def error(**curation: object) -> str:
        path = tmp_path / "other.json"
        path.write_text(json.dumps(run.config | {"curation": run.config["curation"] | curation}))
        with pytest.raises(UserError) as problem:
            check(load_config(path))
        return str(problem.value)

    bread = {"corpus": "bread", "strategy": "rewrite"}
    assert "validation_fraction" in error(validation_fraction=1)
    run.config["safety"] = {"real_people_file": "/nowhere.txt"}
    assert error().startswith("people /nowhere.txt: no such file; safety.real_people_file names ")
    run.config["safety"] = {"phone_regions": ["XX"]}
    assert "'XX' is not a supported country" in error()
    run.config["safety"] = {}
    assert "twice" in error(mixture=[bread, bread])
    assert "weight for some sources" in error(mixture=[bread, {"corpus": "bread", "strategy": "generate", "weight": 1}])
    line = error(mixture=[{"corpus": "cake", "strategy": "rewrite"}])
    assert "rewrite-cake: there is no finished table" in line
    assert "make synthesize" in line
    manifest = Path(run.output, "assignments", "bread", ".manifest.json")
    manifest.write_text(manifest.read_text().replace('"fingerprint": "', '"fingerprint": "0'))
    assert "other assignments" in error()
    shutil.copy(Path(made.output, "assignments", "bread", ".manifest.json"), manifest)
    for strategy in WEIGHTS:
        counted = Path(run.output, "dialogues", f"{strategy}-bread", ".manifest.json")
        counted.write_text(json.dumps(json.loads(counted.read_text()) | {"ok": 0}))
    assert "no dialogue was accepted" in error()
    assert not Path(run.output, "curated").exists()


def test_dry_run_prints_the_plan_and_writes_nothing(made, tmp_path):
    run = copied(made, tmp_path)
    before = sorted(Path(run.output).rglob("*"))
    output = run.finish(
        "--dry-run", "curation.quality.disabled_rules=[unfinished_sentence]", "profiles.language=Klingon", job="curate"
    )
    for part in (
        "generate-bread",
        "199",
        "wrong_language",
        "too_short.min_words 3",
        "12 bands of 10",
        "2 texts",
        "1 names",
        "Klingon",
    ):
        assert part in output
    assert "unfinished_sentence," not in output
    assert sorted(Path(run.output).rglob("*")) == before
