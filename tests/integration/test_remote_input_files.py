"""Input files in remote storage: S3, the Hugging Face Hub, the web, and servers that do not answer."""

import gzip
import http.server
import json
import socket
import threading
from pathlib import Path
from typing import ClassVar

import boto3
import fsspec.config
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from factory.errors import InputError, StorageError, UnreachableError
from factory.synthesis import opening
from factory.synthesis.given.card_file import PNG, profile_rows, to_json, write_png
from factory.synthesis.given.card_profile import to_v2
from factory.synthesis.input_files import check_column, find_files, not_empty, read_rows
from tests.made_cards import chunk, made_card
from tests.raw_rows import public, values


@pytest.fixture(scope="module")
def s3_server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def aws(monkeypatch):
    """Set credentials, and clear cached S3 file systems that have others."""
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    S3FileSystem.clear_instance_cache()
    yield monkeypatch
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(aws, s3_server):
    aws.setenv("AWS_ENDPOINT_URL", s3_server)
    client = boto3.client("s3")
    client.create_bucket(Bucket="personas")
    yield lambda key, data: client.put_object(Bucket="personas", Key=key, Body=data)
    for item in client.list_objects_v2(Bucket="personas").get("Contents", []):
        client.delete_object(Bucket="personas", Key=item["Key"])
    client.delete_bucket(Bucket="personas")


def paths(source):
    return [file.path for file in find_files(source)]


def test_cards_on_s3_are_read(bucket):
    card = made_card(1)
    png = write_png(card, to_v2(card), (1, 2, 3))
    larger = png[:-12] + chunk(b"pRIV", b"x" * opening.REQUEST_BYTES) + png[-12:]  # not read in one request
    bucket("cards/a.json", to_json(card))
    bucket("cards/b.png", png)
    bucket("cards/c.png", larger)
    bucket("cards/d.jsonl", json.dumps(card).encode() + b"\n{}\n")
    files = find_files("s3://personas/cards", (PNG,))
    assert [len(list(profile_rows(file, None))) for file in files] == [1, 1, 1, 2]
    assert [next(profile_rows(file, None)).value for file in files] == [card] * 4
    assert [file.path[-5:] for file in find_files("s3://personas/cards")] == [".json", "jsonl"]


def test_files_on_s3_are_read(bucket, tmp_path, monkeypatch):
    lines = [{"persona": f"a baker number {number}"} for number in range(2000)]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    pq.write_table(pa.Table.from_pylist(lines), tmp_path / "p", row_group_size=300)
    bucket("in/", b"")
    bucket("in/a.jsonl", data)
    bucket("in/deep/b.jsonl.gz", gzip.compress(data))
    bucket("in/deep/c.parquet", (tmp_path / "p").read_bytes())
    bucket("in/_logs/d.jsonl", data)
    bucket("in/readme.md", b"")
    names = ["s3://personas/in/a.jsonl", "s3://personas/in/deep/b.jsonl.gz", "s3://personas/in/deep/c.parquet"]
    assert paths("s3://personas/in") == paths("s3://personas") == names
    assert paths("s3://personas/in/*.jsonl") == paths(names[0]) == names[:1]
    monkeypatch.setattr(opening, "REQUEST_BYTES", 5000)
    for name in names:
        check_column(name, "persona")
        assert values(name) == lines


def test_s3_gets_one_listing_and_one_request_per_file(bucket, monkeypatch):
    data = b'{"persona": "a baker"}\n'
    for number in range(25):
        bucket(f"in/{number:02}.jsonl", data if number else b"")
    requests, call = [], S3FileSystem._call_s3

    async def counted(self, method, *args, **kwargs):
        requests.append(method)
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_call_s3", counted)
    pages = find_files("s3://personas/in")
    listing = len(requests)
    assert listing < 5
    assert [file.size for file in pages] == [0] + [len(data)] * 24
    assert [file.size for file in not_empty(pages)] == [len(data)] * 24
    assert len(requests) == listing, "sizes come from the listing"
    assert [row.value for file in not_empty(pages) for row in read_rows(file)] == [json.loads(data)] * 24
    assert requests[listing:] == ["get_object"] * 24, "a small file is one request"
    # Files by name are looked up one by one, with the same result.
    assert find_files([file.path for file in pages]) == pages


