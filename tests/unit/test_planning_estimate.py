"""Plans against cases computed by hand, from given numbers and from a pilot with a known engine."""

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.config import Gpus, Planning, RunConfig, TokenPrices, Training
from factory.errors import InputError
from factory.inference.token_estimates import RowTokens
from factory.planning.pilot import Kind, Pilot, generated_kind
from factory.planning.plan_of_config import plan_of_config
from factory.planning.plan_steps import ReplicaPool, shuffle_requests, spilled_files
from factory.planning.plan_text import duration, short
from factory.planning.planner import Planner
from factory.planning.prices import read_prices
from factory.planning.summary import simulate, summarize
from factory.planning.training_cost import add_training, parameter_count
from factory.planning.uncertainty import UNKNOWN, Draws, constant
from factory.records import Completion, Counts, Profile
from factory.runtime.pool_state import PoolState
from factory.runtime.progress import Progress
from factory.storage.rows import ok_row
from factory.storage.schemas import PROFILES
from factory.storage.shuffle import BYTES_PER_PARTITION
from factory.storage.tables import Table

H100S = ReplicaPool("vllm", "meta-llama/Meta-Llama-3-70B-Instruct", replicas=4, gpus_per_replica=8, max_concurrency=256)
GIVEN = {"profiles": {"output_tokens": 500, "prompt_tokens": 300}, "tokens_per_second": 2000, "startup_seconds": 600}
NO_PILOT = Pilot()
PRICES = read_prices(None)
H100_FLOPS = 989e12


def planner(pilot: Pilot = NO_PILOT, pool: ReplicaPool = H100S, on_s3: bool = False, **planning: object) -> Planner:
    return Planner(Planning.model_validate(planning), pilot, pool, H100_FLOPS, on_s3)


def add_engine(plan: Planner, name: str, table: str, kind: Kind, rows: Draws, pool: ReplicaPool) -> None:
    plan.add_engine(name, name, [plan.table(table, kind, pool, rows)])


def planned(rows: float, pilot: Pilot = NO_PILOT, pool: ReplicaPool = H100S, **planning: object) -> Planner:
    """Plan the reading of personas, and their profiles."""
    plan = planner(pilot, pool, **planning)
    plan.add_cpu("read personas", "personas", constant(rows), 20_000, 8, constant(1), 130, max_tasks=1)
    add_engine(plan, "profiles", "profiles", "profiles", constant(rows), pool)
    return plan


def add_trained(
    plan: Planner, dialogues: float | None = 10_000, base_model: str = "meta-llama/Meta-Llama-3-8B"
) -> None:
    settings = Training(base_model=base_model, num_workers=8)
    add_training(plan, settings, UNKNOWN if dialogues is None else constant(dialogues), on_gpu=True)


def total(plan: Planner, cpus: float, workers: float) -> float:
    """Return the seconds of the last step."""
    return float(sum(part[0] for part in plan.steps[-1].parts(cpus, workers).values()))


def summary_of(plan: Planner, cpus: float = 64) -> SimpleNamespace:
    summary = summarize(plan, PRICES, Gpus(), cpus)
    lists = {name: [SimpleNamespace(**row) for row in summary[name]] for name in ("stages", "steps")}
    return SimpleNamespace(**summary | lists)


def step_of(summary: SimpleNamespace, name: str):
    return next(step for step in summary.steps if step.name == name)


def small_profile(number: int) -> Profile:
    return Profile(f"{number:016x}", "p", "n", "a", "g", "r", "b", "a", "e", "p", "Name: n", "English")


def write_pilot(folder: Path, outputs: list[int], seconds: float, **manifest: object) -> Pilot:
    """Write a finished table of profiles that one engine generated in a number of seconds."""
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


def test_given_numbers_give_the_plan_computed_by_hand():
    summary = summary_of(planned(102_400, **GIVEN))
    (stage,), step = summary.stages, step_of(summary, "profiles")
    assert (stage.rows.point, stage.calls.point) == (102_400, 102_400)
    assert (stage.prompt_tokens.point, stage.output_tokens.point) == (30_720_000, 51_200_000)
    # 4 replicas: 25,600 rows of 500 tokens at 2,000 per second, and half a reply of 500 steps of
    # 0.128 s, 0.45 of which a single row takes too.
    assert step.parts["engine"] == pytest.approx(6400)
    assert step.parts["long replies"] == pytest.approx(0.45 * 0.128 * 250, rel=0.02)
    assert step.seconds.point == pytest.approx(600 + 6400 + 14.4, rel=0.001)
    assert step.gpu_hours.point == pytest.approx(32 * step.seconds.point / 3600)
    assert summary.gpu_cost.point == pytest.approx(summary.gpu_hours.point * 6.9)
    assert summary.complete


