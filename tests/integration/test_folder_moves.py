"""A kill between any two writes of a run loses no finished row, on local disk or in buckets.

A run goes through settings A, B, A, B, C (stopped), B, A. It is killed before its first write, its second and so
on, and then run again to its end.
"""

import itertools
import json
import os
import sys
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factory.commands.prune import run as prune
from factory.storage import file_io, folder_moves
from factory.storage.schemas import PERSONAS
from factory.storage.tables import SUFFIX, Table, compute_fingerprint
from factory.training.model_export import MANIFEST as MODEL_MANIFEST
from factory.training.model_export import finished_fingerprint, publish, set_aside
from tests.unit.test_tables import persona_row

SHARDS = ("0", "1")
RUN = "ABABCBA"
GENERATED = 5
"""Shards that an uninterrupted run generates: two of A and of B, one of C."""
WRITES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "shutil.rmtree"}


class Killed(BaseException):
    """Stands for the death of the process: nothing is written after it."""


def build(output: str, name: str, generated: list[str]) -> None:
    """Do one step of the run: build a table of these settings, of C only half."""
    settings = {"name": name}
    table = Table(output, "dialogues/generate-x")
    table.begin(compute_fingerprint(settings), settings)
    if table.manifest():
        return
    for shard in SHARDS[: 1 if name == "C" else None]:
        if shard not in table.shards():
            text = f"{name}{shard}-{uuid.uuid4().hex}"
            table.write(shard, [persona_row(text, 0)], PERSONAS)
            generated.append(text)
    if name != "C":
        table.finish({"fingerprint": compute_fingerprint(settings), "ok": len(SHARDS)})


def rows_in(output: str) -> set[str]:
    """Return the rows of all tables, archived ones too."""
    names = {path.rpartition("/")[0] for path in file_io.sizes(output) if path.endswith(SUFFIX)}
    tables = [Table(output, name) for name in names]
    return {row for table in tables for shard in table.shards() for row in table.read(shard)["persona"].to_pylist()}


def train(output: str, name: str, staged: Path) -> str:
    """Do one step of a run that trains; return whether its model existed."""
    set_aside(output, "model", name)
    if finished_fingerprint(f"{output}/model") == name:
        return "exists"
    staged.mkdir(parents=True)
    (staged / "config.json").write_text(name)
    (staged / MODEL_MANIFEST).write_text(json.dumps({"fingerprint": name}))
    publish(staged, f"{output}/model")
    return "trained"


def models_in(output: str) -> set[str]:
    """Return the fingerprints of all complete models."""
    folders = {path.rpartition("/")[0] for path in file_io.sizes(output) if path.endswith("config.json")}
    found = {folder: finished_fingerprint(f"{output}/{folder}") for folder in folders}
    complete = {folder: fingerprint for folder, fingerprint in found.items() if fingerprint}
    for folder, fingerprint in complete.items():
        assert file_io.read_bytes(f"{output}/{folder}/config.json").decode() == fingerprint
    return set(complete.values())


def tables_run(output: str, staged: Path, log: list[str]) -> None:
    for name in RUN:
        build(output, name, log)


def models_run(output: str, staged: Path, log: list[str]) -> None:
    for number, name in enumerate("ABAB"):
        if train(output, name, staged / f"{uuid.uuid4().hex}-{number}") == "trained":
            log.append(name)


def check_tables(output: str, log: list[str]) -> None:
    assert set(log) <= rows_in(output)


def check_models(output: str, log: list[str]) -> None:
    assert set(log) <= models_in(output)


