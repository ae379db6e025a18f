"""The finished tables of a run that preference pairs are made of, and their rows by shard.

Answers, judgments, questions and profiles of an evaluation have the same shards, and so have dialogues and those passed
over: a shard's pairs need no shuffle. Only votes are grouped by their prompt first.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from factory.config import PREFERENCE_SOURCES, RunConfig
from factory.errors import ConfigError, InputError
from factory.evaluation.evaluation_steps import answer_step, answer_work
from factory.preferences.preference_pairs import JudgedAnswer, judged_pairs, passed_over_pair, prompt_id
from factory.records import PreferencePair, answer_key, question_of
from factory.run_output import layout
from factory.runtime.build_table import identity
from factory.storage.rows import Row, to_messages, to_record
from factory.storage.schemas import MESSAGES
from factory.storage.tables import Table

VOTES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("feedback_id", pa.string()),
        ("character_id", pa.string()),
        ("candidate", pa.string()),
        ("vote", pa.string()),
        ("reply", pa.string()),
        ("messages", MESSAGES),
    ]
)
_NEEDED = {
    "votes": "votes on replies (character-factory chat, stopped by Ctrl-C)",
    "passed_over": "dialogues passed over (dialogues.candidates above 1)",
    "judged": "judged answers of two candidates or two draws (character-factory evaluate)",
}


@dataclass(frozen=True)
class Unit:
    """A shard whose pairs one task reads."""

    source: Literal["judged", "passed_over"]
    shard: str
    dialogues: str = ""
    """The table of the winners, of those passed over."""


@dataclass(frozen=True)
class PreferenceTables:
    """The finished tables that pairs are made of."""

    config: RunConfig
    judged: tuple[tuple[Any, tuple[str, ...]], ...] = ()
    """The candidates of the evaluation, each with the judges that scored its answers."""
    passed_over: tuple[str, ...] = ()
    """Tables of dialogues, some of whose candidates were passed over."""
    votes: Table | None = None

    def tables(self) -> list[Table]:
        """Return all tables that decide what the pairs are."""
        output, found = self.config.output, []
        if self.judged:
            found.append(layout.BENCHMARK_QUESTIONS.table(output))
        if any(candidate.condition == "profile" for candidate, _ in self.judged):
            found.append(layout.BENCHMARK_PROFILES.table(output))
        for candidate, judges in self.judged:
            found.append(layout.ANSWERS.table(output, candidate=candidate.name))
            found += [layout.JUDGMENTS.table(output, candidate=candidate.name, judge=judge) for judge in judges]
        for name in self.passed_over:
            found += [Table(output, name), passed_over_of(output, name)]
        return [*found, *([self.votes] if self.votes else [])]

    def fingerprint_inputs(self) -> dict[str, Any]:
        """Return everything that the pairs depend on."""
        prompts = {candidate.name: answer_step(self.config, candidate).prompt for candidate, _ in self.judged}
        return {
            "min_margin": self.config.preferences.min_margin if self.judged else None,
            "prompts": prompts,
            "made_of": {table.name: identity(table) for table in self.tables()},
        }

    def units(self) -> list[Unit]:
        """Return the shards to read, without those of votes."""
        output = self.config.output
        questions = layout.BENCHMARK_QUESTIONS.table(output)
        units = [Unit("judged", shard) for shard in questions.shards()] if self.judged else []
        for name in self.passed_over:
            units += [Unit("passed_over", shard, name) for shard in passed_over_of(output, name).shards()]
        return units

    @property
    def most_pairs(self) -> int:
        """The number of pairs of replies to read, at most."""
        output, draws = self.config.output, self.config.evaluation.draws
        answers = draws * len(self.judged)
        questions = _rows(layout.BENCHMARK_QUESTIONS.table(output)) if self.judged else 0
        passed_over = sum(_rows(passed_over_of(output, name)) for name in self.passed_over)
        return questions * answers * (answers - 1) // 2 + passed_over + (_rows(self.votes) if self.votes else 0)

    def read_unit(self, unit: Unit) -> Iterator[PreferencePair]:
        """Yield the pairs of a shard."""
        yield from self._judged(unit.shard) if unit.source == "judged" else self._passed_over(unit)

    def _judged(self, shard: str) -> Iterator[PreferencePair]:
        by_question: defaultdict[str, list[JudgedAnswer]] = defaultdict(list)
        for candidate, judges in self.judged:
            for answer in _answers(self.config, candidate, judges, shard):
                by_question[question_of(answer.answer_id)].append(answer)
        for answers in by_question.values():
            yield from judged_pairs(answers, self.config.preferences.min_margin)

    def _passed_over(self, unit: Unit) -> Iterator[PreferencePair]:
        output = self.config.output
        winners = {row["dialogue_id"]: row for row in _ok(Table(output, unit.dialogues), unit.shard)}
        for row in _ok(passed_over_of(output, unit.dialogues), unit.shard):
            if pair := passed_over_pair(winners[row["winner_id"]], row):
                yield pair


def find_preference_tables(config: RunConfig) -> PreferenceTables:
    """Find the finished tables of a run that pairs can be made of.

    Raises:
        ConfigError: there is none.
        InputError: answers or judgments are those of other settings.
    """
    asked, output = config.preferences.sources, config.output
    judged = _find_judged(config) if "judged" in asked else ()
    names = [
        layout.DIALOGUES.name(strategy=strategy, corpus=one.corpus)
        for one in config.instructions
        for strategy in config.dialogues.strategies
    ]
    passed_over = tuple(name for name in names if "passed_over" in asked and _was_chosen(output, name))
    votes = layout.FEEDBACK.table(output)
    has_votes = "votes" in asked and votes.manifest() is not None
    if not (judged or passed_over or has_votes):
        needed = ", or ".join(_NEEDED[name] for name in PREFERENCE_SOURCES if name in asked)
        raise ConfigError(f"output {output}: has nothing that preferences are made of; it needs {needed}")
    return PreferenceTables(config, judged, passed_over, votes if has_votes else None)


def passed_over_of(output: str, dialogues: str) -> Table:
    """Return the table of what was passed over for a table of dialogues."""
    return layout.PASSED_OVER.table(output, **(layout.DIALOGUES.parts(dialogues) or {}))


def _was_chosen(output: str, dialogues: str) -> bool:
    """Return whether a table has the winners over those in the finished table of what was passed over."""
    tables = (Table(output, dialogues), passed_over_of(output, dialogues))
    made_of = [(table.inputs() or {}).get("made_of") for table in tables]
    return all(table.manifest() for table in tables) and made_of[0] == made_of[1]


def read_votes(table: Table, shard: str) -> pa.Table:
    """Return the votes of a shard, with the prompt that was replied to and its hash."""
    rows = []
    for row in _ok(table, shard):
        *prompt, reply = to_messages(row)
        named = {name: row[name] for name in ("feedback_id", "character_id", "candidate", "vote")}
        rows.append(named | {"prompt_id": prompt_id(prompt), "messages": row["messages"][:-1], "reply": reply.content})
    return pa.Table.from_pylist(rows, schema=VOTES)


def _find_judged(config: RunConfig) -> tuple[tuple[Any, tuple[str, ...]], ...]:
    found = []
    for candidate in config.evaluation.candidates:
        answers = layout.ANSWERS.table(config.output, candidate=candidate.name)
        manifest = answers.manifest()
        tables = {
            judge.name: layout.JUDGMENTS.table(config.output, candidate=candidate.name, judge=judge.name).manifest()
            for judge in config.evaluation.judges
        }
        judges = {name: judgments for name, judgments in tables.items() if judgments}
        if manifest is None or not judges:
            continue
        is_older = any(judgments["finished"] < manifest["finished"] for judgments in judges.values())
        if is_older or (answers.inputs() or {}).get("prompt") != answer_step(config, candidate).prompt:
            raise InputError(
                f"{answers.path}: its judgments or its prompt are not the current ones; "
                "run `character-factory evaluate` with this config first"
            )
        found.append((candidate, tuple(judges)))
    return tuple(found) if len(found) * config.evaluation.draws > 1 else ()


def _answers(config: RunConfig, candidate: Any, judges: tuple[str, ...], shard: str) -> Iterator[JudgedAnswer]:
    """Yield the whole answers of a candidate that a judge scored, from one shard."""
    scores: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for judge in judges:
        table = layout.JUDGMENTS.table(config.output, candidate=candidate.name, judge=judge)
        for row in _ok(table, shard, ["question_id", "draw", "status", "score", "expected_score"]):
            score = row["score"] if row["expected_score"] is None else row["expected_score"]
            scores[answer_key(row)][judge] = float(score)
    answers = layout.ANSWERS.table(config.output, candidate=candidate.name)
    asked = _questions(config, candidate, shard)
    for row in _ok(answers, shard):
        key = answer_key(row)
        if key in scores and not row["truncated"]:
            messages = asked[row["question_id"]]
            yield JudgedAnswer(candidate.name, key, row["persona_id"], messages, row["answer"], scores[key])


def _questions(config: RunConfig, candidate: Any, shard: str) -> dict[str, Any]:
    """Return what a candidate was asked, by question."""
    step = answer_step(config, candidate)
    questions, profiles = (
        kind.table(config.output) for kind in (layout.BENCHMARK_QUESTIONS, layout.BENCHMARK_PROFILES)
    )
    rows = answer_work(candidate, questions, profiles).read(shard).to_pylist()
    requests = {row["question_id"]: step.render(to_record(step.record, row)) for row in rows}
    return {key: getattr(request, "messages", ()) for key, request in requests.items()}


def _ok(table: Table, shard: str, columns: list[str] | None = None) -> list[Row]:
    rows = table.read(shard, columns)
    return list(rows.filter(pc.equal(rows["status"], "ok")).to_pylist())


def _rows(table: Table) -> int:
    return int((table.manifest() or {})["ok"])