def test_each_part_costs_what_its_kind_of_gpu_costs():
    judge = ReplicaPool("served", "qwen", replicas=1, gpus_per_replica=4)
    judged = {"output_tokens": 100, "prompt_tokens": 500, "tokens_per_second": 3000}
    plan = planned(10_000, **GIVEN, judgments=judged, dialogue_tokens=1000)
    add_trained(plan)
    add_engine(plan, "judgments (qwen)", "evaluation/tuned/judgments/qwen", "judgments", constant(10_000), judge)
    kinds = Planning.model_validate({"gpu": {"synthesis": "h200", "judges": "l40s", "training": "a100-80gb"}}).gpu
    summary = summarize(plan, PRICES, kinds, 64)
    names = {"profiles": "h200", "judgments (qwen)": "l40s", "training": "a100-80gb"}
    assert {step["name"]: step["gpu"] for step in summary["steps"] if step["gpus"]} == names
    hours = {step["gpu"]: step["gpu_hours"].point for step in summary["steps"] if step["gpus"]}
    prices = {kind: PRICES.gpu_hours[kind] for kind in hours}
    assert all(hours.values())
    assert summary["gpu_cost"].point == pytest.approx(sum(hours[kind] * prices[kind].on_demand for kind in hours))
    assert summary["gpu_cost_spot"].point == pytest.approx(sum(hours[kind] * prices[kind].spot for kind in hours))
    assert summary["gpu_hours"].point == pytest.approx(sum(hours.values()))
    largest = simulate(plan, 64)["sizes"][-1]
    assert all(largest["hours_of_parts"][part] > 0 for part in ("synthesis", "judges", "training"))


def test_one_kind_of_gpu_counts_for_all_parts():
    assert Planning.model_validate({"gpu": "l4"}).gpu == Gpus(synthesis="l4", judges="l4", training="l4")


def test_intervals_contain_best_estimates():
    summary = summary_of(planned(5000, **GIVEN))
    ranges = [summary.seconds, summary.gpu_hours, summary.gpu_cost, summary.gpu_cost_spot, summary.storage_bytes]
    ranges += [value for step in summary.steps for value in (step.seconds, step.gpu_hours)]
    assert all(found.low <= found.point <= found.high for found in ranges)
    assert summary.seconds.low < summary.seconds.high


