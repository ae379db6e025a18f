"""Carrying dialogues on, and finding the request that kills an engine."""

import asyncio

import pytest

from factory.inference.multi_turn import NoReplyError, Reply, RowError, attempt_sampling, generate_turns
from factory.records import Completion, Message, Request, TokenSampling

REQUEST = Request((Message("system", "s"), Message("user", "u1")), follow_ups=("u2", "u3"))


def test_each_turn_sees_the_replies_before_it():
    seen = []

    async def ask(messages, again):
        seen.append([m.content for m in messages])
        return Reply(f"r{len(seen)}", prompt_tokens=10, output_tokens=2, cached_tokens=1)

    done = asyncio.run(generate_turns(REQUEST, ask))
    assert done.replies == ("r1", "r2", "r3")
    assert seen == [["s", "u1"], ["s", "u1", "r1", "u2"], ["s", "u1", "r1", "u2", "r2", "u3"]]
    assert (done.prompt_tokens, done.output_tokens, done.cached_tokens) == (30, 6, 3)


def test_a_cut_reply_ends_the_dialogue():
    async def ask(messages, again):
        return Reply("half a", output_tokens=9, truncated=True)

    done = asyncio.run(generate_turns(REQUEST, ask))
    assert (done.truncated, done.replies, done.output_tokens) == (True, ("half a",), 9)


def test_an_error_keeps_the_tokens_that_were_spent():
    async def ask(messages, again):
        if len(messages) > 2:
            raise RowError("engine_error", "no")
        return Reply("r1", output_tokens=4)

    done = asyncio.run(generate_turns(REQUEST, ask))
    assert (done.error, done.detail, done.output_tokens) == ("engine_error", "no", 4)


def told(*answers: Reply | RowError, attempts: int = 3, schema: str | None = None) -> tuple[Completion, int]:
    """What comes of these answers to one turn that must say "good", and how many of them were asked for."""
    left = list(answers)

    async def ask(messages, again):
        assert again == (len(left) < len(answers))
        answer = left.pop(0)
        if isinstance(answer, RowError):
            raise answer
        return answer

    request = Request(
        (Message("user", "u"),), schema=schema, is_parsable=lambda text: "good" in text, attempts=attempts
    )
    done = asyncio.run(generate_turns(request, ask))
    assert done.attempts == len(answers) - len(left)
    return done, done.attempts


REFUSED = NoReplyError("refused", "I would rather not.")


def test_an_answer_that_is_no_reply_uses_the_attempts_that_are_left():
    done, asked = told(REFUSED, Reply("bad", output_tokens=1), Reply("good", output_tokens=2))
    assert (done.replies, done.error, done.output_tokens, asked) == (("good",), "", 3, 3)
    done, asked = told(REFUSED, REFUSED, Reply("bad"))
    assert (done.replies, done.error, asked) == (("bad",), "", 3)


def test_an_answer_that_is_no_reply_is_an_error_after_the_last_attempt():
    done, asked = told(Reply("bad"), REFUSED, REFUSED)
    assert (done.replies, done.error, done.detail, asked) == ((), "refused", "I would rather not.", 3)
    assert told(REFUSED, attempts=1)[0].error == "refused"


def test_a_request_that_the_engine_refuses_is_not_asked_again():
    done, asked = told(RowError("too_long", "9 tokens"), Reply("good"))
    assert (done.error, asked) == ("too_long", 1)


def test_free_text_that_was_cut_is_asked_for_again_though_it_can_be_read():
    cut = Reply("good at first, but", truncated=True)
    done, asked = told(cut, Reply("good"))
    assert (done.replies, done.truncated, asked) == (("good",), False, 2)
    done, asked = told(cut, cut, attempts=2)
    assert (done.replies, done.truncated, asked) == ((cut.text,), True, 2)
    assert told(cut, Reply("good"), schema="{}")[1] == 1


def test_thoughts_are_kept_by_turn_and_never_sent_back():
    seen = []

    async def ask(messages, again):
        seen.append("".join(message.content for message in messages))
        return Reply("r", output_tokens=5, thoughts=f"t{len(seen)}", thought_tokens=2)

    done = asyncio.run(generate_turns(REQUEST, ask))
    assert (done.replies, done.thoughts, done.thought_tokens) == (("r",) * 3, ("t1", "t2", "t3"), 6)
    assert "t1" not in seen[-1]


@pytest.mark.parametrize(
    ("sampling", "own", "again", "expected"),
    [(0.6, None, False, 0.6), (0.6, 0, False, 0), (0.6, 0, True, 0.5), (None, 0, True, "unset"), (0, None, True, 0.5)],
)
def test_a_null_temperature_is_left_to_the_endpoint(sampling, own, again, expected):
    request = Request((), temperature=own, sampling=TokenSampling(temperature=sampling, top_p=None))
    sent = attempt_sampling(request, again)
    assert sent.get("temperature", "unset") == expected
    assert "top_p" not in sent
