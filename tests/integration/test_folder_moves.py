"""A kill between any two writes of a table's life loses no finished row: on local disk and in buckets.

A run goes through settings A, B, A, B, C (stopped), B, A. It is killed before its first write, its second and so
on, and the same run then goes on from what is there.
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
from factory.training.export import MANIFEST as MODEL_MANIFEST
from factory.training.export import finished_fingerprint, publish, set_aside
from tests.unit.test_tables import persona_row

SHARDS = ("0", "1")
RUN = "ABABCBA"
PAID = 5
"""Shards that the run pays for when nothing kills it: two of A and of B, one of C."""
WRITES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "shutil.rmtree"}


class Killed(BaseException):
    """What ends a run in a bucket: its process would see nothing of it, and nothing is written after it."""


def make(output: str, name: str, paid: list[str]) -> None:
    """One step of the run: a table of these settings, of C only half of one."""
    settings = {"name": name}
    table = Table(output, "dialogues/generate-x")
    table.begin(compute_fingerprint(settings), settings)
    if table.manifest():
        return
    for shard in SHARDS[: 1 if name == "C" else None]:
        if shard not in table.shards():
            text = f"{name}{shard}-{uuid.uuid4().hex}"
            table.write(shard, [persona_row(text, 0)], PERSONAS)
            paid.append(text)
    if name != "C":
        table.finish({"fingerprint": compute_fingerprint(settings), "ok": len(SHARDS)})


def rows_in(output: str) -> set[str]:
    """Every row of every table, set aside or not."""
    names = {path.rpartition("/")[0] for path in file_io.sizes(output) if path.endswith(SUFFIX)}
    tables = [Table(output, name) for name in names]
    return {row for table in tables for shard in table.shards() for row in table.read(shard)["persona"].to_pylist()}


def train(output: str, name: str, staged: Path) -> str:
    """One step of a run that trains: whether its model was there."""
    set_aside(output, "model", name)
    if finished_fingerprint(f"{output}/model") == name:
        return "there"
    staged.mkdir(parents=True)
    (staged / "config.json").write_text(name)
    (staged / MODEL_MANIFEST).write_text(json.dumps({"fingerprint": name}))
    publish(staged, f"{output}/model")
    return "trained"


def models_in(output: str) -> set[str]:
    """The fingerprints of all models that are whole."""
    folders = {path.rpartition("/")[0] for path in file_io.sizes(output) if path.endswith("config.json")}
    found = {finished_fingerprint(f"{output}/{one}") for one in folders}
    for one in folders:
        if told := finished_fingerprint(f"{output}/{one}"):
            assert file_io.read_bytes(f"{output}/{one}/config.json").decode() == told
    return {one for one in found if one}


def tables_run(output: str, staged: Path, log: list[str]) -> None:
    for name in RUN:
        make(output, name, log)


def models_run(output: str, staged: Path, log: list[str]) -> None:
    for number, name in enumerate("ABAB"):
        if train(output, name, staged / f"{uuid.uuid4().hex}-{number}") == "trained":
            log.append(name)


def check_tables(output: str, log: list[str]) -> None:
    assert set(log) <= rows_in(output)


def check_models(output: str, log: list[str]) -> None:
    assert set(log) <= models_in(output)


def killed_locally(run: Callable[[list[str]], None], at: int, log_file: Path) -> bool:
    """Fork, and end the child before its write number `at`; False where it has fewer."""
    child = os.fork()
    if not child:
        seen = itertools.count(1)
        handle = os.open(log_file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

        class Log(list):
            def append(self, text: str) -> None:
                os.write(handle, f"{text}\n".encode())

        def hook(event: str, arguments: tuple) -> None:
            reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if event in WRITES and not reads and next(seen) == at:
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
    """Let every write from number `at` on fail as if the process were gone; False where there are fewer."""
    fs, _ = file_io.filesystem(output)
    seen = itertools.count(1)

    def counted(act: Callable) -> Callable:
        def write(*arguments: object, **options: object) -> object:
            if next(seen) >= at:
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


def moments(where: str) -> Iterator[int]:
    """Before which writes a run is killed: in a real bucket before some of them, since each run takes seconds."""
    return itertools.count(1, 37 if where == "s3" else 1)


@pytest.mark.parametrize("where", ["local", "memory", "s3", pytest.param("s3-all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["tables", "models"])
def test_no_kill_between_two_writes_loses_a_row(kind, where, tmp_path, request):
    scripted, check = {"tables": (tables_run, check_tables), "models": (models_run, check_models)}[kind]
    for at in moments(where):
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
            assert len(log) <= PAID + 1, f"killed before write {at}: what was written is paid again"
            final = Table(output, "dialogues/generate-x")
            assert (final.manifest() or {}).get("fingerprint") == compute_fingerprint({"name": "A"})
            assert final.shards() == list(SHARDS)
        if not killed:
            assert at > 20
            return


def test_pruning_after_a_kill_keeps_what_was_taken_back(s3, tmp_path, monkeypatch):
    output = f"{s3}/pruned-{uuid.uuid4().hex}"
    for name in "AB":
        make(output, name, [])
    delete = file_io.delete_file

    def killed(path: str) -> None:
        if path.endswith(f"generate-x/{folder_moves.COPYING}"):
            raise Killed
        delete(path)

    with monkeypatch.context() as patch:
        patch.setattr(file_io, "delete_file", killed)
        with pytest.raises(Killed):
            make(output, "A", [])
    config = tmp_path / "config.json"
    engine = {"kind": "scripted", "default": "x"}
    config.write_text(json.dumps({"output": output, "engine": engine, "personas": {"source": "none.txt"}}))
    monkeypatch.setattr(sys, "argv", ["prune", "--config", str(config), "--yes"])
    prune()
    assert {path.partition("/")[0] for path in file_io.sizes(output)} == {"dialogues"}
    paid: list[str] = []
    make(output, "A", paid)
    assert paid == []


def test_no_kill_leaves_half_of_a_local_model_in_place(tmp_path, monkeypatch):
    names = ["a.safetensors", "b.safetensors", "config.json", MODEL_MANIFEST]

    def staged(text: str) -> Path:
        folder = tmp_path / text
        folder.mkdir()
        for name in names:
            (folder / name).write_text(text)
        return folder

    target, unlink, seen = tmp_path / "model", os.unlink, itertools.count()
    publish(staged("old"), str(target))

    def killed(*arguments: object, **options: object) -> None:
        if next(seen):
            raise Killed
        unlink(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", killed)
        with pytest.raises(Killed):
            publish(staged("new"), str(target))
    assert {path.name: path.read_text() for path in target.iterdir()} == dict.fromkeys(names, "new")