@given(st.integers(1, 200_000), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_time_is_monotonic_in_replicas_and_rows(rows, replicas, more):
    def seconds(rows: int, replicas: int) -> float:
        pool = replace(H100S, replicas=replicas)
        plan = planned(rows, pool=pool, **GIVEN)
        return step_of(summary_of(plan), "profiles").seconds.point

    assert seconds(rows, replicas + more) <= seconds(rows, replicas) * (1 + 1e-9)
    assert seconds(2 * rows, replicas) >= seconds(rows, replicas) * (1 - 1e-9)


def test_an_engine_starts_once_for_profiles_and_dialogues():
    plan = planned(1000, **GIVEN, generate={"output_tokens": 400})
    add_engine(plan, "dialogues", "dialogues/generate-lima", "generate", constant(1000), H100S)
    assert [step.parts(64, 4)["start-up"][0] for step in plan.steps[-2:]] == [600, 0]


def test_replicas_share_rows_and_not_shards():
    parts = planned(160, **GIVEN).steps[-1].parts(64, 8)
    assert parts["engine"][0] == pytest.approx(20 * 500 / 2000)


def test_pilot_predicts_its_own_time(tmp_path):
    outputs = np.random.default_rng(1).integers(50, 400, 200).tolist()
    pilot = write_pilot(tmp_path, outputs, seconds=90)
    pool = replace(H100S, replicas=1, max_concurrency=32)
    summary = summary_of(planned(200, pilot, pool))
    assert step_of(summary, "profiles").seconds.point == pytest.approx(60 + 90, rel=0.01)
    assert summary.stages[0].output_tokens.point == pytest.approx(sum(outputs))
    assert summary.stages[0].cached_tokens.point == pytest.approx(100 * 200)
    ends = step_of(summary, "profiles").seconds
    assert ends.low < 150 < ends.high


def test_engine_seconds_count_while_a_replica_is_up():
    now = time.time()
    progress = Progress()
    progress.start(["profiles"], 10)
    progress._started = datetime.fromtimestamp(now - 100, UTC)
    left_from_before, ended_before = (now - 500, None), (now - 500, now - 200)
    timing = progress.timing(Counts(ok=10), [left_from_before, ended_before, (now - 20, None), (now - 60, now - 50)])
    progress.stop()
    assert (timing.engines, timing.engines_started) == (3, 2)
    assert timing.engine_seconds == pytest.approx(100 + 20 + 10, abs=2)
    assert timing.startup_seconds == 0


def test_startup_ends_with_the_first_replica():
    now = time.time()
    progress = Progress()
    progress.start(["profiles"], 10)
    progress._started = datetime.fromtimestamp(now - 100, UTC)
    timing = progress.timing(Counts(ok=10), [(now - 20, None), (now - 60, None)])
    progress.stop()
    assert timing.startup_seconds == pytest.approx(40, abs=2)


def test_progress_shows_how_many_replicas_are_up_and_how_full(capfd):
    progress = Progress()
    progress.start(["profiles"], 10)
    progress.engine_states([PoolState(up=1, wanted=3, slots=64, used=32, open=99, lives=((time.time(), None),))])
    progress.advance(Counts(ok=10))
    progress.stop()
    assert "1 of 3 replicas 50% full" in capfd.readouterr().out


def test_pilot_of_two_engines_measures_one_engine(tmp_path):
    single = write_pilot(tmp_path / "one", [100] * 64, seconds=40)
    double = write_pilot(tmp_path / "two", [100] * 64, seconds=20, engines=2, engine_seconds=40)
    pool = replace(H100S, replicas=1, max_concurrency=8)
    plans = [planned(6400, pilot, pool) for pilot in (single, double)]
    seconds = [step_of(summary_of(plan), "profiles").seconds.point for plan in plans]
    assert seconds[0] == pytest.approx(seconds[1], rel=0.05)


def test_given_numbers_override_the_pilot(tmp_path):
    pilot = write_pilot(tmp_path, [100] * 20, seconds=50)
    plan = planned(1000, pilot, profiles={"output_tokens": 7})
    assert summary_of(plan).stages[0].output_tokens.point == 7000


def test_small_or_different_pilot_is_noted(tmp_path):
    pilot = write_pilot(tmp_path, [100] * 20, seconds=50, model={"ref": "other", "revision": "1"})
    notes = planned(1000, pilot).notes
    assert any("the pilot's model was other" in note for note in notes)
    assert any("had 20 rows, and runs up to 256 at a time" in note for note in notes)


def test_missing_numbers_are_named_with_their_key():
    plan = planned(1000)
    assert plan.missing == ["profiles: tokens per reply are not known; give planning.profiles.output_tokens"]
    plan = planned(1000, tokens_per_second=100, startup_seconds=5)
    assert plan.missing == ["profiles: tokens per reply are not known; give planning.profiles.output_tokens"]
    plan = planned(1000, profiles={"output_tokens": 300})
    assert len(plan.missing) == 1
    assert "planning.tokens_per_second or planning.profiles.tokens_per_second" in plan.missing[0]
    summary = summary_of(plan)
    assert not summary.complete
    assert step_of(summary, "profiles").seconds is None
    plan = planned(1000, profiles={"output_tokens": 300}, tokens_per_second=100)
    assert "planning.startup_seconds" in plan.missing[0]
    assert summary_of(plan).complete


def test_uncountable_rows_leave_the_rest_known():
    plan = planned(1000, **GIVEN, generate={"output_tokens": 9})
    plan.add_cpu("read instructions/lima", "instructions/lima", UNKNOWN, 20_000)
    add_engine(plan, "dialogues", "dialogues/generate-lima", "generate", UNKNOWN, H100S)
    assert step_of(summary_of(plan), "profiles").seconds is not None
    assert step_of(summary_of(plan), "read instructions/lima").seconds is None
    assert step_of(summary_of(plan), "dialogues").seconds is None
    assert summary_of(plan).seconds.point > 0
    assert simulate(plan, 64)["left_out"] == ["read instructions/lima", "dialogues"]


def test_endpoints_cost_tokens_and_no_gpu_hours():
    pool = ReplicaPool("openai", "m", max_concurrency=64, prices=TokenPrices(input=0.15, output=0.6))
    summary = summary_of(planned(1_000_000, pool=pool, **GIVEN))
    assert summary.endpoint_cost.point == pytest.approx(300 * 0.15 + 500 * 0.60)
    assert summary.gpu_hours.point == 0
    assert summary_of(planned(10, pool=replace(pool, prices=None), **GIVEN)).endpoint_cost is None


def test_cached_tokens_cost_less(tmp_path):
    pool = ReplicaPool("openai", "m", prices=TokenPrices(input=2, output=1, cached=0.5))
    pilot = write_pilot(tmp_path, [100] * 40, seconds=10)  # 300 tokens in, 100 of them cached
    assert summary_of(planned(1_000_000, pilot, pool)).endpoint_cost.point == pytest.approx(200 * 2 + 100 * 0.5 + 100)


def test_tokens_are_estimated_without_a_pilot_and_less_certain():
    pool = ReplicaPool("openai", "m", prices=TokenPrices(input=1, output=2))
    plan = planner(pool=pool)
    about = RowTokens(prompt=300, output=200)
    plan.add_engine("x", "x", [plan.table("profiles", "profiles", pool, constant(1_000_000), about=about)])
    cost = summary_of(plan).endpoint_cost
    assert cost.point == pytest.approx(300 + 400)
    assert 0.4 * cost.point < cost.low < 0.7 * cost.point
    assert 1.5 * cost.point < cost.high < 2.6 * cost.point
    assert plan.estimated == ["profiles"]
    assert not any("tokens per reply" in line for line in plan.missing)


def test_scaling_ends_at_what_does_not_scale():
    given = {**GIVEN, "generate": {"output_tokens": 400}, "startup_seconds": 60}
    plan, rows = planned(20_000, **given), constant(300_000)
    plan.on_s3 = True
    plan.add_cpu("assignments/lima", "assignments/lima", rows, 250, 3, constant(20_000), 4096)
    add_engine(plan, "dialogues", "dialogues/generate-lima", "generate", rows, H100S)
    simulation = simulate(plan, 64)
    sizes = {run["size"]: run for run in simulation["sizes"]}
    assert simulation["needs"] == 8
    assert 5 not in sizes  # a replica takes eight GPUs
    assert sizes[10]["limit"] == "engine"
    assert sizes[1000]["limit"] == "S3 requests"
    times = [run["seconds"] for run in simulation["sizes"]]
    assert times == sorted(times, reverse=True)
    assert "S3 requests (assignments/lima)" in simulation["turns"][0]


@pytest.mark.parametrize(
    ("files", "on_s3", "slower"), [(1000, True, "S3 requests"), (1, True, "reading"), (1000, False, "reading")]
)
def test_shuffle_reads_every_partition_from_every_file(files, on_s3, slower):
    rows = 99 * BYTES_PER_PARTITION / 4096  # 100 partitions
    plan = planner(on_s3=on_s3)
    plan.add_cpu("assignments/lima", "assignments/lima", constant(rows), 250, 0, constant(files), 4096)
    parts = plan.steps[-1].parts(50, 1)
    expected = {"S3 requests": files * 100 / 5500, "reading": rows / (250 * 100)}
    assert set(parts) == {"start-up", slower}
    assert parts[slower][0] == pytest.approx(expected[slower])


@pytest.mark.parametrize(("partitions", "requests"), [(512, 1000 * 512), (4096, 1000 * 64 + 16 * 4096)])
def test_many_partitions_are_read_in_two_levels(partitions, requests):
    assert shuffle_requests(constant(1000), partitions)[0] == requests


def test_step_is_unknown_if_its_files_are():
    plan = planner(on_s3=True)
    plan.add_cpu("assignments/lima", "assignments/lima", constant(1000), 250, 3, spilled_files(UNKNOWN, 4096), 4096)
    assert summary_of(plan).steps[0].seconds is None


def test_training_without_pilot_uses_its_operations():
    plan, rate = planner(dialogue_tokens=1000), H100_FLOPS * 0.4 / (6 * 8e9)
    add_trained(plan)
    parts = plan.steps[-1].parts(64, 8)
    assert parts["training"][0] == pytest.approx(1e4 * 1000 * 3 / rate / 8)
    assert parts["global batch"][0] == pytest.approx(0)
    assert plan.weight_bytes == 8e9 * (3 * (12 + 2) + 2 + 2)  # two and a new one, the best weights, the model


def test_more_workers_than_sequences_do_not_help():
    plan = planner(dialogue_tokens=1000)
    add_trained(plan)
    seconds = [total(plan, 64, n) for n in (16, 64, 128, 1000)]
    assert seconds[0] > seconds[1] == pytest.approx(seconds[2]) == pytest.approx(seconds[3])


@pytest.mark.parametrize(
    ("name", "size"),
    [("meta-llama/Meta-Llama-3-8B", 8e9), ("Qwen/Qwen2.5-0.5B-Instruct", 5e8), ("embedded", None), ("a/b-8bit", None)],
)
def test_parameter_count_from_the_models_name(name, size):
    assert parameter_count(name, NO_PILOT) == size


def test_unknown_training_is_reported():
    plan = planner()
    add_trained(plan, None, "embedded")
    assert "number of dialogues" in plan.missing[0]
    assert "training_tokens_per_second" in plan.missing[1]


def test_pilot_without_tables_or_manifests_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no finished table"):
        Pilot.read(str(tmp_path / "nowhere"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/.manifest.json").write_text("{")
    with pytest.raises(InputError, match="is no manifest"):
        Pilot.read(str(tmp_path))
    (tmp_path / "profiles/.manifest.json").write_text('{"rows_in": 3}')
    with pytest.raises(InputError, match="has no 'ok'"):
        Pilot.read(str(tmp_path))


def test_sample_of_a_large_table_is_bounded(tmp_path):
    pilot = write_pilot(tmp_path, [100] * 3000, seconds=50)
    assert 900 < pilot.tables["profiles"].sample.shape[1] <= 1024


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("profiles", "profiles"),
        ("dialogues/rewrite-lima", "rewrite"),
        ("evaluation/base/judgments/a", "judgments"),
        ("evaluation/benchmark/examples/a", "examples"),
        ("evaluation/benchmark/general", None),
        ("curated/train", None),
    ],
)
def test_kind_of_a_table_by_its_name(table, kind):
    assert generated_kind(table) == kind


def test_numbers_are_formatted_short():
    assert [short(n) for n in (12, 1_234, 1_234_567, 5e9)] == ["12", "1,234", "1.2 M", "5.0 G"]
    assert [duration(n) for n in (65, 3_661, 90_000)] == ["01:05", "1:01:01", "1 d 1:00"]


def test_best_of_n_plans_candidates_and_comparisons(tmp_path):
    for name, row in (("personas", {"persona": "a baker"}), ("asks", {"instruction": "Bake.", "output": "Yes."})):
        lines = [json.dumps({key: f"{text} {number}" for key, text in row.items()}) for number in range(6)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))

    def plan_of(**dialogues: object) -> Planner:
        config = RunConfig.model_validate(
            {
                "output": str(tmp_path / "run"),
                "engine": {"kind": "scripted"},
                "personas": {"source": str(tmp_path / "personas.jsonl")},
                "instructions": [{"corpus": "asks", "source": str(tmp_path / "asks.jsonl")}],
                "dialogues": {"characters_per_instruction": 2, **dialogues},
            }
        )
        return plan_of_config(config, {"training"}, NO_PILOT, 0)

    one = plan_of()
    several = plan_of(candidates=3, choose={"judge": {"name": "strict", "kind": "scripted"}})
    rows = {table.name: float(table.rows[0]) for table in several.tables}
    assert rows == {"profiles": 6, "candidates/generate-asks": 3 * 12, "comparisons/generate-asks": 3 * 2 * 12}
    assert one.rows["packed/train"][0] == several.rows["packed/train"][0] == 12, "one dialogue per assignment"
    summary_of(several)  # every table has a size
