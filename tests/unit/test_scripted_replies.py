"""The scripted engine's replies: those of the config first, then those of a file."""

import json

import pytest
from pydantic import ValidationError

from factory.config import ScriptedEngine


def scripted(**settings: object) -> ScriptedEngine:
    return ScriptedEngine.model_validate({"kind": "scripted", **settings})


def test_replies_of_a_file_follow_those_of_the_config(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text('{"contains": "b", "reply": "text"}\n\n{"contains": "c", "reply": {"name": "É"}}\n')
    engine = scripted(replies=[{"contains": "a", "reply": "own"}], replies_file=str(path))
    assert [reply.reply for reply in engine.all_replies] == ["own", "text", '{"name": "É"}']
    assert scripted(**json.loads(engine.model_dump_json())) == engine


def test_revision_changes_with_the_file(tmp_path):
    path = tmp_path / "replies.jsonl"
    revisions = {scripted().revision}
    for text in ("one", "two"):
        path.write_text(json.dumps({"contains": "a", "reply": text}))
        revisions.add(scripted(replies_file=str(path)).revision)
    assert len(revisions) == 3
    assert "scripted" in revisions


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"contains": "a"}\n{"reply": "b"}', "line 2, contains"),
        ('{"contains": "a"}\n{', "line 2"),
        (b"\xff", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_an_unusable_file_is_refused(tmp_path, content, message):
    path = tmp_path / "replies.jsonl"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValidationError) as caught:
        scripted(replies_file=str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_another_attempt_may_have_a_reply_of_its_own():
    engine = scripted(replies=[{"contains": "a", "reply": "bad", "again": {"name": "good"}}, {"contains": "b"}])
    assert [reply.again for reply in engine.all_replies] == ['{"name": "good"}', None]
    assert scripted(**json.loads(engine.model_dump_json())) == engine
