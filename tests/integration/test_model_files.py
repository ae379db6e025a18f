"""Models on the hub and in a bucket: all machines of a run get the revision that it began with."""

import hashlib
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from factory.config import VllmEngine
from factory.errors import ModelError, UnreachableError
from factory.inference import model_files
from factory.inference.locate import locate_model
from factory.storage import file_io, folder_moves
from factory.training.model_export import publish

OLD, NEW = "0" * 39 + "1", "0" * 39 + "2"


class Hub(http.server.ThreadingHTTPServer):
    """As much of the Hugging Face Hub as one model needs; `main` moves on."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.main = OLD
        self.commits = {
            sha: {"config.json": b'{"made": %d}' % number, "model.safetensors": b"weights %d" % number}
            for number, sha in enumerate((OLD, NEW))
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = re.fullmatch(
            r"(?:/api/models)?/org/name(?:/(revision|tree|resolve)/([^/?]+)/?([^?]*))?(?:[?].*)?", self.path
        )
        sha = asked and (self.server.main if asked[2] in (None, "main") else asked[2])
        if not asked or sha not in self.server.commits:
            code = "RevisionNotFound" if asked else "RepoNotFound"
            return self._send(404, b"", {"X-Error-Code": code})
        files = self.server.commits[sha]
        if asked[1] == "resolve":
            data = files[asked[3]]
            told = {"X-Repo-Commit": sha, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
            return self._send(200, data, told)
        if asked[1] == "tree":
            listed = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files.items()]
            return self._send(200, json.dumps(listed).encode())
        told = {"id": "org/name", "sha": sha, "siblings": [{"rfilename": name} for name in files]}
        return self._send(200, json.dumps(told).encode())

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def reach(monkeypatch, endpoint: str) -> None:
    """Take another address for the hub's."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + template)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        reach(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


@pytest.fixture
def be_on(monkeypatch, tmp_path):
    """Be on a machine, which has a cache of its own."""

    def on(machine: str) -> None:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / machine))

    return on


def weights(folder: str) -> bytes:
    return Path(folder, "model.safetensors").read_bytes()


def test_a_run_loads_on_every_machine_what_it_began_with(hub, be_on, monkeypatch):
    be_on("driver")
    located = model_files.locate("org/name")
    assert located.revision == OLD
    hub.main = NEW
    be_on("worker")
    assert weights(model_files.fetch(located.pinned)) == b"weights 0"
    # The driver's machine goes on with what it knows, also by the model's plain name, and without the hub.
    be_on("driver")
    assert weights(model_files.fetch("org/name")) == b"weights 0"
    reach(monkeypatch, "http://127.0.0.1:9")
    assert model_files.locate("org/name") == located
    be_on("another")
    with pytest.raises(UnreachableError, match="the Hugging Face hub does not answer"):
        model_files.locate("org/name")


def test_a_model_can_be_pinned_by_its_name(hub, be_on):
    be_on("here")
    hub.main = NEW
    assert model_files.locate(f"org/name@{OLD}").revision == OLD
    assert weights(model_files.fetch(f"org/name@{OLD}")) == b"weights 0"
    assert model_files.locate("org/name").revision == NEW
    with pytest.raises(ModelError, match="org/name has no revision 'v9'"):
        model_files.locate("org/name@v9")
    with pytest.raises(ModelError, match="neither a folder here nor on the Hugging Face hub"):
        model_files.locate("org/none")


def test_a_model_in_a_bucket_is_the_one_in_the_folder_that_it_was_copied_from(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    files = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 10_000, "tokenizer.json": b'{"a": 1}'}
    for name, data in files.items():
        file_io.write_bytes(str(tmp_path / "model" / name), data)
        file_io.write_bytes(f"{s3}/a-model/{name}", data)
    assert model_files.locate(f"{s3}/a-model").revision == model_files.locate(str(tmp_path / "model")).revision
    small = Path(model_files.fetch(f"{s3}/a-model", weights=False))
    assert sorted(path.name for path in small.iterdir()) == ["config.json", "tokenizer.json"]
    # Any change of an object is another download.
    file_io.write_bytes(f"{s3}/a-model/tokenizer.json", b'{"a": 2}')
    assert Path(model_files.fetch(f"{s3}/a-model", weights=False), "tokenizer.json").read_bytes() == b'{"a": 2}'


def test_a_model_whose_template_refuses_several_turns_is_told_before_a_run(tmp_path):
    own = Path(model_files.fetch("embedded"))
    for name in ("good", "model"):
        shutil.copytree(own, tmp_path / name, ignore=shutil.ignore_patterns("*.safetensors"))
        (tmp_path / name / "model.safetensors").symlink_to(own / "model.safetensors")
    template = tmp_path / "model" / "chat_template.jinja"
    refusing = "{% if messages | length > 2 %}{{ raise_exception('one turn') }}{% endif %}"
    template.write_text(refusing + template.read_text())
    assert locate_model(VllmEngine(model=str(tmp_path / "good"))).ref == str(tmp_path / "good")
    with pytest.raises(ModelError, match=r"model'.*refuses a chat of .*\(one turn\)"):
        locate_model(VllmEngine(model=str(tmp_path / "model")))


@pytest.mark.parametrize("mark", [folder_moves.COPYING, folder_moves.MOVED])
def test_a_model_that_is_half_in_its_bucket_is_refused(s3, mark):
    ref = f"{s3}/half-{mark}/model"
    for name in ("config.json", "model.safetensors", mark):
        file_io.write_bytes(f"{ref}/{name}", b"{}")
    for ask in (model_files.locate, model_files.fetch):
        with pytest.raises(ModelError, match=r"is not complete, as it has no manifest.json yet; wait for"):
            ask(ref)
    file_io.write_bytes(f"{ref}/manifest.json", b'{"fingerprint": "f"}')
    assert model_files.locate(ref).ref == ref


def test_a_model_that_is_being_published_is_marked_until_its_manifest(s3, tmp_path, monkeypatch):
    target, states = f"{s3}/published/model", []
    for name in ("a.json", "config.json", "manifest.json", "model.safetensors", "z.json"):
        (tmp_path / "staged").mkdir(exist_ok=True)
        (tmp_path / "staged" / name).write_text("{}")
    put = file_io.put_file
    monkeypatch.setattr(
        file_io, "put_file", lambda local, path: (states.append(file_io.sizes(target)), put(local, path))
    )
    publish(tmp_path / "staged", target)
    assert all(folder_moves.COPYING in names and "manifest.json" not in names for names in states)
    assert sorted(file_io.sizes(target)) == ["a.json", "config.json", "manifest.json", "model.safetensors", "z.json"]
