"""Interruption notices of spot machines, from a simulated metadata server."""

from threading import Thread

import pytest

from factory.cluster.spot_notice import GCP_NOTICE_S, seconds_left, watch
from tests.integration.cloud_metadata import metadata


@pytest.mark.parametrize(("cloud", "least", "most"), [("aws", 117, 120), ("gcp", GCP_NOTICE_S, GCP_NOTICE_S)])
def test_notice_gives_the_time_left(cloud, least, most):
    with metadata() as server:
        assert seconds_left(cloud, server.url) is None
        server.seconds = 120
        assert least <= seconds_left(cloud, server.url) <= most


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_notice_is_handled_once_despite_server_outage(cloud, capsys):
    calls: list[float] = []
    with metadata() as server:
        url = server.url
    with metadata() as other:
        watching = Thread(target=watch, args=(cloud, other.url, calls.append, 0.05), daemon=True)
        with pytest.raises(OSError, match="refused"):
            seconds_left(cloud, url)
        watching.start()
        watching.join(0.3)
        assert watching.is_alive()
        assert calls == []
        other.seconds = 100
        watching.join(5)
    assert not watching.is_alive()
    assert len(calls) == 1
    assert "this machine will be interrupted in" in capsys.readouterr().out
