"""The client of batches against a real server: rounds, what fails, and what a restart finds again. Without Ray."""

import asyncio
import json
import pickle
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from pydantic import SecretStr, ValidationError

from factory.config import OpenAIEngine, Sampling
from factory.errors import ModelError, Stopped, UnreachableError
from factory.inference import open_work
from factory.inference.engines.batch_client import check_batches
from factory.inference.engines.batch_records import open_batches
from factory.inference.engines.batch_replica import BatchReplica
from factory.inference.engines.endpoint_key import api_key
from factory.inference.generation_step import EngineUse
from factory.inference.model_files import Located
from factory.inference.multi_turn import AGAIN_TEMPERATURE
from factory.records import Completion, Message, Request
from factory.runtime.shutdown import StopFlag
from tests.integration.batch_server import batch_log, cancel_batch, forget_batches, set_batch_rules
from tests.integration.endpoint_client import KEY_ENV, SAMPLING, engine_of
from tests.integration.openai_server import KEY, OpenAIServer

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SOON = (0.02, 0.1)


@pytest.fixture
def server(server: OpenAIServer) -> OpenAIServer:
    forget_batches(server.base_url)
    return server


def user(text: str, **more: object) -> Request:
    return Request((Message("user", text),), sampling=SAMPLING, **more)


def batch_engine(server: OpenAIServer, **settings: object) -> OpenAIEngine:
    return engine_of(server, batch=True, batch_poll_s=SOON, **{"deadline_s": 5, "timeout_s": 5, **settings})


class Client:
    """A client and the shards that it answers, which a test may kill."""

    def __init__(self, server: OpenAIServer, folder: object, **settings: object) -> None:
        self.folder = str(folder)
        self.engine = batch_engine(server, **settings)
        self.stop = StopFlag(f"{folder}/stop")

    async def shard(self, replica: BatchReplica, name: str, requests: list[Request]) -> list[Completion] | None:
        row = {
            "state": [f"{self.folder}/state"],
            "shard": [name],
            "is_read": [True],
            "requests": [pickle.dumps(requests)],
        }
        (batch,) = [batch async for batch in replica(row)]
        return pickle.loads(batch["completions"][0]) if batch["is_read"][0] else None

    def answer(
        self, *shards: list[Request], kill_when: Callable[[], bool] = lambda: False
    ) -> list[list[Completion] | None]:
        """The answers to shards, by one client; nothing where it was killed before."""

        async def answer() -> list[list[Completion] | None]:
            replica = BatchReplica(self.engine, SecretStr(api_key(self.engine)), self.stop)
            work = asyncio.gather(*(self.shard(replica, f"{n:05}", requests) for n, requests in enumerate(shards)))
            while not work.done() and not await asyncio.to_thread(kill_when):
                await asyncio.sleep(0.01)
            if not work.done():
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await work
                return []
            return work.result()

        return asyncio.run(answer())


def paid(server: OpenAIServer) -> Counter:
    """How often each last message was answered and paid."""
    return Counter(line["messages"][-1]["content"] for line in batch_log(server.base_url)["paid"])


def replies(shard: list[Completion]) -> list[tuple[str, ...]]:
    return [completion.replies for completion in shard]


def test_shards_are_batches_whose_answers_come_in_any_order_and_whose_files_are_deleted(server, tmp_path):
    shards = [[user(f"shard {n} row {row} \u2028 \x85 ü") for row in range(5)] for n in range(3)]
    answered = Client(server, tmp_path).answer(*shards)
    said = [[(f"You said: {request.messages[0].content}",) for request in shard] for shard in shards]
    assert [replies(shard) for shard in answered] == said
    log = batch_log(server.base_url)
    assert [batch["lines"] for batch in log["batches"]] == [5, 5, 5]
    assert (len(log["paid"]), set(paid(server).values()), log["files"]) == (15, {1}, [])
    assert answered[0][0].prompt_tokens == 10
    assert server.requests() == []


def test_a_file_that_would_be_too_large_is_several(server, tmp_path):
    (answered,) = Client(server, tmp_path, max_batch_requests=2).answer([user(f"row {n}") for n in range(5)])
    assert replies(answered) == [(f"You said: row {n}",) for n in range(5)]
    assert sorted(batch["lines"] for batch in batch_log(server.base_url)["batches"]) == [1, 2, 2]


