"""Export: files of about equal size, and a card that no text breaks."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow.json import read_json

from factory.config import RunConfig
from factory.config.loading import checked
from factory.errors import ConfigError, InputError, StorageError, TableError
from factory.export.export_files import split_rows, write_shards
from factory.export.export_stats import ExportStats
from factory.export.hub import check_access
from factory.export.provenance import SourceTable, find_inputs, find_models, find_source_tables
from factory.export.sources import find_sources
from factory.export.speakers import ids_to_numbers
from factory.export.write_export import check_folder, default_folder, export
from factory.resources import RESOURCES
from factory.run_output.licenses import (
    License,
    LicensedInput,
    combine_for_hub,
    license_of_input,
    license_of_model,
    public_name,
)
from factory.runtime.progress import Progress
from factory.storage.tables import Table
from factory.text.markdown_cells import cell, fenced
from tests.hard_texts import HARD
from tests.made_tables import FINISHED, leave_out, make_tables

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])


@settings(deadline=None)
@given(rows=st.integers(0, 10**8), size=st.floats(1, 10**5), shard=st.integers(1, 10**9))
def test_files_have_equal_sizes_and_all_rows(rows, size, shard):
    if rows * size / shard > 10**4:
        return
    sizes = split_rows(rows, size, shard)
    assert sum(sizes) == rows
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert len(sizes) <= rows
    assert all(rows_of_file * size <= shard + size for rows_of_file in sizes)


@pytest.mark.parametrize("file_type", ["jsonl", "parquet"])
def test_files_have_the_rows_in_order(tmp_path, file_type):
    rows = [{"n": n, "text": text} for n, text in enumerate(HARD * 40)]
    sizes = split_rows(len(rows), 100, 30_000)
    assert len(sizes) == 3
    written = write_shards(iter(rows), SCHEMA, "train", sizes, str(tmp_path), file_type)
    names = [f"train-0000{n}-of-00003.{file_type}" for n in range(3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names == list(written.files)
    assert written.files == {name: (tmp_path / name).stat().st_size for name in names}
    read = {"jsonl": read_json, "parquet": pq.read_table}[file_type]
    assert [row for name in names for row in read(tmp_path / name).to_pylist()] == rows


def test_row_groups_are_bounded(tmp_path):
    rows = ({"n": n, "text": "x" * 100} for n in range(10_000))
    write_shards(rows, SCHEMA, "train", [10_000], str(tmp_path), "parquet")
    groups = pq.ParquetFile(tmp_path / "train-00000-of-00001.parquet").metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [4096, 4096, 1808]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*HARD, "`" * 3, "`" * 9, "~~~", "\n", "    "])).map("".join))
def test_code_block_ends_after_its_text(text):
    first, *body, last = fenced(text, "json").split("\n")
    assert re.fullmatch("`{3,}json", first)
    assert last == first.removesuffix("json")
    assert not [line for line in body if re.match(rf"\s*{last}", line)]
    assert "\n".join(body) == text.rstrip("\n")


@settings(deadline=None)
@given(st.one_of(st.text(), st.sampled_from(HARD)))
def test_table_cell_is_one_line_without_markup(text):
    escaped = cell(text)
    assert escaped.isprintable()
    assert not re.search(r"(?<!\\)(\\\\)*[|<`*_\[]", escaped)


def row(number: int, replies: list[str]) -> dict:
    messages = [{"role": "system", "content": "s" * 100}]
    for reply in replies:
        messages += [{"role": "user", "content": "u"}, {"role": "assistant", "content": reply}]
    ids = {"character_id": f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}", "corpus": "lima", "strategy": "generate"}
    return {**ids, "messages": messages, "output_tokens": None if number % 2 else 5}


def test_statistics_do_not_depend_on_batches():
    rows = [row(number // 2, ["x" * (number + 1)] * (number % 12 + 1)) for number in range(600)]
    table = pa.Table.from_pylist(rows)
    stats = ExportStats()
    for start in range(0, 600, 70):
        stats.add(table.slice(start, 70))
    result = stats.to_json()
    assert result["dialogues"] == 600
    assert result["characters"] == 300
    assert result["kinds"] == [["lima", "generate", 600]]
    assert result["turns"] == {**{str(n): 50 for n in range(1, 8)}, "8": 250}
    assert result["reply_tokens"] == 5 * 300
    assert result["lengths"]["system"] == {
        "messages": 600, "mean": 100.0, "p10": pytest.approx(100, rel=0.02), "p50": pytest.approx(100, rel=0.02),
        "p90": pytest.approx(100, rel=0.02), "longest": 100,
    }  # fmt: skip
    lengths = sorted(len(m["content"]) for row in rows for m in row["messages"] if m["role"] == "assistant")
    replies = result["lengths"]["assistant"]
    assert (replies["messages"], replies["longest"]) == (len(lengths), 600)
    assert replies["mean"] == pytest.approx(sum(lengths) / len(lengths), abs=0.1)
    for name, share in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9)):
        assert replies[name] == pytest.approx(lengths[int(share * len(lengths))], rel=0.03)


def test_licenses_are_recognized_by_names():
    def named(name: str, path: str) -> str | None:
        license = license_of_input(name, path, 1)
        return license and license.hub

    assert named("personas", "hf://datasets/proj-persona/PersonaHub/persona.jsonl") == "cc-by-nc-sa-4.0"
    assert named("ph-instruct", "/data/instruction.jsonl") == "cc-by-nc-sa-4.0"
    assert named("lima", "train.jsonl") == named("x", "hf://datasets/GAIR/lima/train.jsonl") == "other"
    assert named("alpaca", "s3://bucket/a.parquet") == "cc-by-nc-4.0"
    assert named("alpaca-gpt4", "/data/climate.jsonl") is None
    assert named("personas", "hf://datasets/nvidia/Nemotron-Personas/x.parquet") == "cc-by-4.0"
    shipped = RESOURCES / "data" / "personas.jsonl"
    assert license_of_input("personas", "/elsewhere/personas.jsonl", shipped.stat().st_size).license == "Apache-2.0"
    assert license_of_input("personas", "/elsewhere/personas.jsonl", 1) is None
    models = {
        "HuggingFaceTB/SmolLM2-135M-Instruct": "SmolLM2",
        "meta-llama/Meta-Llama-3-70B-Instruct": "Meta Llama 3",
        "meta-llama/Llama-3.1-8B": "Llama 3.1 and later",
        "gpt-4o-2024-05-13": "an OpenAI model",
        "openai/gpt-oss-20b": None,
        "scripted": None,
    }
    assert {name: (found := license_of_model(name)) and found.name for name in models} == models


def test_hub_license_needs_one_known_license_for_all():
    def license(hub: str | None) -> License:
        return License(match="", name="", license="", hub=hub, terms="", link="")

    free, ours, theirs = license(None), license("apache-2.0"), license("cc-by-nc-sa-4.0")
    assert combine_for_hub([ours, ours, free]) == "apache-2.0"
    assert combine_for_hub([theirs, free]) == "cc-by-nc-sa-4.0"
    assert combine_for_hub([ours, theirs]) == "other"
    assert combine_for_hub([ours, None]) == "other"
    assert combine_for_hub([free]) == combine_for_hub([]) == "other"


def sources_of(config: dict, what: str = "curated", form: str = "messages", file_type: str = "jsonl"):
    return find_sources(checked(RunConfig, config, "config key"), what, form, file_type)


def test_missing_or_unrelated_tables_are_errors(tmp_path):
    config = make_tables(tmp_path, [[("a", "b")]] * 4)
    (tmp_path / "curated/validation/.manifest.json").unlink()
    with pytest.raises(
        ConfigError, match=r"curated/validation: there is no finished table; run `character-factory synth.* --what dia"
    ):
        sources_of(config)
    assert sources_of(config, "dialogues").splits[0].rows == 4
    with pytest.raises(ConfigError, match="generate-cake: there is no finished table"):
        sources_of({**config, "instructions": [{"corpus": "cake", "source": "x"}]}, "dialogues")
    with pytest.raises(ConfigError, match="has no corpus"):
        sources_of({**config, "instructions": []}, "dialogues")
    profiles = Table(str(tmp_path), "profiles")
    manifest = profiles.manifest()
    profiles.finish(manifest | {"finished": FINISHED.replace("2026", "2027")})
    assert sources_of(config, "dialogues").splits
    with pytest.raises(InputError, match=r"profiles: was built again after .*; run `character-factory synthesize`"):
        sources_of(config, "dialogues", "opencharacter")


def test_dialogues_built_again_do_not_match_curation(tmp_path):
    config = make_tables(tmp_path, [[("a", "b")]] * 4)
    dialogues = Table(str(tmp_path), "dialogues/generate-samples")
    dialogues.finish(dialogues.manifest() | {"finished": FINISHED.replace("2026", "2027")})
    with pytest.raises(
        InputError, match=r"generate-samples: was built again after .*curated/train; run `character-factory curate`"
    ):
        sources_of(config)
    assert sources_of(config, "dialogues").splits
    (Path(dialogues.path) / ".manifest.json").unlink()  # a missing table cannot contradict
    assert sources_of(config).splits


def test_wrong_row_count_in_a_manifest_is_an_error(tmp_path):
    config = make_tables(tmp_path, [[("a", "b")]] * 4)
    table = Table(str(tmp_path), "curated/train")
    for ok in (3, 5):
        manifest = table.manifest()
        table.finish(manifest | {"ok": ok, "finished": str(ok)})
        sources = sources_of(config)
        with pytest.raises(TableError, match=f"{ok} accepted rows by the manifest, but 4 were found"):
            export(sources, str(tmp_path / "out"), "jsonl", Progress())
        assert not (tmp_path / "out" / ".manifest.json").exists()


def test_characters_without_dialogues_are_not_exported(tmp_path):
    config = make_tables(tmp_path, [[("a", "b")]] * 45, validation=10, shard_rows=8)
    gone = leave_out(str(tmp_path), 7)
    sources = sources_of(config, form="opencharacter")
    export(sources, default_folder(sources), "jsonl", Progress())
    assert not [path for path in folder_files(sources) if gone in path.read_text()]
    characters = [json.loads(line) for line in (folder_files(sources)[0]).read_text().splitlines()]
    profiles = [row for row in Table(str(tmp_path), "profiles").read("000000000").to_pylist() if row["status"] == "ok"]
    assert [row["character_id"] for row in characters] == [
        row["character_id"] for row in profiles if row["character_id"] != gone
    ], "ids above and below 2**63"
    card = Path(default_folder(sources), "README.md").read_text()
    assert "has 19 rows: the characters with a dialogue in one of the splits." in card

    before = sources_of(config, "dialogues", "opencharacter")
    export(before, default_folder(before), "jsonl", Progress())
    assert len(folder_files(before)[0].read_text().splitlines()) == 20


def folder_files(sources) -> list[Path]:
    """Return the exported files, the characters first."""
    return sorted(path for path in Path(default_folder(sources)).iterdir() if path.suffix == ".jsonl")


@given(st.lists(st.integers(0, 2**64 - 1).map("{:016x}".format)))
def test_ids_and_numbers_have_the_same_order(ids):
    assert ids_to_numbers(pa.array(sorted(ids), pa.string())).tolist() == sorted(int(id_, 16) for id_ in ids)


def test_folder_with_other_files_is_refused(tmp_path):
    check_folder(str(tmp_path / "new"))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    with pytest.raises(StorageError, match=r"has README.md, which no export wrote; give --output an empty folder"):
        check_folder(str(folder))
    config = make_tables(tmp_path / "run", [[("a", "b")]] * 4)
    sources = sources_of(config)
    target = default_folder(sources)
    export(sources, target, "jsonl", Progress())
    check_folder(target)
    for left in (".writable-{0}", ".writable-{0}.{0}.tmp", ".manifest.json.{0}.tmp", ".train-00000-of-00001.jsonl.tmp"):
        (Path(target) / left.format("0" * 32)).touch()  # by a kill
    check_folder(target)
    (tmp_path / "run/export/messages/secret.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"has secret\.txt"):
        check_folder(target)


def card_of(output: Path, what: str, safety: dict | None) -> str:
    """Return the card of a run whose curation recorded these safety checks."""
    config = make_tables(output, [[("a", "b")]] * 4)
    table = Table(str(output), "curated/train")
    table.finish(table.manifest() | ({"safety": safety} if safety else {}))
    sources = sources_of(config, what)
    export(sources, default_folder(sources), "jsonl", Progress())
    return " ".join(Path(default_folder(sources), "README.md").read_text().split())


def test_card_has_the_safety_checks(tmp_path):
    people = {"place": "/home/me/secret/people.txt", "names": 1234, "digest": "d1ge57"}
    safety = {"personal_data": ["email", "phone"], "phone_regions": ["US", "KR"], "toxicity": 0.97, "people": people}
    card = card_of(tmp_path / "all", "curated", safety)
    for part in (
        r"| safety.personal\_data | email, phone; not checked: card, iban, national\_id |",
        r"| safety.phone\_regions | US, KR |",
        r"| safety.real\_people | 1,234 names in people.txt |",
        "| safety.toxicity | 0.97 |",
        "the full name of one of 1,234 real people (people.txt) were left out",
        r"were left out: email, phone. They are detected",
        r"such as addresses and card, iban, national\_id, were not checked",
        "offensive with a probability of 0.97 or more",
    ):
        assert part in card, part
    for part in ("| safety |", "d1ge57", "secret", "nobody looked", "not checked for harm"):
        assert part not in card, part


@pytest.mark.parametrize("safety", [None, {"personal_data": [], "phone_regions": ["US"], "toxicity": None}])
def test_card_has_the_omitted_safety_checks(tmp_path, safety):
    card = card_of(tmp_path, "curated", safety)
    for part in (
        r"| safety.personal\_data | not checked |",
        r"| safety.real\_people | not checked |",
        "| safety.toxicity | not checked |",
        "They were not checked for names of real people.",
        "Personal data: not checked.",
        "Replies were not checked for offensive or harmful content.",
    ):
        assert part in card, part


def test_card_before_curation_has_no_checks(tmp_path):
    card = card_of(tmp_path, "dialogues", {"personal_data": ["email"], "phone_regions": [], "toxicity": 0.97})
    assert "or safety (personal data, names of real people, offensive replies) were applied" in card
    assert "No safety check was applied: personas and profiles were not checked for names of real people" in card
    assert "Replies were not checked for offensive or harmful content." in card
    assert "left out" not in card.partition("## Known limits")[2].partition("## Licenses")[0]


def test_card_has_omitted_dedup_and_row_limit(tmp_path):
    assert "Near-duplicates are found by MinHash" in card_of(tmp_path / "all", "curated", None)
    config = make_tables(tmp_path, [[("a", "b")]] * 4)
    for split in ("train", "validation"):
        table = Table(str(tmp_path), f"curated/{split}")
        manifest, settings = table.manifest(), table.inputs()
        settings |= {"near_duplicates": {"threshold": None}, "limit": 4}
        (tmp_path / f"curated/{split}/.inputs.json").write_text(
            json.dumps({"fingerprint": "chosen", "settings": settings})
        )
        table.finish(manifest)
    sources = sources_of(config)
    export(sources, default_folder(sources), "jsonl", Progress())
    card = Path(default_folder(sources), "README.md").read_text()
    assert "Near-duplicates: not checked." in card
    assert "| limit | 4 |" in card


def test_prompt_of_another_version_is_not_shown(tmp_path):
    config = make_tables(tmp_path, [[("a", "b")]] * 4)
    profiles = Table(str(tmp_path), "profiles")
    settings = profiles.inputs()
    manifest = profiles.manifest()
    profiles.begin("other", settings | {"prompt": "profile@0#deadbeef"})
    profiles.finish(manifest)
    sources = sources_of(config)
    export(sources, default_folder(sources), "jsonl", Progress())
    card = (tmp_path / "export/messages/README.md").read_text()
    assert "`profile@0#deadbeef`\n\nThe text of this version is not available" in card
    for part in ("# Character Profile", "dialogue-generate@1#", "training-system@1#"):
        assert part in card


def test_manifest_lists_each_file(tmp_path):
    config = make_tables(tmp_path, [[("a", "b" * 100)]] * 50, validation=10)
    sources = sources_of(config)
    export(sources, default_folder(sources), "jsonl", Progress(), shard_bytes=10_000)
    manifest = Table(str(tmp_path), "export/messages").manifest()
    assert manifest["ok"] == manifest["rows_in"] == 50
    assert manifest["parts"]["train"]["rows"] == 40
    files = manifest["parts"]["train"]["files"]
    assert len(files) > 1
    assert all(5_000 < size < 11_000 for size in files.values())


@pytest.mark.parametrize("name", ["train-00000-of-00002.jsonl", "validation-00000-of-00001.jsonl", "README.md"])
@pytest.mark.parametrize("how", ["gone", "cut short"])
def test_incomplete_export_is_rebuilt(tmp_path, name, how):
    sources = sources_of(make_tables(tmp_path, [[("a", "b" * 100)]] * 50, validation=10))
    folder = Path(default_folder(sources))

    def data() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("*-of-*")}

    export(sources, str(folder), "jsonl", Progress(), shard_bytes=15_000)
    before, finished = data(), (folder / ".manifest.json").read_bytes()
    export(sources, str(folder), "jsonl", Progress(), shard_bytes=15_000)
    assert (folder / ".manifest.json").read_bytes() == finished
    if how == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(before.get(name, b"")[:-1])
    export(sources, str(folder), "jsonl", Progress(), shard_bytes=15_000)
    assert data() == before
    assert (folder / "README.md").read_text().startswith("---\n")


def test_files_of_an_earlier_export_are_removed(tmp_path):
    sources = sources_of(make_tables(tmp_path, [[("a", "b")]] * 4))
    folder = Path(default_folder(sources))
    export(sources, str(folder), "jsonl", Progress())
    (folder / "train-00007-of-00009.jsonl").write_text("earlier\n")
    export(sources, str(folder), "jsonl", Progress())
    assert [path.name for path in folder.glob("*-of-*")] == ["train-00000-of-00001.jsonl"]


def test_card_has_no_private_folder_or_endpoint():
    assert (
        public_name("/home/me/secret/personas.jsonl") == public_name("s3://secret/personas.jsonl") == "personas.jsonl"
    )
    assert public_name("embedded") == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert public_name("hf://datasets/GAIR/lima/train.jsonl") == "hf://datasets/GAIR/lima/train.jsonl"
    settings = {"engine": "openai", "ref": "gpt-4o", "seed": 1, "sampling": {}}
    counts = {"prompt_tokens": 1, "output_tokens": 2}

    def revision(url: str) -> str:
        return find_models([SourceTable("profiles", counts, settings | {"revision": url})])[0].revision

    assert "secret" not in revision("http://secret.internal:8000/v1")


def test_missing_input_has_an_unknown_license(tmp_path):
    sources = sources_of(make_tables(tmp_path, [[("a", "b")]] * 4))
    (personas, instructions) = find_inputs(sources, find_source_tables(sources))
    assert personas == LicensedInput("personas", (), 0, None)
    assert (instructions.what, instructions.license) == ("instructions, corpus `samples`", None)


@pytest.mark.parametrize("repo", ["dialogues", "baker/../x", "a/b/c", "/x", "baker/", "baker/a b", "-/-", ""])
def test_a_repository_that_can_be_none_is_told_before_anything_is_written(repo):
    with pytest.raises(ConfigError, match="give it as OWNER/NAME"):
        check_access(repo)
