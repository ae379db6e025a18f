"""Two jobs on one output: the second is refused, and the first does not notice."""

import re

import pytest

from factory.errors import UserError
from factory.storage import file_io
from factory.storage.run_lock import LEASE, hold_run_lock

REFUSED = {
    "local": r"error: output .*: another run works on it; wait until it ends, or choose another output\n",
    "s3": r"error: output .*: another run \(host .*, process \d+\) works on it, last heard of \d+ s ago; wait .*\n",
}


def test_of_many_that_want_a_bucket_one_has_it(s3):
    place = f"{s3}/wanted"
    assert file_io.create_bytes(f"{place}/{LEASE}", b"no lease")
    assert not file_io.create_bytes(f"{place}/{LEASE}", b"no lease")
    with hold_run_lock(place), pytest.raises(UserError, match="another run"), hold_run_lock(place):
        pass
    assert not file_io.exists(f"{place}/{LEASE}")


@pytest.mark.parametrize("place", ["local", pytest.param("s3", marks=pytest.mark.slow)])
def test_a_second_job_on_an_output_is_refused_at_once(place, make_run, request):
    output = request.getfixturevalue("s3") if place == "s3" else None
    run = make_run("twice", 200, output)
    run.config["engine"]["delay_s"] = 0.25
    first = run.start_until(run.table("profiles").shards)

    assert run.start().wait(60) == 2
    assert re.fullmatch(REFUSED[place], run.log())
    assert "can be written" in run.finish("--dry-run")
    assert first.wait(120) == 0
    assert len(run.rows("profiles")) == 200
    assert not file_io.exists(f"{run.output}/{LEASE}")