def test_the_same_is_sent_as_without_batches(server, tmp_path):
    request = replace(user("one", schema='{"type": "object"}', logprobs=20), temperature=0.25)
    (answered,) = Client(server, tmp_path, extra_body={"top_k": 3}).answer([request])
    (line,) = batch_log(server.base_url)["paid"]
    assert (line["top_k"], line["temperature"], line["max_tokens"]) == (3, 0.25, SAMPLING.max_tokens)
    assert line["response_format"]["type"] == "json_schema"
    assert len(answered[0].ending) == 4


def test_each_turn_of_dialogues_of_many_lengths_is_one_batch_with_the_history(server, tmp_path):
    dialogues = [user(f"{n}: one", follow_ups=tuple(f"{n}: {word}" for word in ("two", "three")[:n])) for n in range(3)]
    (answered,) = Client(server, tmp_path).answer(dialogues)
    assert [len(completion.replies) for completion in answered] == [1, 2, 3]
    log = batch_log(server.base_url)
    assert [batch["lines"] for batch in log["batches"]] == [3, 2, 1]
    assert [m["content"] for m in log["paid"][-1]["messages"]] == [
        "2: one", "You said: 2: one", "2: two", "You said: 2: two", "2: three",
    ]  # fmt: skip


def never(_reply: str) -> bool:
    return False


def test_a_reply_that_cannot_be_used_is_asked_for_again_in_the_next_round(server, tmp_path):
    cold = replace(user("odd", is_parsable=never, attempts=3), temperature=0)
    (answered,) = Client(server, tmp_path).answer([user("good"), cold, user("empty [[filter x1]]", attempts=2)])
    log = batch_log(server.base_url)
    assert [batch["lines"] for batch in log["batches"]] == [3, 2, 1]
    assert [line["temperature"] for line in log["paid"] if line["messages"][0]["content"] == "odd"] == [
        0, AGAIN_TEMPERATURE, AGAIN_TEMPERATURE,
    ]  # fmt: skip
    assert [completion.error for completion in answered] == ["", "", ""]


def test_a_line_that_fails_for_a_while_is_asked_again_and_one_that_always_fails_is_its_rows_own(server, tmp_path):
    kinds = ("503 x1", "429 x2", "500 x1", "400", "policy", "too-long", "500")
    (answered,) = Client(server, tmp_path).answer([user("good"), *(user(f"row [[{kind}]]") for kind in kinds)])
    errors = [completion.error for completion in answered]
    assert errors == ["", "", "", "", "engine_error", "refused", "too_long", "engine_error"]
    assert "you get 400" in answered[4].detail
    assert set(paid(server).values()) == {1}


def test_the_other_name_of_the_token_limit_is_taken(server, tmp_path):
    server.rule(family="gpt-5")
    plain = replace(SAMPLING, temperature=None, top_p=None)
    requests = [replace(user(f"row {n}"), sampling=plain) for n in range(3)]
    (answered,) = Client(server, tmp_path).answer(requests)
    assert [completion.error for completion in answered] == ["", "", ""]
    assert paid(server) == {f"row {n}": 1 for n in range(3)}


@pytest.mark.parametrize("what", ["expire", "lose"])
def test_an_expired_or_lost_batch_keeps_what_it_answered_and_asks_the_rest_again(server, tmp_path, what):
    set_batch_rules(server.base_url, **{what: 2})
    (answered,) = Client(server, tmp_path).answer([user(f"row {n}") for n in range(8)])
    assert replies(answered) == [(f"You said: row {n}",) for n in range(8)]
    asked = {"expire": [8, 4, 2], "lose": [8, 8, 8]}[what]
    assert [batch["lines"] for batch in batch_log(server.base_url)["batches"]] == asked
    assert set(paid(server).values()) == {1 if what == "expire" else 3}


def test_a_download_that_breaks_off_and_a_batch_whose_creation_got_no_answer_are_paid_once(server, tmp_path):
    set_batch_rules(server.base_url, cut=2, cut_downloads=2)
    shards = [[user(f"shard {n} row {row}") for row in range(4)] for n in range(3)]
    answered = Client(server, tmp_path).answer(*shards)
    assert not any(completion.error for shard in answered for completion in shard)
    assert len(batch_log(server.base_url)["batches"]) == 3
    assert (len(paid(server)), set(paid(server).values())) == (12, {1})


def test_too_many_waiting_tokens_are_waited_for(server, tmp_path):
    set_batch_rules(server.base_url, at_once=2, polls=4)
    shards = [[user(f"shard {n} row {row}") for row in range(3)] for n in range(7)]
    answered = Client(server, tmp_path).answer(*shards)
    assert not any(completion.error for shard in answered for completion in shard)
    assert (len(paid(server)), set(paid(server).values())) == (21, {1})


