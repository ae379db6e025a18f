"""Plans against cases worked out by hand, from given numbers and from a pilot whose engine is known."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.config import Gpus, Planning
from factory.errors import InputError
from factory.planning.bottlenecks import (
    BATCH,
    ENGINE,
    READING,
    REQUESTS,
    SHARDS,
    START,
    TAIL,
    engine_parts,
    exchange_parts,
    total,
)
from factory.planning.estimate import Estimate, estimate
from factory.planning.pilot import Pilot, kind_of
from factory.planning.plan_text import duration, short, size
from factory.planning.prices import read_prices
from factory.planning.simulate import simulate
from factory.planning.summary import Summary, summarise
from factory.planning.training_cost import parameters_of, training_figures, training_parts
from factory.planning.uncertainty import exactly
from factory.planning.workload import Crew, Intake, Outline, Pairing, Phase, Stage, Training
from factory.records import Completion, Counts, Profile
from factory.runtime.progress import Progress
from factory.storage.rows import ok_row
from factory.storage.schemas import PROFILES
from factory.storage.tables import Table

H100S = Crew("vllm", "meta-llama/Meta-Llama-3-70B-Instruct", replicas=4, gpus_a_replica=8, places=256)
GIVEN = {"profiles": {"output_tokens": 500, "prompt_tokens": 300}, "tokens_per_second": 2000, "startup_seconds": 600}
PRICES = read_prices(None)


def profiles(rows: float, crew: Crew = H100S) -> Outline:
    stage = Stage("profiles", "profiles", exactly(rows))
    return Outline(
        intakes=(Intake("personas", exactly(rows), 1),), phases=(Phase("profiles", (stage,), crew, "profiles"),)
    )


def planned(outline: Outline, pilot: Pilot | None = None, crew: Crew = H100S, **planning: object) -> Estimate:
    return estimate(outline, Planning.model_validate(planning), pilot, crew, 989e12)


def told(plan: Estimate, pilot: Pilot | None = None, cpus: float = 64) -> Summary:
    return summarise(plan, PRICES, Gpus(), pilot, cpus)


def step_of(summary: Summary, name: str):
    return next(step for step in summary.steps if step.name == name)


def small_profile(number: int) -> Profile:
    return Profile(f"{number:016x}", "p", "n", "a", "g", "r", "b", "a", "e", "p", "Name: n", "English")


def write_pilot(folder: Path, outputs: list[int], seconds: float, **manifest: object) -> Pilot:
    """A finished table of profiles that one engine made in so many seconds."""
    table = Table(str(folder), "profiles")
    for start in range(0, len(outputs), 16):
        part = enumerate(outputs[start : start + 16], start)
        rows = [ok_row(small_profile(n), Completion(("x",), 300, tokens, 100)) for n, tokens in part]
        table.write(f"{start:05}", rows, PROFILES)
    table.finish(
        {
            "step": "profiles", "rows_in": len(outputs), "ok": len(outputs), "rejected": {},
            "rows_this_run": len(outputs), "seconds": 60 + seconds, "startup_seconds": 60, "engines": 1,
            "engine_seconds": seconds, "engine": "vllm", "model": {"ref": H100S.model, "revision": "1"},
            "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:10:00+00:00", **manifest,
        }
    )  # fmt: skip
    return Pilot.read(str(folder))


def test_given_numbers_make_the_plan_that_can_be_worked_out_by_hand():
    summary = told(planned(profiles(102_400), **GIVEN))
    (stage,), step = summary.stages, step_of(summary, "profiles")
    assert (stage.rows.point, stage.calls.point) == (102_400, 102_400)
    assert (stage.prompt_tokens.point, stage.output_tokens.point) == (30_720_000, 51_200_000)
    # 1,024 shards over 4 replicas: 25,600 rows of 500 tokens at 2,000 a second, and half a reply of 500 steps of
    # 0.128 s, 0.45 of which one row alone takes too.
    assert step.parts[ENGINE] == pytest.approx(6400)
    assert step.parts[TAIL] == pytest.approx(0.45 * 0.128 * 250, rel=0.02)
    assert step.seconds.point == pytest.approx(600 + 6400 + 14.4, rel=0.001)
    assert step.gpu_hours.point == pytest.approx(32 * step.seconds.point / 3600)
    assert summary.gpu_cost.point == pytest.approx(summary.gpu_hours.point * 6.9)
    assert summary.complete


def test_each_part_of_a_run_costs_what_its_own_kind_of_gpu_costs():
    judge = Crew("fleet", "qwen", replicas=1, gpus_a_replica=4)
    judging = Phase(
        "judgments (qwen)",
        (Stage("evaluation/tuned/judgments/qwen", "judgments", exactly(10_000)),),
        judge,
        "judgments",
    )
    outline = replace(profiles(10_000), training=trained())
    outline = replace(outline, phases=(*outline.phases, judging))
    judged = {"output_tokens": 100, "prompt_tokens": 500, "tokens_per_second": 3000}
    plan = planned(outline, **GIVEN, judgments=judged, dialogue_tokens=1000)
    kinds = Planning.model_validate({"gpu": {"synthesis": "h200", "judges": "l40s", "training": "a100-80gb"}}).gpu
    summary = summarise(plan, PRICES, kinds, None, 64)
    names = {"profiles": "h200", "judgments (qwen)": "l40s", "training": "a100-80gb"}
    assert {step.name: step.gpu for step in summary.steps if step.gpus} == names
    hours = {step.gpu: step.gpu_hours.point for step in summary.steps if step.gpus}
    prices = {kind: PRICES.gpu(kind) for kind in hours}
    assert all(hours.values())
    assert summary.gpu_cost.point == pytest.approx(sum(hours[kind] * prices[kind].on_demand for kind in hours))
    assert summary.gpu_cost_spot.point == pytest.approx(sum(hours[kind] * prices[kind].spot for kind in hours))
    assert summary.gpu_hours.point == pytest.approx(sum(hours.values()))
    largest = simulate(plan, 64).sizes[-1]
    assert set(largest.hours_of_parts) >= {"synthesis", "judges", "training"}
    assert sum(largest.hours_of_parts.values()) == pytest.approx(largest.gpu_hours)


def test_one_kind_of_gpu_is_that_of_all_parts():
    assert Planning.model_validate({"gpu": "l4"}).gpu == Gpus(synthesis="l4", judges="l4", training="l4")


def test_every_interval_holds_its_best_value():
    summary = told(planned(profiles(5000), **GIVEN))
    ranges = [summary.seconds, summary.gpu_hours, summary.gpu_cost, summary.gpu_cost_spot, summary.storage_bytes]
    ranges += [one for step in summary.steps for one in (step.seconds, step.gpu_hours)]
    assert all(one.low <= one.point <= one.high for one in ranges)
    assert summary.seconds.low < summary.seconds.high


@given(st.integers(1, 200_000), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_more_replicas_never_take_longer_and_more_rows_never_shorter(rows, replicas, more):
    def seconds(rows: int, replicas: int) -> float:
        crew = replace(H100S, replicas=replicas)
        return step_of(told(planned(profiles(rows, crew), crew=crew, **GIVEN)), "profiles").seconds.point

    assert seconds(rows, replicas + more) <= seconds(rows, replicas) * (1 + 1e-9)
    assert seconds(2 * rows, replicas) >= seconds(rows, replicas) * (1 - 1e-9)


def test_a_few_whole_shards_on_many_replicas_wait_for_the_last():
    known = _known(planned(profiles(160), **GIVEN))
    parts = engine_parts(known, exactly(10), 8)
    assert parts[SHARDS][0] > 0  # 10 shards on 8 replicas: two of them take two
    assert total(parts)[0] == pytest.approx(sum(part[0] for part in parts.values()))


def _known(plan: Estimate):
    step = next(step for step in plan.steps if step.name == "profiles")
    return step.parts.args[0]


def test_a_pilot_predicts_its_own_time(tmp_path):
    outputs = np.random.default_rng(1).integers(50, 400, 200).tolist()
    pilot = write_pilot(tmp_path, outputs, seconds=90)
    crew = replace(H100S, replicas=1, places=32)
    summary = told(planned(profiles(200, crew), pilot, crew), pilot)
    assert step_of(summary, "profiles").seconds.point == pytest.approx(60 + 90, rel=0.01)
    assert summary.stages[0].output_tokens.point == pytest.approx(sum(outputs))
    assert summary.stages[0].cached_tokens.point == pytest.approx(100 * 200)
    ends = step_of(summary, "profiles").seconds
    assert ends.low < 150 < ends.high


def test_engines_are_counted_by_when_they_came_up():
    progress = Progress()
    progress.begin(["profiles"], 10)
    for at in (0.0, time.time() - 20, time.time() - 10):
        progress.engine_up(at)
        progress.engine_up(at)
    timing = progress.timing(Counts(ok=10))
    progress.finish()
    assert timing.engines == 2
    assert timing.engine_seconds == pytest.approx(30, abs=2)


def test_a_pilot_of_two_engines_tells_the_speed_of_one(tmp_path):
    one = write_pilot(tmp_path / "one", [100] * 64, seconds=40)
    two = write_pilot(tmp_path / "two", [100] * 64, seconds=20, engines=2, engine_seconds=40)
    crew = replace(H100S, replicas=1, places=8)
    seconds = [step_of(told(planned(profiles(6400, crew), p, crew), p), "profiles").seconds.point for p in (one, two)]
    assert seconds[0] == pytest.approx(seconds[1], rel=0.05)


def test_given_numbers_go_before_the_pilots(tmp_path):
    pilot = write_pilot(tmp_path, [100] * 20, seconds=50)
    plan = planned(profiles(1000), pilot, profiles={"output_tokens": 7})
    assert told(plan, pilot).stages[0].output_tokens.point == 7000


def test_a_small_or_other_pilot_is_told_of(tmp_path):
    pilot = write_pilot(tmp_path, [100] * 20, seconds=50, model={"ref": "other", "revision": "1"})
    notes = planned(profiles(1000), pilot).notes
    assert any("the pilot's model was other" in note for note in notes)
    assert any("had 20 rows for 256 places" in note for note in notes)


def test_what_is_missing_is_named_with_its_key_and_nothing_is_invented():
    plan = planned(profiles(1000))
    assert plan.missing == ("profiles: tokens a reply are not known; planning.profiles.output_tokens",)
    plan = planned(profiles(1000), profiles={"output_tokens": 300})
    assert len(plan.missing) == 1
    assert "planning.tokens_per_second or planning.profiles.tokens_per_second" in plan.missing[0]
    summary = told(plan)
    assert not summary.complete
    assert step_of(summary, "profiles").seconds is None
    plan = planned(profiles(1000), profiles={"output_tokens": 300}, tokens_per_second=100)
    assert "planning.startup_seconds" in plan.missing[0]
    assert told(plan).complete


def test_rows_that_cannot_be_counted_leave_the_rest_known():
    outline = profiles(1000)
    unknown = Stage("dialogues/generate-lima", "generate", None)
    outline = replace(
        outline,
        intakes=(*outline.intakes, Intake("instructions/lima", None, 1)),
        phases=(*outline.phases, Phase("dialogues", (unknown,), H100S, "dialogues")),
    )
    plan = planned(outline, **GIVEN, generate={"output_tokens": 9})
    assert any("instructions/lima: its rows cannot be counted" in line for line in plan.missing)
    assert step_of(told(plan), "profiles").seconds is not None
    assert step_of(told(plan), "dialogues").seconds is None


def test_endpoints_cost_by_the_token_and_no_gpu_hours():
    crew = Crew("openai", "gpt-4o-mini", places=64)
    plan = planned(profiles(1_000_000, crew), crew=crew, **GIVEN)
    summary = told(plan)
    assert summary.endpoint_cost.point == pytest.approx(300 * 0.15 + 500 * 0.60)
    assert summary.gpu_hours.point == 0
    unpriced = replace(crew, model="someone-elses")
    assert told(planned(profiles(10, unpriced), crew=unpriced, **GIVEN)).endpoint_cost is None


def test_a_simulation_begins_at_the_engine_and_ends_at_what_does_not_scale():
    rows = exactly(300_000)
    work = Pairing("assignments/lima", exactly(100_000), exactly(20_000), rows)
    stage = Stage("dialogues/generate-lima", "generate", rows)
    outline = replace(
        profiles(20_000),
        pairings=(work,),
        phases=(*profiles(20_000).phases, Phase("dialogues", (stage,), H100S, "dialogues")),
        dialogues=rows,
        on_s3=True,
    )
    given = {**GIVEN, "generate": {"output_tokens": 400}, "startup_seconds": 60}
    simulation = simulate(planned(outline, **given), 64)
    sizes = {one.size: one for one in simulation.sizes}
    assert simulation.needs == 8
    assert sizes[5].seconds is None  # a replica takes eight GPUs
    assert sizes[10].limit == ENGINE
    assert sizes[1000].limit == REQUESTS
    times = [one.seconds for one in simulation.sizes if one.seconds]
    assert times == sorted(times, reverse=True)
    assert "S3 requests (assignments/lima)" in simulation.turns[0]
    assert "Ids in memory" in simulation.ids


def test_an_exchange_reads_every_partition_out_of_every_file():
    parts = exchange_parts(exactly(1000), exactly(100), 50, on_s3=True)
    assert parts[REQUESTS][0] == pytest.approx(4 * 1000 * 100 * 0.1 / 100)
    assert REQUESTS not in exchange_parts(exactly(1000), exactly(100), 50, on_s3=False)


def test_reading_beside_an_engine_counts_where_it_is_slower():
    parts = {START: exactly(5), ENGINE: exactly(10), READING: exactly(30)}
    assert total(parts)[0] == 35
    assert total(parts | {READING: exactly(3)})[0] == 15


def trained(**changes: object) -> Training:
    base = Training(
        base_model="meta-llama/Meta-Llama-3-8B", dialogues=exactly(10_000), sequence_length=4096, epochs=3, batch=64,
        workers=8, on_gpu=True, eval_steps=50, validation_sequences=512, validation_fraction=0.0,
        save_total_limit=2, recomputes=False,
    )  # fmt: skip
    return replace(base, **changes)


def test_training_without_a_pilot_goes_by_its_operations():
    figures = training_figures(trained(), Planning(dialogue_tokens=1000), None, 989e12)
    assert figures.tokens[0] == 3e7
    assert figures.rate[0] == pytest.approx(989e12 * 0.4 / (6 * 8e9))
    assert "8 B parameters (by its name)" in figures.basis
    parts = training_parts(trained(), figures, 8)
    assert parts["training"][0] == pytest.approx(3e7 / figures.rate[0] / 8)
    assert parts[BATCH][0] == pytest.approx(0)


def test_more_training_processes_than_sequences_in_a_step_do_not_help():
    figures = training_figures(trained(), Planning(dialogue_tokens=1000), None, 989e12)
    seconds = [float(total(training_parts(trained(), figures, n))[0]) for n in (16, 64, 128, 1000)]
    assert seconds[0] > seconds[1] == pytest.approx(seconds[2]) == pytest.approx(seconds[3])


@pytest.mark.parametrize(
    ("name", "size"),
    [("meta-llama/Meta-Llama-3-8B", 8e9), ("Qwen/Qwen2.5-0.5B-Instruct", 5e8), ("embedded", None), ("a/b-8bit", None)],
)
def test_a_models_size_is_taken_from_its_name_alone_where_it_has_one(name, size):
    assert parameters_of(trained(base_model=name), None)[0] == size


def test_unknown_training_is_told():
    figures = training_figures(trained(base_model="embedded", dialogues=None), Planning(), None, None)
    assert "how many dialogues" in figures.missing[0]
    assert "training_tokens_per_second" in figures.missing[1]


def test_a_pilots_folder_without_tables_or_with_other_manifests_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no finished table"):
        Pilot.read(str(tmp_path / "nowhere"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/.manifest.json").write_text("{")
    with pytest.raises(InputError, match="is no manifest"):
        Pilot.read(str(tmp_path))
    (tmp_path / "profiles/.manifest.json").write_text('{"rows_in": 3}')
    with pytest.raises(InputError, match="has no 'ok'"):
        Pilot.read(str(tmp_path))


def test_the_sample_of_a_large_table_is_bounded(tmp_path):
    pilot = write_pilot(tmp_path, [100] * 3000, seconds=50)
    assert 900 < len(pilot.tables["profiles"].sample.output) <= 1024


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("profiles", "profiles"),
        ("dialogues/rewrite-lima", "rewrite"),
        ("evaluation/base/judgments/a", "judgments"),
        ("evaluation/benchmark/examples", "examples"),
        ("evaluation/benchmark/general", None),
        ("curated/train", None),
    ],
)
def test_a_tables_kind_is_told_by_its_name(table, kind):
    assert kind_of(table) == kind


def test_numbers_are_told_shortly():
    assert [short(n) for n in (12, 1_234, 1_234_567, 5e9)] == ["12", "1,234", "1.2 M", "5.0 G"]
    assert [duration(n) for n in (65, 3_661, 90_000)] == ["1:05", "1:01:01", "1 d 01:00"]
    assert [size(n) for n in (2048, 3 << 20, 5 << 30)] == ["2 KiB", "3.0 MiB", "5.0 GiB"]
