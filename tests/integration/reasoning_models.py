"""How the endpoints of reasoning models refuse and answer, for `openai_server`: their shapes, not their models.

The texts are those that the endpoints document or were seen to send.
"""

from aiohttp import web

THOUGHT = "THOUGHT: the shape is {name, age}, and she is from Lagos."
THOUGHT_TOKENS = 4


def _unsupported(name: str, code: str = "unsupported_parameter") -> web.Response:
    hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
    said = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
    error = {"message": said, "type": "invalid_request_error", "param": name, "code": code}
    return web.json_response({"error": error}, status=400)


def refusal(family: str, body: dict) -> web.Response | None:
    """What an endpoint of this family refuses about a request."""
    if family == "gpt-5":
        if body.get("temperature", 1) != 1:
            return _unsupported("temperature", "unsupported_value")
        wrong = [name for name in ("max_tokens", "top_p", "frequency_penalty", "logprobs") if name in body]
        return _unsupported(wrong[0]) if wrong else None
    if family == "o-series":
        wrong = [name for name in ("max_tokens", "temperature", "top_p", "frequency_penalty") if name in body]
        return _unsupported(wrong[0]) if wrong else None
    if family == "deepseek" and any("reasoning_content" in message for message in body["messages"]):
        return web.json_response({"error": {"message": "reasoning_content is not allowed"}}, status=400)
    if family == "mistral" and "max_completion_tokens" in body:
        wrong = {"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"]}
        return web.json_response({"detail": [{**wrong, "msg": "Extra inputs are not permitted"}]}, status=422)
    if family == "gemini" and "frequency_penalty" in body:
        said = 'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.'
        return web.json_response([{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}], status=400)
    return None


def dressed(family: str, answer: dict) -> dict:
    """The same answer in the shape of a family, with a thought."""
    (choice,) = answer["choices"]
    if family in ("gpt-5", "o-series"):
        answer["usage"]["completion_tokens_details"] = {"reasoning_tokens": THOUGHT_TOKENS}
        choice.pop("logprobs", None)
    if family == "deepseek":
        choice["message"]["reasoning_content"] = THOUGHT
        answer["usage"]["completion_tokens_details"] = {"reasoning_tokens": THOUGHT_TOKENS}
    if family == "mistral":
        choice["message"]["content"] = _parts(choice["message"]["content"])
    if family == "gemini":
        choice |= {"finish_reason": {"length": "MAX_TOKENS"}.get(choice["finish_reason"], "STOP"), "logprobs": None}
        answer["usage"]["total_tokens"] += THOUGHT_TOKENS  # counted nowhere else
    if family == "vllm":
        choice["message"] |= {"reasoning": THOUGHT, "reasoning_content": None}
    return answer


def spoil(kind: str, choice: dict) -> None:
    """Put a thought into a choice in one of the ways in which it may arrive."""
    if not kind.startswith(("thought-", "blank")):
        return
    message = choice["message"]
    text = message["content"]
    forms = {
        "thought-first": f"<think>\n{THOUGHT}\n</think>\n\n{text}",
        "thought-unopened": f"{THOUGHT}\n</think>\n\n{text}",
        "thought-unclosed": f"<think>\n{THOUGHT}",
        "thought-empty": f"<think>\n\n</think>\n\n{text}",
        "thought-braces": f'<think>\n{THOUGHT} {{"name": "Eve"}} }}{{\n</think>\n{text}',
        "thought-twice": f"<think>{THOUGHT}</think>Hm.<think>{THOUGHT}</think>{text}",
        "thought-mistral": f"[THINK]{THOUGHT}[/THINK]{text}",
        "thought-gpt-oss": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{text}<|return|>",
        "thought-after": f"{text}\n<think>{THOUGHT}",
        "thought-parts": _parts(text),
        "thought-field": text,
        "thought-only": "",
        "blank": "\n",
    }
    message["content"] = forms[kind]
    if kind in ("thought-field", "thought-only"):
        message["reasoning_content"] = THOUGHT


def _parts(text: str) -> list[dict]:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}
    return [thinking, *({"type": "text", "text": part} for part in (text[:3], text[3:]))]