def test_a_batch_that_never_fits_names_the_setting_and_is_begun_anew_with_a_lower_one(server, tmp_path):
    set_batch_rules(server.base_url, at_once=0)
    requests = [user(f"row {n}") for n in range(3)]
    with pytest.raises(ModelError, match=r"Limit: 90,000 .* if 3 requests .* set engine.max_batch_requests lower"):
        Client(server, tmp_path, deadline_s=0.5, timeout_s=0.5).answer(requests)
    set_batch_rules(server.base_url)
    (answered,) = Client(server, tmp_path, max_batch_requests=1).answer(requests)
    assert paid(server) == {f"row {n}": 1 for n in range(3)}
    assert not any(completion.error for completion in answered)


def test_a_batch_that_the_endpoint_refuses_ends_the_run_in_one_line_and_the_next_run_asks_anew(server, tmp_path):
    set_batch_rules(server.base_url, fail="model_not_found")
    with pytest.raises(ModelError, match=r"refuses a batch for 'small-chat' \(model_not_found: something is wrong\)"):
        Client(server, tmp_path).answer([user("one")])
    assert batch_log(server.base_url)["files"] == []
    set_batch_rules(server.base_url)
    assert replies(Client(server, tmp_path).answer([user("one")])[0]) == [("You said: one",)]


def test_an_endpoint_without_batches_a_wrong_key_and_one_that_is_down_are_told_apart(server, tmp_path, monkeypatch):
    check_batches(batch_engine(server))
    set_batch_rules(server.base_url, absent=True)
    for ask in (lambda: check_batches(batch_engine(server)), lambda: Client(server, tmp_path).answer([user("one")])):
        with pytest.raises(ModelError, match=r"engine.batch: .* has no interface for batches .*leave engine.batch out"):
            ask()
    set_batch_rules(server.base_url, status=503)
    with pytest.raises(UnreachableError, match="does not answer"):
        Client(server, tmp_path, deadline_s=0.5, timeout_s=0.5).answer([user("one")])
    set_batch_rules(server.base_url)
    monkeypatch.setenv(KEY_ENV, "sk-wrong")
    with pytest.raises(ModelError, match=KEY_ENV) as caught:
        Client(server, tmp_path).answer([user("one")])
    assert "sk-wrong" not in str(caught.value)


def test_where_no_line_is_answered_the_endpoint_itself_is_asked_and_the_round_again_once_it_is_mended(server, tmp_path):
    server.rule(misbehave="403")
    with pytest.raises(ModelError, match="refuses 'small-chat'"):
        Client(server, tmp_path).answer([user("one"), user("two")])
    server.rule()
    (answered,) = Client(server, tmp_path).answer([user("one"), user("two")])
    assert [completion.error for completion in answered] == ["", ""]


MOMENTS = {
    "uploaded": lambda log: log["calls"].get("POST files", 0) >= 3,
    "created": lambda log: len(log["batches"]) >= 1,
    "polled": lambda log: log["calls"].get("GET batches", 0) >= 2,
    "first turn answered": lambda log: len(log["paid"]) >= 1,
    "second turn asked": lambda log: len(log["batches"]) >= 4,
    "second turn answered": lambda log: len(log["paid"]) >= 13,
}


@pytest.mark.parametrize(("cut", "place"), [(0, "local"), (2, "local"), (2, "s3")])
def test_a_client_killed_at_any_moment_pays_nothing_twice(server, tmp_path, monkeypatch, request, cut, place):
    folder = tmp_path if place == "local" else f"{request.getfixturevalue('s3')}/batches"
    set_batch_rules(server.base_url, cut=cut)
    shards = [[user(f"{n}-{row}", follow_ups=(f"{n}-{row} again",)) for row in range(4)] for n in range(3)]
    for moment in MOMENTS.values():
        Client(server, folder).answer(*shards, kill_when=lambda at=moment: at(batch_log(server.base_url)))
        if len(paid(server)) == 24 and not open_batches([f"{folder}/state"])[0]:
            break  # on a busy machine the last kill comes when all answers are stored
        monkeypatch.setenv(KEY_ENV, "sk-wrong")
        with pytest.raises(ModelError, match=KEY_ENV):
            Client(server, folder).answer(*shards)
        monkeypatch.setenv(KEY_ENV, KEY)
    answered = Client(server, folder).answer(*shards)
    assert [len(completion.replies) for shard in answered for completion in shard] == [2] * 12
    assert (len(paid(server)), set(paid(server).values())) == (24, {1})
    again = Client(server, folder).answer(*shards)
    assert (again, len(batch_log(server.base_url)["batches"])) == (answered, 6)


