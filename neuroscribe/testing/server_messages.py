"""A scripted server that speaks Anthropic's messages API, and is as strict about requests as that is."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.replies import Message, as_text
from neuroscribe.testing.server_bodies import in_form, tokenised
from neuroscribe.testing.servers import Script, ScriptedFault, ScriptedServer

_VERSION = "2023-06-01"
_FIELDS = {"max_tokens", "messages", "model", "system", "temperature", "thinking", "tool_choice", "tools"}
_REFUSALS = {
    "prefill": "This model does not support assistant message prefill. The conversation must end with a user"
    " message.",
    "temperature": "`temperature` is deprecated for this model.",
    "thinking": "thinking: Input tag 'disabled' is not supported by this model.",
    "tool_choice": "tool_choice forces tool use, which is not compatible with this model.",
}


class MessagesServer(ScriptedServer):
    """Answers by `script` for the time of a `with` block; `rejects` is what its model does not take.

    That is any of prefill, temperature, thinking and tool_choice.
    """

    def __init__(self, script: Script, *, rejects: Collection[str] = (), **options: Any) -> None:
        super().__init__(script, **options)
        self._rejects = rejects

    @property
    def base_url(self) -> str:
        """Address for clients, ending before /v1."""
        return super().base_url.removesuffix("/v1")

    def _refused(self, headers: Mapping[str, str]) -> ScriptedFault | None:
        if headers.get("anthropic-version") != _VERSION:
            return messages_error(400, "anthropic-version: header is required")
        if self._api_key and headers.get("x-api-key") != self._api_key:
            return messages_error(401, "invalid x-api-key", kind="authentication_error")
        return None

    def _scripted(self, path: str, body: dict[str, Any]) -> ScriptedFault:
        if path != "/v1/messages":
            return messages_error(404, f"there is nothing at {path}", kind="not_found_error")
        if wrong := _wrong(body) or self._unknown(body):
            return messages_error(400, wrong)
        turns = [Message(turn["role"], turn["content"]) for turn in body["messages"]]
        system = [Message("system", body["system"])] if "system" in body else []
        prompt = as_text([*system, *turns]).rstrip()
        said = self._script.reply(prompt)
        return said if isinstance(said, ScriptedFault) else ScriptedFault(200, _message(body, prompt, said))

    def _unknown(self, body: Mapping[str, Any]) -> str:
        """Return why the model does not take a request, if it does not."""
        sent = {*body, *(["prefill"] if body["messages"][-1]["role"] == "assistant" else [])}
        return next((_REFUSALS[name] for name in self._rejects if name in sent), "")


def messages_error(
    status: int, message: str, *, kind: str = "invalid_request_error", retry_after: str | None = None
) -> ScriptedFault:
    """Return an HTTP error in the API's form."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    error = {"type": "error", "error": {"type": kind, "message": message}}
    return ScriptedFault(status, json.dumps(error), headers)


def _wrong(body: Mapping[str, Any]) -> str:
    """Return what is wrong with a request for whatever model, if something is."""
    if unknown := body.keys() - _FIELDS:
        return f"{min(unknown)}: Extra inputs are not permitted"
    if not isinstance(body.get("max_tokens"), int):
        return "max_tokens: Field required"
    if not 0 <= body.get("temperature", 1) <= 1:
        return "temperature: range: 0..1"
    turns = body["messages"]
    if not turns or {turn["role"] for turn in turns} - {"user", "assistant"}:
        return "messages: Input should be turns of 'user' and 'assistant'"
    if turns[-1]["role"] == "assistant" and turns[-1]["content"] != turns[-1]["content"].rstrip():
        return "messages: final assistant content cannot end with trailing whitespace"
    return ""


def _message(body: Mapping[str, Any], prompt: str, said: str) -> str:
    """Return a message that says something, or calls the tool that the request forces with it."""
    content: dict[str, Any] = {"type": "text", "text": said}
    stopped = "end_turn"
    if "tool_choice" in body:
        schema = next(tool for tool in body["tools"] if tool["name"] == body["tool_choice"]["name"])
        form = {"json_schema": {"schema": schema["input_schema"]}}
        called = {"id": "toolu_0", "name": schema["name"], "input": json.loads(in_form(said, form))}
        content, stopped = {"type": "tool_use", **called}, "tool_use"
    usage = {
        "input_tokens": len(tokenised(prompt)),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": len(tokenised(said)),
    }
    told = {
        "id": fingerprint("scripted answer", body)[:16],
        "type": "message",
        "role": "assistant",
        "model": body["model"],
    }
    return json.dumps({**told, "content": [content], "stop_reason": stopped, "usage": usage})
