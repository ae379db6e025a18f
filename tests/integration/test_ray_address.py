"""A wrong RAY_ADDRESS fails at once, with one line."""

import time

import pytest

from factory.errors import UnreachableError
from factory.runtime import ray_session
from factory.runtime.ray_head import free_port


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:{port}", "nothing answers there .*; start a head there, or unset it"),
        ("ray://127.0.0.1:{port}", "nothing answers there"),
        ("no-such-host.invalid:6379", "nothing answers there"),
        ("nonsense", "not an address that a job can join; give host:port"),
        ("head:port", "not an address that a job can join"),
        ("http://127.0.0.1:{port}", "http:// is for `ray job submit`"),
    ],
)
def test_wrong_ray_address_fails_at_once(monkeypatch, address, message):
    address = address.format(port=free_port())
    monkeypatch.setenv("RAY_ADDRESS", address)
    start = time.monotonic()
    with pytest.raises(UnreachableError, match=message) as caught:
        ray_session.start_ray()
    assert f"RAY_ADDRESS {address}: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 20