def test_two_clients_at_once_do_not_take_each_others_batches(server, tmp_path):
    set_batch_rules(server.base_url, polls=0)
    requests = [user(f"row {n}") for n in range(3)]
    for name in "ab":
        Client(server, tmp_path / name).answer(requests, kill_when=lambda: open_batches([str(tmp_path)])[0] > 0)
    set_batch_rules(server.base_url)
    for name in "ab":
        assert not any(completion.error for completion in Client(server, tmp_path / name).answer(requests)[0])
    assert paid(server) == {f"row {n}": 2 for n in range(3)}


def test_a_stop_leaves_the_batches_open_and_the_next_run_takes_their_answers(server, tmp_path):
    set_batch_rules(server.base_url, polls=0)
    client = Client(server, tmp_path)

    def stop_once_open() -> bool:
        if open_batches([f"{tmp_path}/state"]) == (2, 6) and len(batch_log(server.base_url)["batches"]) == 2:
            (tmp_path / "stop").touch()
        return False

    shards = [[user(f"shard {n} row {row}") for row in range(3)] for n in range(2)]
    assert client.answer(*shards, kill_when=stop_once_open) == [None, None]
    (tmp_path / "stop").unlink()
    set_batch_rules(server.base_url)
    assert not any(completion.error for shard in client.answer(*shards) for completion in shard)
    assert (len(paid(server)), set(paid(server).values())) == (6, {1})
    assert open_batches([f"{tmp_path}/state"]) == (0, 0)


def test_what_is_open_is_told_once_for_each_engine(server, tmp_path, monkeypatch):
    set_batch_rules(server.base_url, polls=0)
    for name in "ab":
        folder = str(tmp_path / name)
        Client(server, folder).answer([user("one"), user("two")], kill_when=lambda at=folder: open_batches([at])[0])
    monkeypatch.setattr(open_work, "REPORT_EVERY_S", 0.01)
    batched, direct = batch_engine(server), engine_of(server)
    uses = [
        (EngineUse(engine, Sampling(), 0, Located("m", "")), f"{tmp_path}/{name}/state")
        for engine, name in ((batched, "a"), (batched, "b"), (direct, "a"))
    ]
    told: list[str] = []
    with open_work.report_open_work(uses, told.append):
        while not told:
            time.sleep(0.01)
    assert told == ["waiting for 4 rows in 2 batches at small-chat"]


def test_a_batch_that_somebody_cancels_ends_the_run_and_the_next_one_asks_its_rows_again(server, tmp_path):
    set_batch_rules(server.base_url, polls=0)

    def cancel_once_polled() -> bool:
        if batch_log(server.base_url)["calls"].get("GET batches", 0) >= 2:
            cancel_batch(server.base_url, "batch_1")
        return False

    with pytest.raises(Stopped, match="batch_1 was canceled"):
        Client(server, tmp_path).answer([user("one")], kill_when=cancel_once_polled)
    set_batch_rules(server.base_url)
    assert replies(Client(server, tmp_path).answer([user("one")])[0]) == [("You said: one",)]
    assert paid(server) == {"one": 1}


def test_settings_that_do_not_fit_together_are_refused():
    with pytest.raises(ValidationError, match="leave other_urls out"):
        OpenAIEngine(kind="openai", model="m", batch=True, other_urls=["http://127.0.0.1:1/v1"])
    with pytest.raises(ValidationError, match="shortest, longest"):
        OpenAIEngine(kind="openai", model="m", batch_poll_s=(5, 1))


def test_a_record_of_other_questions_or_that_is_not_what_was_written_is_as_if_it_were_not_there(server, tmp_path):
    client = Client(server, tmp_path)
    for text in ("other", "one"):
        assert replies(client.answer([user(text)])[0]) == [(f"You said: {text}",)]
    (record,) = tmp_path.glob("state/*/*/*.json")
    for content in ("", "[]", "{}", json.dumps({**json.loads(record.read_text()), "content": "another"})):
        record.write_text(content)
        assert replies(client.answer([user("one")])[0]) == [("You said: one",)]
