"""Every vendor is behind the same seam, and what earlier releases stored under a model is still its own."""

import ast
import asyncio
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

import resources.llm
from neuroscribe.errors import LLMError
from neuroscribe.explain.explainer import Shown
from neuroscribe.explain.parsing import SCHEMA
from neuroscribe.explain.questions import Question as Explaining
from neuroscribe.explain.token_pairs import TokenPairs
from neuroscribe.ports.replies import Message
from neuroscribe.study.spec import LLMSpec
from neuroscribe.testing.servers import ScriptedServer
from neuroscribe.testing.stores import MemoryCalls
from resources.llm.openai_wire import WIRES
from resources.llm.opening import LLMServers
from resources.llm.server import SERVERS, AnthropicServer, OpenAIServer
from resources.llm.wires import PromptStyle, Question

URL = "http://llm.example/v1"
TURNS = (Message("system", "Be brief."), Message("user", "Hm?"), Message("assistant", "So:"))
CLAUDE = LLMSpec(provider="anthropic", model="claude-sonnet-4-5")
FIELDS = {
    "choices", "usage", "prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens", "messages",
    "finish_reason", "response_format", "insufficient_quota", "content_filter", "top_logprobs", "content",
    "stop_reason", "input_tokens", "output_tokens", "tool_use", "x-api-key", "temperature", "max_tokens",
}  # fmt: skip


def test_every_provider_but_the_own_process_has_a_server():
    assert {"local", *SERVERS} == set(get_args(LLMSpec.model_fields["provider"].annotation))


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted(Path(resources.llm.__file__).parent.glob("*.py"))
        if not path.name.endswith(("_wire.py", "openai_batches.py"))
    ],
    ids=lambda path: path.name,
)
def test_no_module_but_a_vendors_own_names_a_field_of_what_is_sent(path: Path):
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    assert FIELDS.isdisjoint(node.value for node in nodes if isinstance(node, ast.Constant))


@pytest.mark.parametrize(
    ("style", "explanation", "line"),
    [
        (
            "chat",
            "673727941116aa14a0e03274b7058c9e1fca1e6d68d521f0945cf7af86d67475",
            "233ae5fe57818a9a115361f78b2c58a8c2f20861c4458f1b07c83bb1e9d2197b",
        ),
        (
            "completion",
            "f671a27632fd4e069ce1af7ec3b1d9d5f9b2a498532a57539a71abfb28704f65",
            "5b5c60c26df8d972ad04dfae497f3b0eefd2910c7b24621feaf1c4a24b95442a",
        ),
    ],
)
def test_answers_and_batch_jobs_of_earlier_releases_are_found(
    style: PromptStyle, explanation: str, line: str
):
    identity = OpenAIServer("m", base_url=URL, prompt_style=style).identity
    assert identity == f"m ({style})"
    asked = Explaining((0, 0), "token_pairs", TokenPairs(), Shown((), tuple(TURNS)))
    assert asked.key(identity) == explanation
    schema = Question(TURNS, 5, 0.0, 0, one_line=True, schema=SCHEMA, form="json_schema")
    assert WIRES[style]("scripted").request(schema).custom_id == line


@pytest.mark.parametrize(
    ("style", "key"),
    [
        ("chat", "f0ca32a4c73feeaa1f4ffebccda86ba2b235c5f4d5c4ca4afb6cc59549253325"),
        ("completion", "db52afa44edfb5d56e8cacb6c056b821613890625cf00909834114cd19634117"),
    ],
)
def test_what_an_earlier_release_found_a_server_to_do_is_found(style: PromptStyle, key: str):
    known = MemoryCalls()
    known.put(key, {"json_schema": False, "json_object": False})
    server = OpenAIServer("m", base_url=URL, prompt_style=style, calls=known)
    assert server.asking.found.now.json_object is False


def test_one_name_asked_by_two_wires_is_two_models():
    claude = AnthropicServer("m", base_url="http://llm.example")
    assert claude.identity == "m (messages)"
    assert claude.identity != OpenAIServer("m", base_url=URL).identity


def test_batch_jobs_are_refused_where_they_are_not_those_of_the_api():
    with pytest.raises(
        ValidationError, match='batch = true needs provider = "openai"; remove one of the two'
    ):
        LLMSpec(provider="anthropic", model="claude-sonnet-4-5", batch=True)


def test_a_prompt_style_in_which_a_vendor_is_not_asked_is_refused_with_those_that_are():
    spec = CLAUDE.model_copy(update={"prompt_style": "completion", "base_url": "http://llm.example"})
    with pytest.raises(LLMError, match=r'"completion" is not .*set it to "chat" in the study\'s \[llm\]'):
        LLMServers().server(spec)


def test_without_an_address_the_vendors_own_is_named():
    with pytest.raises(LLMError, match=r"base_url in the study's \[llm\] .*\(https://api\.anthropic\.com\)"):
        LLMServers().server(CLAUDE)


def test_a_simulator_of_another_vendor_is_not_asked_at_the_explainers_server():
    explaining = LLMSpec(provider="openai", model="m", base_url=URL)
    servers = LLMServers(base_url=URL, api_key="ka")
    with pytest.raises(LLMError, match=r"base_url in the study's \[simulator_llm\].*Anthropic's messages"):
        servers.server(CLAUDE, beside=explaining)
    own = CLAUDE.model_copy(update={"base_url": "https://api.anthropic.com"})
    server = servers.server(own, beside=explaining)
    assert isinstance(server, AnthropicServer)
    assert (server.endpoint.url, server.endpoint.key) == ("https://api.anthropic.com", "")


class Silent:
    """Says nothing."""

    def reply(self, prompt: str) -> str:
        return ""

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        raise AssertionError


def test_a_model_asked_at_a_server_of_another_vendor_is_answered_with_what_that_should_speak():
    with ScriptedServer(Silent()) as scripted:
        server = AnthropicServer("m", base_url=scripted.base_url)
        with pytest.raises(LLMError, match="speaks Anthropic's messages API"):
            asyncio.run(server.check())
