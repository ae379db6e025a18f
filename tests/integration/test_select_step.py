"""The select step on Ray, for dialogues that only exist as results of the filter step."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray

from factory.config import AXES, RunConfig
from factory.curation.curation_inputs import DialogueSource
from factory.curation.curation_run import CurationRun
from factory.curation.dataset_stats import ATTRIBUTES
from factory.curation.filter_step import FILTERED, FilterResult
from factory.curation.select_step import in_mixture, select_dialogues
from factory.curation.verdicts import Verdicts, verdicts_of
from factory.run_output import layout
from factory.runtime import ray_session
from factory.storage.schemas import JUDGED_DIALOGUES
from factory.storage.tables import Table
from factory.text.ngrams import contained

ROWS = 1000
LIMIT = 20
UNITS = 4


@pytest.fixture(scope="module")
def session(shared_ray):
    with pytest.MonkeyPatch.context() as patched:
        for name, value in shared_ray.items():
            patched.setenv(name, value)
        ray.shutdown()  # another module may have joined a cluster
        ray_session.start_ray()
        yield
        ray.shutdown()


def filtered_run(output: str, owners: dict[str, np.ndarray]) -> tuple[CurationRun, FilterResult]:
    """Return a run whose dialogues were all accepted; `owners` has the character of each, by source."""
    curation = {
        "max_per_character": LIMIT,
        "mixture": [{"corpus": name, "strategy": "generate", "weight": 1} for name in owners],
    }
    config = RunConfig.model_validate(
        {
            "output": output,
            "engine": {"kind": "scripted"},
            "personas": {"source": "p.jsonl"},
            "curation": curation,
        }
    )
    profiles = layout.PROFILES.table(output)
    ids = [f"{character:016x}" for character in np.unique(np.concatenate(list(owners.values()))).tolist()]
    profiles.write_arrow(
        "0000",
        pa.table({"character_id": ids, "status": ["ok"] * len(ids), **{name: ["x"] * len(ids) for name in ATTRIBUTES}}),
    )
    profiles.finish({"ok": len(ids)})
    sources = tuple(
        DialogueSource(
            layout.DIALOGUES.table(output, strategy="generate", corpus=name),
            layout.ASSIGNMENTS.table(output, corpus=name),
            1,
            len(characters),
        )
        for name, characters in owners.items()
    )
    unused: Any = None
    run = CurationRun(config, sources, profiles, frozenset(), (), unused, unused, {}, "f", "p")
    units = []
    for number, characters in enumerate(owners.values()):
        for part, own in enumerate(np.array_split(characters, UNITS)):
            unit = {"source": number, "shards": [f"{part:04}"], "rows": len(own)}
            dialogues = np.random.default_rng([number, part]).integers(0, 2**63, len(own)).astype(np.uint64)
            columns = {"dialogue": dialogues, "character": own}
            nulls = {field.name: pa.nulls(len(own), field.type) for field in list(FILTERED)[2:]}
            results = pa.table(columns | nulls, schema=FILTERED)
            run.filtered.write_arrow(run.name(unit), results)
            units.append(unit)
    return run, FilterResult(units, {})


def judge(run: CurationRun, filtered: FilterResult, rejected: range) -> Verdicts:
    """Return verdicts that reject the dialogues of some characters."""
    tables = {number: Table(run.config.output, f"judged/{source.name}") for number, source in enumerate(run.sources)}
    shards: dict[int, set[str]] = {number: set() for number in tables}
    for unit in filtered.units:
        name, number = run.name(unit), unit["source"]
        rows = run.filtered.read(name, ["dialogue", "character"]).to_pylist()
        scores = {"status": "ok", "has_room": True, "facts_score": 5, "answers_score": 5, "reasoning": ""}
        judged = [
            {
                "dialogue_id": f"{row['dialogue']:016x}",
                "voice_score": 1 if row["character"] in rejected else 5,
                **scores,
            }
            for row in rows
        ]
        tables[number].write(name, judged, JUDGED_DIALOGUES)
        shards[number].add(name)
    thresholds = dict.fromkeys(AXES, 3)
    return Verdicts({}, thresholds, True, tables, {number: frozenset(names) for number, names in shards.items()})


@pytest.mark.parametrize(("out_of_voice", "characters_left"), [(0, 10), (4, 6)])
def test_weights_hold_after_the_judge_and_the_limit_per_character(session, tmp_path, out_of_voice, characters_left):
    many, few = np.arange(ROWS, dtype=np.uint64), np.arange(ROWS, dtype=np.uint64) % np.uint64(10) + np.uint64(ROWS)
    run, filtered = filtered_run(str(tmp_path), {"many": many, "few": few})
    rejected = range(ROWS, ROWS + out_of_voice)
    verdicts = judge(run, filtered, rejected) if rejected else verdicts_of(run, {})
    duplicates = ray.put((np.array([], np.uint64), np.array([], np.uint64)))
    selection = select_dialogues(run, filtered, duplicates, verdicts)
    over = ray.get(selection.over_limit)
    kept: dict[int, list[int]] = {0: [], 1: []}
    for unit in filtered.units:
        rows = run.filtered.read(run.name(unit))
        dialogues = rows["dialogue"].to_numpy()
        is_kept = ~contained(dialogues, over) & in_mixture(run, dialogues, selection.thresholds[unit["source"]])
        is_kept &= ~contained(dialogues, verdicts.rejected(unit["source"], run.name(unit)))
        kept[unit["source"]] += rows["character"].to_numpy()[is_kept].tolist()
    assert {source: len(owners) for source, owners in kept.items()} == dict.fromkeys((0, 1), LIMIT * characters_left)
    assert np.unique(kept[1], return_counts=True)[1].tolist() == [LIMIT] * characters_left
    characters = sum(stats.characters for stats in selection.characters.values())
    assert characters == len(set(kept[0]) | set(kept[1])) == (LIMIT + 1) * characters_left
