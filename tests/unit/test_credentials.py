"""What a URL holds of credentials is told nowhere."""

import pytest

from factory.credentials import scrubbed


@pytest.mark.parametrize("user", ["me:secret@", "secret@", ":secret@", "me:se@cret@", "me:secret%2F@"])
def test_credentials_in_urls_are_not_told(user):
    assert scrubbed(f"https://{user}host:8000/v1") == "https://…@host:8000/v1"
    settings = '{"base_url": "https://%shost/v1", "contact": "me@host"}'
    assert scrubbed(settings % user) == settings % "…@"


@pytest.mark.parametrize("text", ["https://host/v1", "https://host/@me/x", '{"a": "s3://bucket", "b": "me@host"}', ""])
def test_what_holds_no_credentials_stays(text):
    assert scrubbed(text) == text
