"""Raw values to clean text."""

import pytest

from factory.normalise import without_credentials


@pytest.mark.parametrize("user", ["me:secret@", "secret@", ":secret@", "me:se@cret@", "me:secret%2F@"])
def test_credentials_in_urls_are_not_told(user):
    assert without_credentials(f"https://{user}host:8000/v1") == "https://…@host:8000/v1"
    settings = '{"base_url": "https://%shost/v1", "contact": "me@host"}'
    assert without_credentials(settings % user) == settings % "…@"


@pytest.mark.parametrize("text", ["https://host/v1", "https://host/@me/x", '{"a": "s3://bucket", "b": "me@host"}', ""])
def test_what_holds_no_credentials_stays(text):
    assert without_credentials(text) == text
