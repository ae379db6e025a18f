"""A small OpenAI-compatible server that misbehaves on demand, in a process of its own.

A marker such as `[[503 x2]]` in the last user message makes it misbehave for that message, as often
as it says (always without a number); `rules` sent to `/control` do so for everybody. What it was
asked stands in `/log`.

python -m tests.integration.openai_server PORT   # 0 takes a free one; the port is printed
"""

import asyncio
import gzip
import json
import math
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from aiohttp import web

from tests.integration import reasoning_models

KEY = "sk-secret-4f1c9e77d0b84a52"
MODELS = ("small-chat", "small-chat-mini", "embedder")
PROFILE = {
    "name": "Ada Oduya", "age": "34", "gender": "female", "race": "Black", "birth_place": "Lagos",
    "appearance": "Tall, with short hair and a floured apron.",
        "experience": "Her aunt taught her to bake, and she opened a shop at thirty.",
        "personality": "Warm and dry, she talks in short sentences.",
}  # fmt: skip
SAID = {
    "too-long": "This model's maximum context length is 8192 tokens.",
    "policy": "The response was filtered (content_filter).",
    "echo-key": f"Who are you, Bearer {KEY}?",
}


@dataclass
class Rules:
    """What holds for everybody until the next `/control`."""

    misbehave: str = ""
    """Such as `503`; as a marker says it."""
    at_most: int = 10**9
    """How many requests at once it takes."""
    busy: int = 429
    """The status that the others get."""
    delay_s: float = 0
    word_s: float = 0
    """How long each word of a reply takes that is streamed."""
    key: str = KEY
    card: dict = field(default_factory=dict)
    """What the list of models says of each besides."""
    usage: str = ""
    """JSON in place of the counts of tokens, also what no number of JSON is."""
    logprobs: str = ""
    """JSON in place of the log-probabilities."""
    retry_after: str = "2"
    family: str = ""
    """The reasoning model that it behaves as: one of `reasoning_models`."""
    finish_reason: str | None = "stop"
    takes: bool = False
    """Whether a reply in words ends with how often its model was asked the same."""
    per_second: float = 0
    """How many requests it takes; what a second leaves over is lost, and the others get a 429."""


@dataclass
class Server:
    """The server's state since the last `/control`."""

    rules: Rules = field(default_factory=Rules)
    log: list[dict] = field(default_factory=list)
    times: Counter = field(default_factory=Counter)
    takes: Counter = field(default_factory=Counter)
    now: int = 0
    most_at_once: int = 0
    left: float = 0
    filled_at: float = 0

    def is_over_its_rate(self) -> bool:
        now, rate = time.monotonic(), self.rules.per_second
        self.left, self.filled_at = min(rate, self.left + (now - self.filled_at) * rate), now
        if rate and self.left < 1:
            return True
        self.left -= 1
        return False

    async def control(self, request: web.Request) -> web.Response:
        self.__init__(Rules(**await request.json()))
        return web.json_response({})

    async def tell(self, request: web.Request) -> web.Response:
        return web.json_response({"requests": self.log, "most_at_once": self.most_at_once, "now": self.now})

    async def models(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.rules.key}":
            return failed(401, f"Incorrect API key provided: {request.headers.get('Authorization')}")
        if self.rules.misbehave == "no-list":
            return failed(404, "no such page")
        if self.rules.misbehave in ENDLESS:
            return await ENDLESS[self.rules.misbehave](request)
        cards = [{"id": name, "object": "model", **self.rules.card} for name in MODELS]
        return web.json_response({"object": "list", "data": cards})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        arrived, body = time.time(), await request.json()
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        entry = {"at": arrived, "status": 0, **body}
        self.log.append(entry)
        try:
            if self.now > self.rules.at_most:
                response = failed(self.rules.busy, "too many")
            elif self.is_over_its_rate():
                wait_ms = (1 - self.left) / self.rules.per_second * 1000
                response = failed(429, "too many per second", {"retry-after-ms": f"{wait_ms:.0f}"})
            else:
                await asyncio.sleep(self.rules.delay_s)
                response = await self.answer(request, body)
                if body.get("stream") and response.status == 200 and not response.prepared:
                    response = await streamed(request, json.loads(response.text), self.rules.word_s)
            entry["status"] = response.status
            return response
        finally:
            self.now -= 1

    async def answer(self, request: web.Request, body: dict) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.rules.key}":
            return failed(401, f"Incorrect API key provided: {request.headers.get('Authorization')}")
        last = body["messages"][-1]["content"]
        marker = re.search(r"\[\[([\w-]+)(?: x(\d+))?\]\]", last)
        kind = self.rules.misbehave
        if marker and self.times[last] < int(marker[2] or 10**9):
            kind = marker[1]
        self.times[last] += 1
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind == "drop":
            request.transport.close()
        if kind.isdecimal():
            pause = {"Retry-After": self.rules.retry_after} if kind == "429" else {}
            return failed(int(kind), f"you get {kind}", pause)
        if kind in ENDLESS:
            return await ENDLESS[kind](request)
        if kind == "redirect":
            return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/v1/chat/completions"})
        if kind in SAID:
            return failed(400, SAID[kind])
        if kind == "refuse-logprobs" and "logprobs" in body:
            return failed(400, "logprobs is not supported by this model")
        if refused := reasoning_models.refusal(self.rules.family, body):
            return refused
        response = reply(kind, body)
        if self.rules.takes:
            self.takes[body["model"], last] += 1
            answer = json.loads(response.text)
            answer["choices"][0]["message"]["content"] += f" Take {self.takes[body['model'], last]}."
            response.text = json.dumps(answer)
        if self.rules.family:
            response.text = json.dumps(reasoning_models.dressed(self.rules.family, json.loads(response.text)))
        if self.rules.finish_reason != "stop":
            answer = json.loads(response.text)
            answer["choices"][0]["finish_reason"] = self.rules.finish_reason
            response.text = json.dumps(answer)
        for name, value in {"usage": self.rules.usage, "logprobs": self.rules.logprobs}.items():
            if value:
                marked = json.loads(response.text)
                (marked if name == "usage" else marked["choices"][0])[name] = "@"
                response.text = json.dumps(marked).replace('"@"', value)
        return response