def test_missing_files_on_s3_are_reported(bucket):
    for source in ("s3://personas/none.jsonl", "s3://personas/none/*.jsonl", "s3://personas/none/"):
        with pytest.raises(InputError, match=source.replace("*", r"\*")):
            find_files(source)
    with pytest.raises(InputError, match="does not exist"):
        list(read_rows("s3://personas/none.jsonl"))
    for source in ("s3://no-bucket/a.jsonl", "s3://no-bucket/*.jsonl"):
        with pytest.raises(StorageError, match="the bucket does not exist"):
            find_files(source)


def test_missing_credentials_are_reported(aws):
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        aws.delenv(f"AWS_{name}")
    aws.setenv("AWS_EC2_METADATA_DISABLED", "true")
    aws.setenv("AWS_CONFIG_FILE", "/nowhere")
    aws.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(StorageError, match="no AWS credentials; set AWS_ACCESS_KEY_ID"):
        find_files("s3://personas/a.jsonl")


@pytest.fixture
def silent_server():
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield "http://{}:{}".format(*server.getsockname())


@pytest.mark.timeout(60)
def test_silent_servers_time_out(aws, silent_server):
    aws.setenv("AWS_ENDPOINT_URL", silent_server)
    aws.setitem(fsspec.config.conf, "hf", {"endpoint": silent_server})
    aws.setattr(opening, "ANSWER_TIMEOUT_S", 0.2)
    for source in ("s3://personas/a.jsonl", "hf://datasets/org/name/a.jsonl", f"{silent_server}/a.jsonl"):
        with pytest.raises(UnreachableError, match=r"no answer \(nothing within 0 s\); check the network"):
            find_files(source)
    assert opening.ANSWER_TIMEOUT_S < 15


def test_refused_connections_are_reported(aws):
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = "http://{}:{}".format(*server.getsockname())
    aws.setenv("AWS_ENDPOINT_URL", closed)
    aws.setenv("AWS_MAX_ATTEMPTS", "1")
    aws.setitem(fsspec.config.conf, "hf", {"endpoint": closed})
    for source in ("hf://datasets/org/name/a.jsonl", "s3://personas/a.jsonl", f"{closed}/a.jsonl"):
        for use in (find_files, lambda path: list(read_rows(path))):
            with pytest.raises(UnreachableError, match=r"no answer \(.+\); check the network, or name a local copy"):
                use(source)


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the Hugging Face Hub that a data set needs."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self):
        location, _, query = self.path.partition("?")
        repository, _, path = location.partition("/main/")
        if "/resolve" in repository:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            return self.answer(206, self.files[path][int(first) : int(last) + 1])
        if "/tree" not in location:
            return self.answer(200, b'{"id": "org/name", "sha": "%s"}' % (b"0" * 40))
        below = [name for name in self.files if name.startswith(path)]
        folders = {name.rsplit("/", 1)[0] for name in below if "/" in name.removeprefix(path).lstrip("/")}
        entries = [{"type": "directory", "path": name, "oid": "0"} for name in sorted(folders)]
        if "recursive=true" in query.lower() or not folders:
            entries += [{"type": "file", "path": name, "oid": "0", "size": len(self.files[name])} for name in below]
        return self.answer(200, json.dumps(entries).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": f"http://127.0.0.1:{server.server_port}"})
        yield Hub.files
        server.shutdown()
        Hub.files.clear()


def test_files_on_hugging_face_are_read(hub, monkeypatch):
    lines = [{"persona": f"a baker number {number}"} for number in range(2000)]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    hub.update({"data/a.jsonl": data, "data/b.jsonl.zst": zstandard.compress(data), "data/readme.md": b""})
    monkeypatch.setattr(opening, "REQUEST_BYTES", 20_000)
    root = "hf://datasets/org/name/data"
    assert paths(root) == paths(f"{root}/*") == [f"{root}/a.jsonl", f"{root}/b.jsonl.zst"]
    assert paths(f"{root}/a.jsonl") == [f"{root}/a.jsonl"]
    for path in paths(root):
        check_column(path, "persona")
        assert values(path) == lines
    with pytest.raises(InputError, match=r"none\.jsonl: does not exist"):
        find_files(f"{root}/none.jsonl")


def test_published_files_are_read():
    personas = public("persona_hub/persona.jsonl")
    check_column(personas, "persona")
    assert len(values(personas)) == 2000
    lima = values(public("lima/train.jsonl"))
    assert len(lima) == 300
    assert all(len(row["conversations"]) >= 2 for row in lima)
    alpaca = public("alpaca/alpaca_data.json")
    check_column(alpaca, "instruction")
    assert values(alpaca) == json.loads(Path(alpaca).read_text())
