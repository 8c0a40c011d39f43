"""Tries what a server can do with small questions whose answers show whether it did.

A question that a failing server left unanswered shows nothing, and nothing is recorded of it.
"""

import json
from contextlib import suppress
from typing import Any

from neuroscribe.replies import Message
from resources.llm_asking import Asking
from resources.llm_faults import RejectedError, UnansweredError
from resources.llm_forms import SchemaForm, is_about_forms
from resources.llm_wire import mapping, read_reply

_KEY, _VALUE = "a_word_no_model_says", "zwieback"
_SCHEMA = {
    "type": "object",
    "properties": {_KEY: {"type": "string", "enum": [_VALUE]}},
    "required": [_KEY],
    "additionalProperties": False,
}
"""What nothing but the schema itself leads to."""
_TOKENS = 40
_SAMPLING = {"temperature": 0.0, "seed": 0}


async def try_styles(asking: Asking) -> None:
    """Find out whether the server answers chat turns and continues texts, where that is not known."""
    known = asking.found.now
    if known.chat is None:
        with suppress(UnansweredError):
            asking.found.record(chat=await _answers(asking.in_style("chat")))
    if known.completion is None:
        with suppress(UnansweredError):
            asking.found.record(completion=await _answers(asking.in_style("completion")))


async def try_json(asking: Asking) -> None:
    """Find out whether answers are held to a schema, and to JSON, where that is not known."""
    known = asking.found.now
    if known.json_schema is None:
        with suppress(UnansweredError):
            sent = await _json(asking, "json_schema", "Answer in JSON.")
            asking.found.record(json_schema=sent == {_KEY: _VALUE})
    if known.json_object is None:
        with suppress(UnansweredError):
            sent = await _json(asking, "json_object", "Write a JSON object with the key colour.")
            asking.found.record(json_object=bool(mapping(sent)))


async def _answers(asking: Asking) -> bool:
    """Tell whether a question is answered; raises UnansweredError where the server may yet do so."""
    path, body = asking.question([Message("user", "Say yes.")])
    try:
        answer, usage = await asking.answered(path, {**body, **_SAMPLING}, 16)
    except RejectedError:
        return False
    return read_reply(answer, usage).status != "failed"


async def _json(asking: Asking, form: SchemaForm, question: str) -> Any:
    """Return the JSON that a form brings, or None.

    Raises UnansweredError where nothing came that has to do with the form.
    """
    path, body = asking.question([Message("user", question)])
    try:
        answer, usage = await asking.in_form(form, path, {**body, **_SAMPLING}, _TOKENS, _SCHEMA)
        return json.loads(read_reply(answer, usage).text or "")
    except (RejectedError, ValueError):
        return None
    except UnansweredError as unanswered:
        if not is_about_forms(unanswered):
            raise
        return None