async def _drip(request: web.Request) -> web.StreamResponse:
    """A byte every tenth of a second."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.1)


async def _drip_head(request: web.Request) -> web.StreamResponse:
    """Headers that do not end."""
    request.transport.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not request.transport.is_closing():
        request.transport.write(b"x")
        await asyncio.sleep(0.1)
    raise ConnectionResetError


async def _flood(request: web.Request) -> web.StreamResponse:
    """A body without an end, as fast as it is read."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" " * 2**16)


async def _bomb(request: web.Request) -> web.StreamResponse:
    """A few hundred bytes that are 100 MB once they are unpacked twice."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip, gzip"}
    return web.Response(body=_packed(), headers=headers)


@cache
def _packed() -> bytes:
    return gzip.compress(gzip.compress(b" " * 10**8))


async def _words(request: web.Request) -> web.StreamResponse:
    """A stream of words without an end."""
    return await _stream(request, "word " * 20)


async def _nothings(request: web.Request) -> web.StreamResponse:
    """A stream without an end in which nothing is said."""
    return await _stream(request, "")


async def _stream(request: web.Request, text: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    chunk = _event({"id": "chat-1", "created": 1, "model": "m"}, {"delta": {"content": text}, "finish_reason": None})
    while True:
        await response.write(chunk * 64)


ENDLESS = {
    "drip": _drip, "drip-head": _drip_head, "flood": _flood, "bomb": _bomb, "words": _words, "nothings": _nothings,
}  # fmt: skip


async def streamed(request: web.Request, answer: dict, word_s: float) -> web.StreamResponse:
    """The same answer word by word, as server-sent events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    choice = answer["choices"][0]
    for word in re.findall(r"\s*\S+", choice["message"]["content"]):
        await asyncio.sleep(word_s)
        await response.write(_event(answer, {"delta": {"content": word}, "finish_reason": None}))
    await response.write(_event(answer, {"delta": {}, "finish_reason": choice["finish_reason"]}))
    await response.write(b"data: [DONE]\n\n")
    return response


def _event(answer: dict, choice: dict) -> bytes:
    chunk = {**answer, "object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]}
    return f"data: {json.dumps(chunk)}\n\n".encode()


def failed(status: int, message: str, headers: dict | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "code": None}}, status=status, headers=headers)


