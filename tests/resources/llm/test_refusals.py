"""What real servers say when they reject a request, and the part of it that they mean."""

import json
from typing import Any

import pytest

from neuroscribe.ports.replies import Message
from resources.llm.anthropic_wire import MessagesWire
from resources.llm.openai_wire import ChatWire, CompletionWire
from resources.llm.refusals import part_at_fault, refused_part
from resources.llm.wires import Question

TURNS = [Message("system", "Be brief."), Message("user", "What are \"seed\" and 'temperature' here?")]
ASKED = Question(TURNS, 60, 0.0, seed=0, one_line=True)
BEGUN = Question([*TURNS, Message("assistant", "Well:")], 60, 0.0, seed=0)


def meant(error: Any, *, wire: str = "chat") -> str | None:
    made = {"chat": ChatWire, "completion": CompletionWire, "messages": MessagesWire}[wire]("m")
    request = made.request(BEGUN if wire == "messages" else ASKED)
    words = str((error.get("message") if isinstance(error, dict) else None) or error)
    return refused_part(words, error, request.body, made.optional(request))


def pydantic(*place: object, **more: object) -> dict[str, Any]:
    return {
        "detail": [{"type": "extra_forbidden", "loc": place, "msg": "Extra inputs are not permitted", **more}]
    }


@pytest.mark.parametrize(
    ("error", "part"),
    [
        # OpenAI and Azure
        ({"message": "Unsupported value: 'temperature' does not support 0 with this model. Only the default"
          " (1) value is supported.", "param": "temperature", "code": "unsupported_value"}, "temperature"),
        ({"message": "Not allowed.", "param": "seed"}, "seed"),
        ({"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
          " 'max_completion_tokens' instead.", "param": "max_tokens"}, "max_tokens"),
        ({"message": "Unrecognized request argument supplied: seed", "param": None}, "seed"),
        ({"message": "Unrecognized request arguments supplied: top_k, seed"}, "seed"),
        ({"message": "Model incompatible request argument supplied: temperature"}, "temperature"),
        ({"message": "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
          "param": "messages[0].role"}, "system role"),
        # Mistral, FastAPI, NIM and vLLM
        ({"message": pydantic("body", "seed")}, "seed"),
        (pydantic("body", "temperature"), "temperature"),
        (pydantic("body", "messages", 0, "role", msg="Input should be 'user' or 'assistant'"), "system role"),
        ({"detail": "body -> seed\n  Extra inputs are not permitted (type=extra_forbidden)"}, "seed"),
        ({"message": "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not"
          " permitted', 'input': 0}]"}, "seed"),
        # Bedrock, Google, Groq, xAI, serde and JSON schema
        ({"message": "Malformed input request: extraneous key [seed] is not permitted, please reformat your"
          " input and try again."}, "seed"),
        ({"message": "Invalid JSON payload received. Unknown name \"seed\": Cannot find field."}, "seed"),
        ({"message": "Invalid value at 'generation_config.seed'"}, "seed"),
        ({"message": "property 'seed' is unsupported"}, "seed"),
        ({"detail": "Extra fields not allowed: seed"}, "seed"),
        ({"message": "temperature参数非法"}, "temperature"),
        ({"message": "参数“seed”无效"}, "seed"),
        ("Argument not supported on this model: temperature", "temperature"),
        ({"message": "unknown field `seed`, expected one of `model`, `messages`, `temperature`"}, "seed"),
        ({"message": "Additional properties are not allowed ('seed' was unexpected)"}, "seed"),
        ({"message": "Parameter temperature is not supported"}, "temperature"),
        ({"message": "temperature must be strictly positive"}, "temperature"),
        # templates and vendors without a system
        ({"message": "System role not supported"}, "system role"),
        ({"message": "Conversation roles must alternate user/assistant/user/assistant/..."}, "system role"),
        ({"message": "Only user, assistant and tool roles are supported, got system."}, "system role"),
        ({"message": "Developer instruction is not enabled for models/gemma-3-27b-it"}, "system role"),
        ({"message": "This model doesn't support system messages. Try again without a system message."},
         "system role"),
    ],
)  # fmt: skip
def test_servers_name_what_they_do_not_take_in_many_ways(error: Any, part: str):
    assert meant(error) == part


@pytest.mark.parametrize(
    "error",
    [
        {"message": "prompt is too long"},
        {"message": "The model `m` does not exist"},
        {"message": "This model's maximum context length is 4096 tokens, and your messages have 5000."},
        {"message": "'max_tokens' or 'max_completion_tokens' is too large: 60. This model's maximum context"
         " length is 64 tokens"},
        {"message": "temperature must be at most 1"},
        {"message": f"cannot read {TURNS[1].content}"},
        {"message": f"cannot read {json.dumps(TURNS[1].content)}"},
        {"message": "something about 'seed'", "param": "messages[1].content"},
        {"detail": [{"type": "missing", "loc": ["body", "tools"], "msg": "Field required",
                     "input": {"seed": 0, "messages": [{"param": "seed"}]}}]},
        {"message": "[{'type': 'missing', 'loc': ('body', 'tools'), 'input': {'model': 'm', 'seed': 0}}]"},
        {"message": "You planted the seed of it; stop here"},
        {"message": "insufficient_system_resource"},
        {"message": "'stop' is not supported"},  # which chat turns are not asked with
        "", None, [], 7, {"param": 7, "loc": {}},
    ],
)  # fmt: skip
def test_a_rejection_for_another_reason_names_nothing(error: Any):
    assert meant(error) is None


def test_a_stop_is_a_part_of_what_is_sent_to_a_text_model():
    assert meant({"message": "'stop' is not supported"}, wire="completion") == "stop"


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("`temperature` may only be set to 1 when thinking is enabled.", "temperature"),
        ("thinking: Input tag 'disabled' is not supported by this model.", "thinking"),
        ("This model does not support assistant message prefill.", "prefill"),
        ("The conversation must end with a user message.", "prefill"),
        ("max_tokens: Field required", None),
        ("model: claude-x", None),
    ],
)
def test_the_messages_api_names_its_own(said: str, part: str | None):
    assert meant({"type": "invalid_request_error", "message": said}, wire="messages") == part


def test_what_every_request_needs_is_never_left_out():
    for name in ("model", "messages"):
        assert meant({"message": f"'{name}' is not supported", "param": name}) is None


def test_of_a_servers_own_faults_those_of_a_template_alone_are_about_turns():
    said = "HTTP 500: Jinja Exception: System role not supported"
    assert part_at_fault(said, ["system role"]) == "system role"
    assert part_at_fault(said, ["seed"]) is None
    assert part_at_fault("HTTP 500: the system is busy, no message was read", ["system role"]) is None


def test_a_fault_of_a_server_that_names_a_keyword_means_that_part_of_what_was_sent():
    said = "HTTP 500: TypeError: generate() got an unexpected keyword argument 'seed'"
    assert part_at_fault(said, ["temperature", "seed"]) == "seed"
    assert part_at_fault(said, ["temperature"]) is None
