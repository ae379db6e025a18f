"""Two jobs on one output: the second is refused, and the first continues."""

import re

import pytest

from factory.errors import UserError
from factory.storage import file_io
from factory.storage.run_lock import LEASE, hold_run_lock

REFUSED = {
    "local": r"error: output .*: another run works on it; wait until it ends, or choose another output\n",
    "s3": r"error: output .*: another run \(host .*, process \d+\) works on it, last heard of \d+ s ago; wait .*\n",
}


def test_bucket_lock_is_exclusive(s3):
    output = f"{s3}/locked"
    assert file_io.create_bytes(f"{output}/{LEASE}", b"no lease")
    assert not file_io.create_bytes(f"{output}/{LEASE}", b"no lease")
    with hold_run_lock(output), pytest.raises(UserError, match="another run"), hold_run_lock(output):
        pass
    assert not file_io.exists(f"{output}/{LEASE}")


@pytest.mark.parametrize("where", ["local", pytest.param("s3", marks=pytest.mark.slow)])
def test_second_job_is_refused(where, make_run, request):
    output = request.getfixturevalue("s3") if where == "s3" else None
    run = make_run("twice", 200, output)
    run.config["engine"] |= {"delay_s": 0.5, "max_concurrency": 4}
    first = run.start_until(run.table("profiles").shards)

    assert run.start().wait(60) == 2
    assert re.fullmatch(REFUSED[where], run.log())
    assert "can be written" in run.finish("--dry-run")
    assert first.wait(120) == 0
    assert len(run.rows("profiles")) == 200
    assert not file_io.exists(f"{run.output}/{LEASE}")
