"""The forms in which servers take a request: they differ, and what one of them takes is remembered."""

from collections.abc import Iterator
from typing import Any, Literal

from neuroscribe.capabilities import Capabilities
from neuroscribe.replies import Schema
from resources.llm_faults import RejectedError, UnansweredError

TOP_LOGPROBS = (20, 10, 5)
"""Tried in turn: most servers give 20, OpenAI's own completions 5."""
SchemaForm = Literal["json_schema", "json_object", "in the prompt"]
_FORMS: tuple[SchemaForm, ...] = ("json_schema", "json_object", "in the prompt")
_FORM_REJECTED = (400, 415, 422, 501)
_ABOUT_FORMS = ("response_format", "json", "schema", "grammar")


def schema_forms(known: Capabilities) -> Iterator[SchemaForm]:
    """Yield the ways to ask for an answer that follows a schema, the firmest first."""
    for form in _FORMS:
        if getattr(known, form, None) is not False:
            yield form


def response_format(form: SchemaForm, schema: Schema) -> dict[str, Any]:
    """Return the field that asks for such an answer; none where the prompt alone says it."""
    match form:
        case "json_schema":
            named = {"name": "answer", "strict": True, "schema": schema}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case "json_object":
            return {"response_format": {"type": "json_object"}}
        case _:
            return {}


def is_about_forms(refusal: RejectedError | UnansweredError) -> bool:
    """Tell whether another form might be taken where this one was not."""
    if isinstance(refusal, RejectedError):
        return refusal.status in _FORM_REJECTED
    return any(word in str(refusal).lower() for word in _ABOUT_FORMS)


def counts(known: int | None) -> list[int]:
    """Return the numbers of log-probabilities to ask for in turn, from the one that is known to work."""
    return [count for count in TOP_LOGPROBS if not known or count <= known]
