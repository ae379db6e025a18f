"""An endpoint that is slow, endless, huge or wrong about numbers costs a row or ends the run, and never hangs it."""

import asyncio
import gzip
import json
import pickle
import zlib
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from factory.config import EndpointJudge, Sampling
from factory.errors import ModelError, UnreachableError, UserError
from factory.evaluation.judge_clients import JudgeClient, probe_judges
from factory.evaluation.verdict_parsing import expected_score
from factory.inference.engines import endpoint_check, endpoint_errors
from factory.inference.engines.endpoint_check import check_endpoint
from factory.inference.engines.endpoint_reply import parse_reply
from factory.inference.engines.openai import OpenAIReplica
from factory.inference.model_files import Located
from factory.inference.prompts import load_prompt
from factory.playground import streaming
from factory.playground.chat_models import ChatModel
from factory.playground.streaming import StreamedReply, stream_reply
from factory.records import Completion, Message, Persona, Profile, Reject, Request
from factory.runtime.progress import Progress
from factory.storage.rows import ok_row, rejected_row
from factory.storage.schemas import PROFILES
from factory.storage.tables import Table
from tests.integration.endpoint_client import ask_shard, engine_of
from tests.integration.openai_server import KEY, OpenAIServer

PERSON = Profile(
    "0" * 16, "a baker", "Ada", "34", "female", "Black", "Lagos", "Tall.", "Bakes.", "Warm.", "Name: Ada", "en"
)

# Where a run ends, the actor and its open connections end with it: nobody closes them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


engine = partial(engine_of, max_retries=0, timeout_s=1)
ask = partial(ask_shard, max_retries=0, timeout_s=1)


SLOW = ("drip", "drip-head")
ENDLESS = {
    **dict.fromkeys(SLOW, "timed out"),
    "flood": "more than 4,456,448 bytes",
    "bomb": "more than 4,456,448 bytes",
    "huge": "more than 4,456,448 bytes",
}


def test_endless_replies_fail_their_rows_alone(server):
    good = [f"good number {n}" for n in range(8)]
    completions = ask(server, *good, *(f"hello [[{kind}]]" for kind in ENDLESS), timeout_s=5)
    assert [one.replies for one in completions[:8]] == [(f"You said: {text}",) for text in good]
    for (kind, said), completion in zip(ENDLESS.items(), completions[8:], strict=True):
        assert (kind, completion.error) == (kind, "engine_error")
        assert said in completion.detail


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_endpoint_ends_the_run(server, kind):
    server.rule(misbehave=kind)
    with pytest.raises(UnreachableError, match=ENDLESS[kind]):
        ask(server, "a", "b", timeout_s=0.3 if kind in SLOW else 30)


@pytest.mark.parametrize("kind", ["drip", "drip-head", "flood", "bomb"])
def test_an_endless_list_of_models_is_one_line(server, kind, monkeypatch):
    monkeypatch.setattr(endpoint_check, "LIST_TIMEOUT_S", 0.3 if kind in SLOW else 30)
    server.rule(misbehave=kind)
    with pytest.raises(UnreachableError, match="does not answer") as told:
        check_endpoint(engine(server))
    assert "\n" not in str(told.value)


def test_a_slow_reply_is_asked_for_again(server):
    (completion,) = ask(server, "hello [[drip x1]]", max_retries=1)
    assert completion.replies == ("You said: hello [[drip x1]]",)


def test_a_request_has_a_deadline_over_all_attempts(server):
    (_, completion) = ask(server, "good", "hello [[hang]]", max_retries=100, timeout_s=0.2, deadline_s=1)
    assert (completion.error, completion.detail) == ("engine_error", "not answered in 1 s")
    server.rule(misbehave="hang")
    with pytest.raises(UnreachableError):
        ask(server, "a", max_retries=100, timeout_s=0.2, deadline_s=0.5)


def test_a_long_retry_after_is_waited_for_in_part(server, monkeypatch):
    monkeypatch.setattr(endpoint_errors, "LONGEST_PAUSE_S", 1)
    server.rule(retry_after="1000000000")
    (completion,) = ask(server, "hello [[429 x1]]")
    assert completion.replies == ("You said: hello [[429 x1]]",)
    first, second = (entry["at"] for entry in server.requests("429"))
    assert second - first >= 1


@pytest.mark.parametrize("kind", ["long", "long-refusal"])
def test_details_are_bounded(server, kind):
    (completion,) = ask(server, f"hello [[{kind}]]")
    assert completion.error in ("engine_error", "refused")
    assert completion.detail.endswith("more characters")
    assert len(completion.detail) <= 4000


def test_no_redirect_is_followed(server):
    server.rule(misbehave="redirect")
    with pytest.raises(ModelError, match=r"redirects to 'http://127.0.0.1:9/v1/chat/completions'"):
        ask(server, "a")


