"""Who writes the example replies of which questions, and how they are read as one table."""

from dataclasses import replace

import pytest

from factory.config import Evaluation, Personas, RunConfig, ScriptedEngine, ScriptedJudge
from factory.evaluation.example_tables import SplitTable, all_examples, count_examples, question_shares
from factory.personagym import Frozen, open_benchmark
from factory.records import Question, ScoreExamples
from factory.run_output import layout
from factory.storage.rows import ok_row
from factory.storage.schemas import QUESTIONS, SCORE_EXAMPLES

BENCHMARK = open_benchmark(None)
SHARDS = {"00000": 3, "00001": 2, "00002": 1}


@pytest.fixture
def config_of(tmp_path):
    """Return a function from the names of judges to a config, in whose output the questions are finished."""
    questions = layout.BENCHMARK_QUESTIONS.table(str(tmp_path))
    for shard, rows in SHARDS.items():
        questions.write(shard, [ok_row(_question(shard, row)) for row in range(rows)], QUESTIONS)
    questions.finish({"fingerprint": "asked", "finished": "2026-01-01", "ok": 6, "rows_in": 6})

    def config(*names: str, writer: str | None = None) -> RunConfig:
        judges = tuple(ScriptedJudge(kind="scripted", name=name) for name in names)
        evaluation = Evaluation(judges=judges, example_writer=writer)
        engine = ScriptedEngine(kind="scripted")
        return RunConfig(output=str(tmp_path), engine=engine, personas=Personas(source="none"), evaluation=evaluation)

    return config


def _question(shard: str, row: int) -> Question:
    return Question(f"{shard}-{row}", "p", "A baker.", "Toxicity", "Why?")


@pytest.mark.parametrize("judges", [2, 3, 5])
def test_each_question_is_in_one_share(config_of, judges):
    shares = question_shares(config_of(*"abcde"[:judges]), BENCHMARK)
    assert list(shares) == list("abc"[:judges])  # no more than there are shards
    assert sorted(shard for share in shares.values() for shard in share.shards()) == list(SHARDS)
    counts = [(share.manifest() or {})["ok"] for share in shares.values()]
    assert counts == ([4, 2] if judges == 2 else [3, 2, 1])


def test_fingerprint_of_a_share_depends_on_the_number_of_writers(config_of):
    manifests = [
        share.manifest() for names in ("ab", "abc") for share in question_shares(config_of(*names), BENCHMARK).values()
    ]
    assert len({manifest["fingerprint"] for manifest in manifests if manifest}) == 5


def test_judges_that_come_later_write_none(config_of):
    assert list(question_shares(config_of("b", "a"), BENCHMARK)) == ["a", "b"]
    for name in "ab":
        layout.SCORE_EXAMPLES.table(config_of("a").output, judge=name).begin(name, {})
    assert question_shares(config_of("new", "a", "b"), BENCHMARK) == question_shares(config_of("b", "a"), BENCHMARK)
    assert question_shares(config_of("a", "new"), BENCHMARK) == question_shares(
        config_of("a"), BENCHMARK
    )  # all, as b is gone


def test_order_of_the_judges_does_not_matter(config_of):
    for names in ("abcde", "edcba", "cabed"):  # only three write, as there are three shards
        assert list(question_shares(config_of(*names), BENCHMARK)) == ["a", "b", "c"]


def test_judges_write_none_for_a_frozen_benchmark(config_of, tmp_path):
    config = config_of("x", "y")
    frozen = Frozen("d", "e", "builtin-v1", "full", "p", ("m",), ("a",), questions=6, examples=5)
    benchmark = replace(BENCHMARK, folder=str(tmp_path / "frozen"), frozen=frozen)
    examples = all_examples(config, benchmark)
    assert examples == layout.SCORE_EXAMPLES.table(benchmark.folder, judge="a")
    assert question_shares(config, benchmark) == {}
    for shard, rows in SHARDS.items():
        written = [ok_row(ScoreExamples(f"{shard}-{row}", "p", "Toxicity", ("a",))) for row in range(rows)]
        examples.write(shard, written[:2], SCORE_EXAMPLES)
    examples.write("00003", written, SCORE_EXAMPLES)  # of personas beyond the limit
    examples.finish({"fingerprint": "f", "finished": "2026-01-01", "ok": 6, "rows_in": 7})
    limited = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"limit": 3})})
    assert (count_examples(config, benchmark), count_examples(limited, benchmark)) == (6, 5)


def test_one_writer_gets_the_questions_as_they_are(config_of):
    for config in (config_of("a"), config_of("b", "a", writer="a")):
        assert question_shares(config, BENCHMARK) == {"a": layout.BENCHMARK_QUESTIONS.table(config.output)}
        assert all_examples(config, BENCHMARK) == layout.SCORE_EXAMPLES.table(config.output, judge="a")


def test_examples_of_all_judges_are_read_as_one_table(config_of):
    config = config_of("a", "b")
    examples = all_examples(config, BENCHMARK)
    assert isinstance(examples, SplitTable)
    for name, share in question_shares(config, BENCHMARK).items():
        assert examples.manifest() is None  # until the last is finished
        table = layout.SCORE_EXAMPLES.table(config.output, judge=name)
        for shard in share.shards():
            written = [
                ok_row(ScoreExamples(row["question_id"], "p", "Toxicity", (name,) * 5))
                for row in share.read(shard).to_pylist()
            ]
            table.write(shard, written, SCORE_EXAMPLES)
        table.finish({"fingerprint": name, "finished": "2026-01-01", "ok": (share.manifest() or {})["ok"]})
    whole = examples.manifest()
    assert whole
    assert whole["ok"] == 6
    assert examples.shards() == list(SHARDS)
    writers = {shard: set(examples.read(shard)["examples"].to_pylist()[0]) for shard in SHARDS}
    assert writers == {"00000": {"a"}, "00001": {"b"}, "00002": {"a"}}
    layout.SCORE_EXAMPLES.table(config.output, judge="b").finish({"fingerprint": "b", "finished": "later", "ok": 2})
    assert (examples.manifest() or {})["fingerprint"] != whole["fingerprint"]
