"""Which of many dialogues are taken, through Ray, on verdicts alone."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray

from factory.config import RunConfig
from factory.curation.dataset_stats import ATTRIBUTES
from factory.curation.filter_step import VERDICTS, FilterResult
from factory.curation.inputs import Source
from factory.curation.run import Run
from factory.curation.select_step import select_dialogues, within
from factory.runtime import ray_session
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
        ray.shutdown()  # another module's may have joined one
        ray_session.start_ray()
        yield
        ray.shutdown()


def made(output: str, owners: dict[str, np.ndarray]) -> tuple[Run, FilterResult]:
    """A run whose dialogues have all been found good; `owners` has the character of each, by source."""
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
    profiles = Table(output, "profiles")
    cast = [f"{character:016x}" for character in np.unique(np.concatenate(list(owners.values()))).tolist()]
    profiles.write_arrow(
        "0000",
        pa.table(
            {"character_id": cast, "status": ["ok"] * len(cast), **{name: ["x"] * len(cast) for name in ATTRIBUTES}}
        ),
    )
    profiles.finish({"ok": len(cast)})
    sources = tuple(
        Source(Table(output, f"dialogues/generate-{name}"), Table(output, f"assignments/{name}"), 1, len(characters))
        for name, characters in owners.items()
    )
    nothing: Any = None
    run = Run(config, sources, profiles, nothing, nothing, nothing, {}, "f")
    units = []
    for number, characters in enumerate(owners.values()):
        for part, mine in enumerate(np.array_split(characters, UNITS)):
            unit = {"source": number, "shards": [f"{part:04}"], "rows": len(mine)}
            ids = np.random.default_rng([number, part]).integers(0, 2**63, len(mine)).astype(np.uint64)
            nulls = pa.nulls(len(mine), pa.string())
            run.verdicts.write_arrow(run.name(unit), pa.table([ids, mine, nulls, nulls, nulls], schema=VERDICTS))
            units.append(unit)
    return run, FilterResult(units, {}, None)


def test_weights_hold_over_what_the_limit_of_a_character_leaves(session, tmp_path):
    many, few = np.arange(ROWS, dtype=np.uint64), np.arange(ROWS, dtype=np.uint64) % np.uint64(10) + np.uint64(ROWS)
    run, examined = made(str(tmp_path), {"many": many, "few": few})
    selected = select_dialogues(run, examined, ray.put((np.array([], np.uint64), np.array([], np.uint64))))
    over = ray.get(selected.over)
    kept: dict[int, list[int]] = {0: [], 1: []}
    for unit in examined.units:
        rows = run.verdicts.read(run.name(unit))
        dialogues = rows["dialogue"].to_numpy()
        stays = ~contained(dialogues, over) & within(run, dialogues, selected.cutoffs[unit["source"]])
        kept[unit["source"]] += rows["character"].to_numpy()[stays].tolist()
    assert {source: len(owners) for source, owners in kept.items()} == {0: 200, 1: 200}
    assert np.unique(kept[1], return_counts=True)[1].tolist() == [LIMIT] * 10
    speaking = sum(cast.told()["characters"] for cast in selected.casts.values())
    assert speaking == len(set(kept[0]) | set(kept[1])) == 210