def reply(kind: str, body: dict) -> web.Response:
    """A good answer, or one that its kind spoils."""
    last = body["messages"][-1]["content"]
    text = json.dumps(_shaped(body)) if "response_format" in body else f"You said: {last}"
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    if kind == "huge":
        choice["message"]["content"] = "a" * 50_000_000
    if kind == "long":
        choice["message"]["content"] = "a" * 1_000_000
    if kind == "long-refusal":
        choice["message"] |= {"content": None, "refusal": "no " * 1_000_000}
    if kind == "no-json":
        choice["message"]["content"] = "I would say that it is worth a four."
    if kind == "half-score":
        choice["message"]["content"] = json.dumps({"reasoning": "between two", "score": 4.5})
    reasoning_models.spoil(kind, choice)
    if body.get("logprobs") and kind != "no-logprobs":
        choice["logprobs"] = {"content": _score_tokens()}
    answer = {"id": "chat-1", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
    answer["usage"] = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    if kind == "html":
        return web.Response(text="<html>garbage</html>", content_type="text/html")
    if kind == "cut":
        return web.Response(text=json.dumps(answer)[:-40], content_type="application/json")
    if kind == "shapeless":
        return web.json_response({"choices": "garbage", "usage": 7})
    if kind == "nested":
        return web.Response(text="[" * 100_000, content_type="application/json")
    if kind == "no-choices":
        answer["choices"] = []
    if kind == "length":
        choice |= {"finish_reason": "length"}
    if kind == "length-of-thought":
        choice |= {"finish_reason": "length", "message": {"role": "assistant", "content": None}}
    if kind == "filter":
        choice |= {"finish_reason": "content_filter"}
    if kind == "refusal":
        choice["message"] |= {"content": None, "refusal": "I would rather not."}
    if kind == "no-text":
        choice |= {"finish_reason": "tool_calls", "message": {"role": "assistant", "content": None}}
    if kind in ("abort", "error"):
        choice |= {"finish_reason": kind, "message": {"role": "assistant", "content": ""}}
    if kind == "half-character":
        choice["message"]["content"] = "\ud83d"
    if kind == "no-usage":
        del answer["usage"]
    if kind == "cached":
        answer["usage"]["prompt_tokens_details"] = {"cached_tokens": 8}
    return web.json_response(answer)


def _shaped(body: dict) -> dict:
    """An object of the shape that was asked for: a verdict, example replies, or a profile."""
    asked = body["response_format"].get("json_schema", {}).get("schema", {}).get("properties", {})
    if "score" in asked:
        return {"reasoning": "It says what such a person would say.", "score": 4}
    if "voice" in asked:
        return {"reasoning": "It sounds like her.", "has_room": True, "voice": 4, "facts": 4, "answers": 4}
    if "score_1" in asked:
        return {f"score_{score}": f"an answer worth {score}" for score in range(1, 6)}
    return PROFILE


def _score_tokens() -> list[dict]:
    """The last tokens of a verdict: three in four for a 4, one in four for a 2."""
    likely = [("4", 0.75), ("2", 0.25), ("}", 1e-9)]
    scores = [{"token": token, "logprob": math.log(part)} for token, part in likely]
    return [
        {"token": token, "logprob": 0.0, "top_logprobs": [{"token": token, "logprob": 0.0}]}
        for token in ('"score":', " ")
    ] + [
        {"token": "4", "logprob": scores[0]["logprob"], "top_logprobs": scores},
        {"token": "}", "logprob": 0.0, "top_logprobs": [{"token": "}", "logprob": 0.0}]},
    ]


class OpenAIServer:
    """The server as a test holds it."""

    def __init__(self) -> None:
        self._port = 0
        self.start()

    @property
    def base_url(self) -> str:
        """What goes into `engine.base_url`."""
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        """Start it, after the first time on the same port again."""
        command = [sys.executable, "-m", "tests.integration.openai_server", str(self._port)]
        self._process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
        self._port = int(self._process.stdout.readline())

    def stop(self) -> None:
        """End it: connections are refused from now on."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def rule(self, **rules: object) -> None:
        """Forget what was, and behave like this from now on."""
        data = json.dumps(asdict(Rules(**rules))).encode()
        request = urllib.request.Request(f"{self.base_url}/control", data, {"Content-Type": "application/json"})
        urllib.request.urlopen(request).close()

    @property
    def most_at_once(self) -> int:
        """The most requests that were in flight at one time."""
        return self._told()["most_at_once"]

    def wait_until_idle(self, patience_s: float = 60) -> None:
        """Return once no request is in flight, and was none a moment ago."""
        deadline, idle = time.monotonic() + patience_s, 0
        while idle < 3:
            assert time.monotonic() < deadline, "requests go on"
            time.sleep(0.2)
            idle = 0 if self._told()["now"] else idle + 1

    def requests(self, containing: str = "") -> list[dict]:
        """What it was asked, in order: bodies with `at` and `status`, those whose last message contains a text."""
        return [entry for entry in self._told()["requests"] if containing in entry["messages"][-1]["content"]]

    def _told(self) -> dict:
        with urllib.request.urlopen(f"{self.base_url}/log") as response:
            return json.load(response)


def main(port: int) -> None:
    from tests.integration.batch_server import Desk  # it answers with what is in this module

    server = Server()
    app = web.Application(client_max_size=2**28)
    app.add_routes(
        [
            web.post("/v1/control", server.control),
            web.get("/v1/log", server.tell),
            web.get("/v1/models", server.models),
            web.post("/v1/chat/completions", server.chat),
            *Desk(server).routes(),
        ]
    )

    async def serve() -> None:
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        print(site._server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main(int(sys.argv[1]))
