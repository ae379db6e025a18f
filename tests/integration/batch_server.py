"""Files and batches of the test server (`openai_server`), which answers their lines as it answers direct requests.

`/batch-rules` says how they behave from now on, and forgets nothing; `/batch-log` says what was asked and paid.
"""

import json
import urllib.request
from collections import Counter
from dataclasses import asdict, dataclass, field, replace

from aiohttp import web

from tests.integration import openai_server

FULL = "Enqueued token limit reached. Limit: 90,000 enqueued tokens."


@dataclass
class BatchRules:
    """How batches behave."""

    polls: int = 2
    """The look at which a batch is done; 0: never."""
    expire: int = 0
    """So many batches expire with the first half of their lines answered."""
    lose: int = 0
    """So many batches are forgotten once they are done."""
    at_once: int = 10**9
    """How many may be open; another one fails for the limit of enqueued tokens."""
    fail: str = ""
    """The code with which all batches fail."""
    cut: int = 0
    """So many batches are created without that the client learns of it."""
    absent: bool = False
    """Whether there is no such interface."""
    status: int = 0
    """The status of every call."""
    cut_downloads: int = 0
    """So many files break off in the middle."""


@dataclass
class Desk:
    """The files and batches of a server."""

    server: "openai_server.Server"
    rules: BatchRules = field(default_factory=BatchRules)
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict] = field(default_factory=dict)
    looks: Counter = field(default_factory=Counter)
    calls: Counter = field(default_factory=Counter)
    paid: list[dict] = field(default_factory=list)

    def refused(self, request: web.Request) -> web.Response | None:
        self.calls[f"{request.method} {request.path.split('/')[2]}"] += 1
        if request.headers.get("Authorization") != f"Bearer {self.server.rules.key}":
            return openai_server.failed(401, f"Incorrect API key provided: {request.headers.get('Authorization')}")
        if self.rules.absent:
            return openai_server.failed(404, "no such page")
        return openai_server.failed(self.rules.status, "later") if self.rules.status else None

    async def set_rules(self, request: web.Request) -> web.Response:
        self.rules = BatchRules(**await request.json())
        return web.json_response({})

    async def forget(self, request: web.Request) -> web.Response:
        self.__init__(self.server)
        return web.json_response({})

    async def tell(self, request: web.Request) -> web.Response:
        told = {"paid": self.paid, "batches": list(self.batches.values()), "files": list(self.files)}
        return web.json_response({**told, "calls": self.calls})

    async def upload(self, request: web.Request) -> web.Response:
        if refused := self.refused(request):
            return refused
        form = await request.post()
        assert form["purpose"] == "batch"
        return web.json_response({"id": self._keep(form["file"].file.read()), "object": "file"})

    def _keep(self, content: bytes) -> str:
        name = f"file-{sum(self.calls.values())}-{len(self.files)}"
        self.files[name] = content
        return name

    async def create(self, request: web.Request) -> web.StreamResponse:
        if refused := self.refused(request):
            return refused
        asked = await request.json()
        assert (asked["endpoint"], asked["completion_window"]) == ("/v1/chat/completions", "24h")
        if asked["input_file_id"] not in self.files:
            return openai_server.failed(400, "no such file")
        number = len(self.batches) + 1
        batch = {"id": f"batch_{number}", "object": "batch", "status": "validating", "created_at": 2e9 + number}
        batch |= {"input_file_id": asked["input_file_id"], "metadata": asked.get("metadata")}
        batch["lines"] = self.files[asked["input_file_id"]].count(b"\n")
        code = self.rules.fail
        if sum(each["status"] in ("validating", "in_progress") for each in self.batches.values()) >= self.rules.at_once:
            code = "token_limit_exceeded"
        if code:
            message = FULL if code == "token_limit_exceeded" else "something is wrong"
            batch |= {"status": "failed", "errors": {"object": "list", "data": [{"code": code, "message": message}]}}
        self.batches[batch["id"]] = batch
        if self.rules.cut:
            self.rules.cut -= 1
            request.transport.close()
        return web.json_response(batch)

    async def list_page(self, request: web.Request) -> web.Response:
        if refused := self.refused(request):
            return refused
        newest = list(self.batches.values())[::-1]
        after = request.query.get("after")
        start = 1 + [batch["id"] for batch in newest].index(after) if after else 0
        page = newest[start : start + min(2, int(request.query["limit"]))]  # short pages, so that there are several
        return web.json_response({"object": "list", "data": page, "has_more": start + len(page) < len(newest)})

    async def look(self, request: web.Request) -> web.Response:
        if refused := self.refused(request):
            return refused
        batch = self.batches.get(request.match_info["id"])
        if batch is None or batch["status"] == "forgotten":
            return openai_server.failed(404, "no such batch")
        self.looks[batch["id"]] += 1
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "in_progress"
            if self.rules.polls and self.looks[batch["id"]] >= self.rules.polls:
                await self._finish(batch, request)
        if batch["status"] == "forgotten":
            return openai_server.failed(404, "no such batch")
        return web.json_response(batch)

    async def _finish(self, batch: dict, request: web.Request) -> None:
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        batch["status"] = "completed"
        answered = len(lines)
        if self.rules.expire:
            self.rules.expire -= 1
            answered //= 2
            batch["status"] = "expired"
        good, bad = [], []
        for number, line in enumerate(lines):
            answer = {"id": f"{batch['id']}-{number}", "custom_id": line["custom_id"], "response": None, "error": None}
            if number >= answered:
                bad.append(answer | {"error": {"code": "batch_expired", "message": "This request was not executed."}})
                continue
            response = await self.server.answer(request, line["body"])
            answer["response"] = {"status_code": response.status, "body": json.loads(response.text)}
            (good if response.status == 200 else bad).append(answer)
            if response.status == 200:
                self.paid.append({"batch": batch["id"], "custom_id": line["custom_id"], **line["body"]})
        for name, answers in (("output_file_id", good), ("error_file_id", bad)):
            if answers:  # out of order, and with characters at which only some readers break lines
                content = "\n".join(json.dumps(answer, ensure_ascii=False) for answer in answers[::-1])
                batch[name] = self._keep(content.encode())
        if self.rules.lose:
            self.rules.lose -= 1
            batch["status"] = "forgotten"

    async def cancel(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        batch["status"] = "cancelled"
        return web.json_response(batch)

    async def content(self, request: web.Request) -> web.StreamResponse:
        if refused := self.refused(request):
            return refused
        content = self.files.get(request.match_info["id"])
        if content is None:
            return openai_server.failed(404, "no such file")
        if self.rules.cut_downloads:
            self.rules.cut_downloads -= 1
            response = web.StreamResponse(headers={"Content-Length": str(len(content))})
            await response.prepare(request)
            await response.write(content[: len(content) // 2])
            request.transport.close()
            return response
        return web.Response(body=content)

    async def delete(self, request: web.Request) -> web.Response:
        if refused := self.refused(request):
            return refused
        deleted = self.files.pop(request.match_info["id"], None) is not None
        return web.json_response({"deleted": deleted}, status=200 if deleted else 404)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/batch-rules", self.set_rules),
            web.get("/v1/batch-log", self.tell),
            web.delete("/v1/batch-log", self.forget),
            web.post("/v1/files", self.upload),
            web.get("/v1/files/{id}/content", self.content),
            web.delete("/v1/files/{id}", self.delete),
            web.post("/v1/batches", self.create),
            web.get("/v1/batches", self.list_page),
            web.get("/v1/batches/{id}", self.look),
            web.post("/v1/batches/{id}/cancel", self.cancel),
        ]


def set_batch_rules(base_url: str, **rules: object) -> None:
    """Let batches behave like this from now on."""
    data = json.dumps(asdict(replace(BatchRules(), **rules))).encode()
    request = urllib.request.Request(f"{base_url}/batch-rules", data, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).close()


def forget_batches(base_url: str) -> None:
    """Begin anew."""
    urllib.request.urlopen(urllib.request.Request(f"{base_url}/batch-log", method="DELETE")).close()


def batch_log(base_url: str) -> dict:
    """What was asked in batches, and paid."""
    with urllib.request.urlopen(f"{base_url}/batch-log") as response:
        return json.load(response)


def cancel_batch(base_url: str, batch: str) -> None:
    """Cancel a batch, as a person does."""
    urllib.request.urlopen(urllib.request.Request(f"{base_url}/batches/{batch}/cancel", b"")).close()
