"""A server that speaks what `huggingface_hub` asks when it makes a repository and uploads a folder."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_a-token-of-these-tests"
OWNER = "baker"


class HubServer(ThreadingHTTPServer):
    """Repositories in memory: those of `OWNER` may be written with `TOKEN`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.commits = 0
        self.cards: list[str] = []

    @property
    def url(self) -> str:
        """For HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """A server that runs as long as the block does."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def do_PUT(self) -> None:
        self.do_POST()

    def _answer(self, body: bytes) -> None:
        path = self.path.partition("?")[0]
        stored = re.fullmatch(r"/objects/([0-9a-f]+)", path)
        if stored:  # by a signed address, without a token
            self.server.objects[stored[1]] = body
            return self._send(200, {})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._send(401, {"error": "Invalid credentials in Authorization header"})
        if path == "/api/validate-yaml":
            self.server.cards.append(json.loads(body)["content"])
            return self._send(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        asked = re.fullmatch(r"(?:/api)?(?:/datasets|/models)?/([^/]+/[^/.]+)(?:\.git)?(/.*)?", path)
        if not asked or asked[1] not in self.server.private:
            return self._send(404, {"error": "Repository not found"})
        return self._repository(asked[1], asked[2] or "", body)

    def _create(self, asked: dict) -> None:
        repo = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != OWNER:
            return self._send(403, {"error": f"You don't have the rights to create {repo}"})
        known, place = repo in self.server.private, "/datasets/" if asked.get("type") == "dataset" else "/"
        self.server.private.setdefault(repo, asked.get("private", asked.get("visibility") == "private"))
        self.server.files.setdefault(repo, {})
        return self._send(409 if known else 200, {"url": f"{self.server.url}{place}{repo}"})

    def _repository(self, repo: str, what: str, body: bytes) -> None:
        files, sha = self.server.files[repo], f"{self.server.commits:040x}"
        if what.startswith("/tree/"):
            return self._send(200, [{"type": "file", "path": p, "size": len(f), "oid": sha} for p, f in files.items()])
        if what.startswith("/preupload/"):
            asked = [file["path"] for file in json.loads(body)["files"]]
            modes = [
                {"path": p, "uploadMode": "regular" if p.endswith(".md") else "lfs", "shouldIgnore": False}
                for p in asked
            ]
            return self._send(200, {"files": modes})
        if what == "/info/lfs/objects/batch":
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.server.url}/objects/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self._send(200, {"transfer": "basic", "objects": objects})
        if what.startswith("/commit/"):
            for line in map(json.loads, body.decode().splitlines()):
                self._change(files, line["key"], line["value"])
            self.server.commits += 1
            url = f"{self.server.url}/datasets/{repo}/commit/{sha}"
            return self._send(200, {"success": True, "commitOid": sha, "commitUrl": url})
        return self._send(200, {"id": repo, "sha": sha, "private": self.server.private[repo], "siblings": []})

    def _change(self, files: dict[str, bytes], key: str, value: dict) -> None:
        if key == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            files[value["path"]] = self.server.objects[value["oid"]]
        elif key == "deletedFile":
            del files[value["path"]]

    def _send(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