def killed_locally(run: Callable[[list[str]], None], at: int, log_file: Path) -> bool:
    """Fork, and kill the child before its write number `at`; return False if it has fewer writes."""
    child = os.fork()
    if not child:
        count = itertools.count(1)
        handle = os.open(log_file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

        class Log(list):
            def append(self, text: str) -> None:
                os.write(handle, f"{text}\n".encode())

        def hook(event: str, arguments: tuple) -> None:
            reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if event in WRITES and not reads and next(count) == at:
                os._exit(9)

        try:
            sys.addaudithook(hook)
            run(Log())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


def killed_in_bucket(run: Callable[[list[str]], None], at: int, output: str, log: list[str]) -> bool:
    """Let all writes from number `at` on fail, as after a kill; return False if there are fewer writes."""
    fs, _ = file_io.filesystem(output)
    count = itertools.count(1)

    def counted(act: Callable) -> Callable:
        def write(*arguments: object, **options: object) -> object:
            if next(count) >= at:
                raise Killed
            return act(*arguments, **options)

        return write

    with pytest.MonkeyPatch.context() as patch:
        for name in ("pipe_file", "put_file", "cp_file", "rm_file"):
            patch.setattr(fs, name, counted(getattr(fs, name)))
        try:
            run(log)
        except Killed:
            return True
    return False


def write_numbers(where: str) -> Iterator[int]:
    """Yield the numbers of the writes before which to kill: not all in a real bucket, where each run takes seconds."""
    return itertools.count(1, 37 if where == "s3" else 1)


@pytest.mark.parametrize(
    "where", ["local", "memory", *(pytest.param(name, marks=pytest.mark.slow) for name in ("s3", "s3-all"))]
)
@pytest.mark.parametrize("kind", ["tables", "models"])
def test_kill_between_writes_loses_no_row(kind, where, tmp_path, request):
    scripted, check = {"tables": (tables_run, check_tables), "models": (models_run, check_models)}[kind]
    for at in write_numbers(where):
        if where == "local":
            output = str(tmp_path / f"run-{at}")
        else:
            base = request.getfixturevalue("s3") if where.startswith("s3") else "memory://"
            output = f"{base}/kills-{uuid.uuid4().hex}/run"
        log: list[str] = []
        if where == "local":
            log_file = tmp_path / f"log-{at}"
            run = lambda log, output=output: scripted(output, tmp_path / "staged", log)  # noqa: E731
            killed = killed_locally(run, at, log_file)
            log = log_file.read_text().split()
        else:
            run = lambda log, output=output: scripted(output, tmp_path / "staged", log)  # noqa: E731
            killed = killed_in_bucket(run, at, output, log)
        check(output, log)
        scripted(output, tmp_path / "staged", log)
        check(output, log)
        if kind == "tables":
            assert len(log) <= GENERATED + 1, f"killed before write {at}: written shards are generated again"
            final = Table(output, "dialogues/generate-x")
            assert (final.manifest() or {}).get("fingerprint") == compute_fingerprint({"name": "A"})
            assert final.shards() == list(SHARDS)
        if not killed:
            assert at > 20
            return


def test_prune_after_kill_keeps_restored_table(s3, tmp_path, monkeypatch):
    output = f"{s3}/pruned-{uuid.uuid4().hex}"
    for name in "AB":
        build(output, name, [])
    delete = file_io.delete_file

    def killed(path: str) -> None:
        if path.endswith(f"generate-x/{folder_moves.COPYING}"):
            raise Killed
        delete(path)

    with monkeypatch.context() as patch:
        patch.setattr(file_io, "delete_file", killed)
        with pytest.raises(Killed):
            build(output, "A", [])
    config = tmp_path / "config.json"
    engine = {"kind": "scripted", "default": "x"}
    config.write_text(json.dumps({"output": output, "engine": engine, "personas": {"source": "none.txt"}}))
    monkeypatch.setattr(sys, "argv", ["prune", "--config", str(config), "--yes"])
    prune()
    assert {path.partition("/")[0] for path in file_io.sizes(output)} == {"dialogues"}
    generated: list[str] = []
    build(output, "A", generated)
    assert generated == []


def test_kill_leaves_no_partial_local_model(tmp_path, monkeypatch):
    names = ["a.safetensors", "b.safetensors", "config.json", MODEL_MANIFEST]

    def staged(text: str) -> Path:
        folder = tmp_path / text
        folder.mkdir()
        for name in names:
            (folder / name).write_text(text)
        return folder

    target, unlink, count = tmp_path / "model", os.unlink, itertools.count()
    publish(staged("old"), str(target))

    def killed(*arguments: object, **options: object) -> None:
        if next(count):
            raise Killed
        unlink(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", killed)
        with pytest.raises(Killed):
            publish(staged("new"), str(target))
    assert {path.name: path.read_text() for path in target.iterdir()} == dict.fromkeys(names, "new")