def ask_one_that_answers(server: OpenAIServer, answer: bytes) -> None:
    """Ask an endpoint for a reply that answers every request with the same bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def asked() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as small:
            url = f"http://127.0.0.1:{small.sockets[0].getsockname()[1]}/v1"
            client = OpenAIReplica(engine(server, base_url=url), SecretStr(KEY), 1)
            async for batch in client({"requests": [pickle.dumps([Request((Message("user", "a"),))])]}):
                (completion,) = pickle.loads(batch["completions"][0])
                assert completion.replies == ("hi",)

    asyncio.run(asked())


@pytest.mark.parametrize("location", ["", "http://", "http://a:99999999/", "//[::1", "http://\u00fc/", "x:" * 5000])
def test_any_redirect_is_one_line(server, location):
    """Also to what is no address, which the library parses before it is asked to follow."""
    with pytest.raises(UserError) as told:
        ask_one_that_answers(
            server, f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        )
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize("charset", ["zlib", "punycode", "utf-7", "none-such"])
def test_an_endpoint_does_not_choose_its_charset(server, charset):
    head = f"HTTP/1.1 400 No\r\nContent-Type: text/html; charset={charset}\r\nContent-Length: 4\r\n\r\n"
    with pytest.raises(ModelError):
        ask_one_that_answers(server, head.encode() + b"\xff+A-")


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_packed_replies_are_read(server, coding):
    """Some servers pack replies unasked."""
    reply = json.dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}).encode()
    body = gzip.compress(reply) if coding == "gzip" else zlib.compress(reply)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    ask_one_that_answers(server, head.encode() + body)


TOKENS = {
    "2147483647": 0,
    "2147483648": 0,
    "9223372036854775808": 0,
    "1" + 400 * "0": 0,
    "-5": 0,
    "1.5": 0,
    "12.0": 12,
    "1e3": 1000,
    "1e999": 0,
    "NaN": 0,
    "-Infinity": 0,
    '"12"': 0,
    "true": 0,
    "null": 0,
    "[7]": 0,
    "100000000": 100000000,
}


@pytest.mark.parametrize(("told", "counted"), TOKENS.items(), ids=[one[:12] for one in TOKENS])
def test_implausible_counts_are_no_counts(server, tmp_path, told, counted):
    told_of_cached = f'"prompt_tokens_details": {{"cached_tokens": {told}}}'
    server.rule(usage=f'{{"prompt_tokens": {told}, "completion_tokens": {told}, {told_of_cached}}}')
    (completion,) = ask(server, "a")
    assert completion.replies == ("You said: a",)
    counts = (completion.prompt_tokens, completion.output_tokens, completion.cached_tokens)
    assert counts == (counted, counted, counted)
    assert written(tmp_path, completion) == list(counts)


@pytest.mark.parametrize("usage", ["7", '"many"', "[1]", "true", '{"prompt_tokens_details": 3}', "{}", "null"])
def test_usage_in_another_shape_costs_no_reply(server, usage):
    server.rule(usage=usage)
    (completion,) = ask(server, "a")
    assert (completion.replies, completion.prompt_tokens) == (("You said: a",), 0)


def test_counts_of_many_turns_fit_their_column(server, tmp_path):
    server.rule(usage='{"prompt_tokens": 100000000, "completion_tokens": 1}')
    (completion,) = ask(server, Request((Message("user", "a"),), follow_ups=("b",) * 30))
    assert written(tmp_path, completion) == [2**31 - 1, 31, 0]


def written(folder: Path, completion: Completion) -> list[int]:
    """The counts of tokens that an accepted and a rejected row have on disk."""
    table = Table(str(folder), "profiles")
    refused = rejected_row(Reject("invalid_reply"), {"character_id": "1" * 16}, completion)
    table.write("0", [ok_row(PERSON, completion), refused], PROFILES)
    rows = table.read("0", ["prompt_tokens", "output_tokens", "cached_tokens"]).to_pylist()
    assert rows[0] == rows[1]
    return list(rows[0].values())


LOGPROBS = [
    "5",
    '{"content": 5}',
    '{"content": [[]]}',
    '{"content": [{"token": 4, "top_logprobs": []}]}',
    '{"content": [{"token": "4", "top_logprobs": [{"token": "4", "logprob": NaN}]}]}',
    '{"content": [{"token": "4", "top_logprobs": [{"token": "4", "logprob": Infinity}]}]}',
    '{"content": [{"token": "4", "top_logprobs": [{"token": "4", "logprob": 1e308}]}]}',
    '{"content": [{"token": "4", "top_logprobs": [{"token": "4", "logprob": -1' + 400 * "0" + "}]}]}",
    '{"content": [{"token": "4", "top_logprobs": [{"token": "4", "logprob": "-0.1"}]}]}',
    '{"content": [{"token": "4", "top_logprobs": [{"token": "4", "logprob": true}]}]}',
]


@pytest.mark.parametrize("logprobs", LOGPROBS)
def test_implausible_logprobs_are_no_logprobs(server, logprobs):
    server.rule(logprobs=logprobs)
    (completion,) = ask(server, Request((Message("user", "a"),), logprobs=20))
    assert (completion.replies, completion.ending) == (("You said: a",), ())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON, JSON, st.lists(st.fixed_dictionaries({"token": JSON, "logprob": JSON}), max_size=3))
def test_what_stands_beside_a_text_never_harms_it(prompt, output, cached, likely):
    usage = {"prompt_tokens": prompt, "completion_tokens": output, "prompt_tokens_details": {"cached_tokens": cached}}
    logprobs = {"content": [{"token": "4", "top_logprobs": likely}]}
    choice = {"message": {"content": "hi"}, "finish_reason": "stop", "logprobs": logprobs}
    reply = parse_reply({"choices": [choice], "usage": usage}, 64)
    assert reply.text == "hi"
    for counted in (reply.prompt_tokens, reply.output_tokens, reply.cached_tokens):
        assert type(counted) is int
        assert 0 <= counted <= 10**8
    score = expected_score(reply.ending, 4)
    assert score is None or 1 <= score <= 5


@pytest.mark.parametrize("kind", ["hang", "drip", "flood", "bomb"])
def test_a_probe_for_logprobs_ends(server, kind):
    server.rule(misbehave=kind)
    settings = engine(server).model_dump() | {"name": "a", "timeout_s": 0.3, "kind": "openai"}
    judge = JudgeClient("a", "openai", Located("small-chat", "endpoint"), EndpointJudge(**settings), {})
    assert probe_judges([judge], Progress()) == [judge]


STREAMS = {
    "words": "did not stop after 64 tokens",
    "nothings": "could not reply",
    "flood": "could not reply",
    "drip": "does not respond",
}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_that_does_not_end_is_cut(server, monkeypatch, kind):
    monkeypatch.setattr(streaming, "MAX_TEXT_S", 1 if kind == "drip" else 60)

    async def written() -> StreamedReply:
        reply, sampling = StreamedReply(), Sampling(max_tokens=64)
        asked = engine(server)
        async with streaming.make_client(asked, sampling.max_tokens) as client:
            said = [Message("user", f"hello [[{kind}]]")]
            await stream_reply(client, ChatModel("ada", "m", asked), said, sampling, reply, lambda: None)
        return reply

    reply = asyncio.run(written())
    assert STREAMS[kind] in reply.problem
    assert len(reply.text) < 20_000


def test_a_stream_may_be_slower_than_its_silence(server):
    """`timeout_s` is the longest silence of a reply that streams, not its whole time."""
    server.rule(word_s=0.2)

    async def written() -> StreamedReply:
        reply, sampling = StreamedReply(), Sampling(max_tokens=64)
        asked = engine(server, timeout_s=0.5)
        async with streaming.make_client(asked, sampling.max_tokens) as client:
            said = [Message("user", "one two three four five")]
            await stream_reply(client, ChatModel("ada", "m", asked), said, sampling, reply, lambda: None)
        return reply

    assert asyncio.run(written()) == StreamedReply("You said: one two three four five")


@pytest.mark.parametrize("form", ["first", "unopened", "gpt-oss", "field"])
def test_a_streamed_reply_ends_without_its_thoughts(server, form):
    async def written() -> StreamedReply:
        reply, sampling = StreamedReply(), Sampling(max_tokens=64, temperature=None)
        asked = engine(server, token_limit="max_completion_tokens", extra_body={"top_k": 5})
        async with streaming.make_client(asked, sampling.max_tokens) as client:
            said = [Message("user", f"one [[thought-{form}]]")]
            await stream_reply(client, ChatModel("ada", "m", asked), said, sampling, reply, lambda: None)
        return reply

    assert asyncio.run(written()) == StreamedReply(f"You said: one [[thought-{form}]]")
    (entry,) = server.requests()
    assert (entry["max_completion_tokens"], entry["top_k"]) == (64, 5)
    assert {"temperature", "max_tokens"}.isdisjoint(entry)


@pytest.mark.parametrize("family", ["deepseek", "mistral", "vllm"])
def test_the_page_reads_the_profiles_of_reasoning_models(server, family):
    server.rule(family=family)

    async def made() -> Profile | str:
        asked = engine(server)
        async with streaming.make_client(asked, 64) as client:
            prompt, persona = load_prompt("profile"), Persona("0" * 16, "a baker")
            model, sampling = ChatModel("ada", "m", asked), Sampling(max_tokens=64)
            return await streaming.generate_profile(client, model, prompt, "English", persona, sampling, 1)

    profile = asyncio.run(made())
    assert isinstance(profile, Profile), profile
    assert profile.name == "Ada Oduya"
