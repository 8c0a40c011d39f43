import asyncio
import traceback

import dagster as dg
import pytest

from neuroscribe.errors import BudgetError, LLMError
from neuroscribe.ports.replies import Message, Reply
from neuroscribe.study.spec import LLMSpec
from neuroscribe.testing.servers import ScriptedServer
from resources.llm.opening import LLMServers
from resources.llm.server import Server
from tests.resources.llm.weather import Weather

SPEC = LLMSpec(model="m", provider="openai", prompt_style="completion", base_url="http://127.0.0.1:1/v1")


def asked(server: Server) -> Reply:
    return asyncio.run(server.reply([Message("user", "Hm?")], max_tokens=9, temperature=0.0, seed=0))


def test_the_model_style_and_prices_are_the_studys_and_the_address_that_of_the_place():
    spec = SPEC.model_copy(
        update={"usd_per_million_prompt_tokens": 1.0, "usd_per_million_completion_tokens": 0.0}
    )
    with ScriptedServer(Weather()) as scripted:
        server = LLMServers(base_url=scripted.base_url).server(spec)
        reply = asked(server)
        assert (reply.text, server.identity) == (" words for weather", "m (completion)")
        assert reply.usage.cost_usd == pytest.approx(4e-6)  # "Hm", "?" and two line breaks
        assert scripted.count("/v1/completions") == 1


def test_the_studys_own_address_serves_where_no_other_is_given():
    with ScriptedServer(Weather()) as scripted:
        assert (
            asked(LLMServers().server(SPEC.model_copy(update={"base_url": scripted.base_url}))).status == "ok"
        )


def test_without_any_address_both_places_for_one_are_named():
    with pytest.raises(LLMError, match=r"base_url in the study's \[llm\] or NEUROSCRIBE_LLM_BASE_URL"):
        LLMServers().server(SPEC.model_copy(update={"base_url": None}))


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://x:99999",
        "http://x:abc",
        "http://x/\x07",
        "http://x\n.y/v1",
        "http://two words/v1",
        "http://a..b/v1",
        "ftp://x/v1",
        "x:8000/v1",
    ],
)
def test_an_address_that_is_none_is_shown_with_both_places_to_correct_it(url: str):
    for servers, spec in (
        (LLMServers(base_url=url), SPEC),
        (LLMServers(), SPEC.model_copy(update={"base_url": url})),
    ):
        with pytest.raises(
            LLMError, match=r"base_url in the study's \[llm\] or in NEUROSCRIBE_LLM"
        ) as raised:
            servers.server(spec)
        assert repr(url) in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@[::1",
        "http://me:secret@x:abc",
        "http://me:se/secret@x",
        "me:secret@x",
        "me:secret//@x",
        "ftp://:secret@x",
        "http://me:secret@x/v1",
    ],
)
def test_a_password_in_an_address_is_never_shown(url: str):
    with pytest.raises(LLMError, match="address of the LLM server") as raised:
        LLMServers(base_url=url).server(SPEC)
    assert "secret" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("url", ["http://[::1]:8000/v1", "https://llm.example", "http://my_server:1/v1/"])
def test_an_address_of_any_host_is_taken(url: str):
    assert url.rstrip("/") in repr(LLMServers(base_url=url).server(SPEC))


def test_the_key_is_in_no_representation():
    servers = LLMServers(api_key="sk-very-secret-0123456789")
    assert "secret" not in f"{servers!r} {servers} {servers.server(SPEC)!r}"


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"max_retries": -1}, {"timeout_s": 0.0}])
def test_settings_without_sense_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LLMServers(**wrong)


def test_assets_get_it_as_a_resource():
    @dg.asset
    def reply(llm: LLMServers) -> str:
        return asked(llm.server(SPEC)).text or ""

    with ScriptedServer(Weather(), api_key="sk-very-secret-0123456789") as scripted:
        servers = LLMServers(base_url=scripted.base_url, api_key="sk-very-secret-0123456789")
        result = dg.materialize([reply], resources={"llm": servers})
    assert result.output_for_node("reply") == " words for weather"


SIMULATING = SPEC.model_copy(update={"model": "small", "base_url": "http://127.0.0.1:2/v1"})


@pytest.mark.parametrize(
    ("given", "spec", "url", "key"),
    [
        ({}, SIMULATING, "http://127.0.0.1:2/v1", ""),
        ({"base_url": "http://a/v1"}, SIMULATING, "http://127.0.0.1:2/v1", ""),
        ({"simulator_base_url": "http://b/v1"}, SIMULATING, "http://b/v1", ""),
        ({"simulator_base_url": "http://b/v1", "simulator_api_key": "kb"}, SIMULATING, "http://b/v1", "kb"),
        ({}, SIMULATING.model_copy(update={"base_url": None}), "http://127.0.0.1:1/v1", "ka"),
        ({}, SIMULATING.model_copy(update={"base_url": SPEC.base_url}), "http://127.0.0.1:1/v1", "ka"),
        ({"base_url": "http://a/v1"}, SIMULATING.model_copy(update={"base_url": None}), "http://a/v1", "ka"),
        ({"base_url": "http://a/v1", "simulator_base_url": "http://b/v1"}, SPEC, "http://a/v1", "ka"),
    ],
)
def test_each_model_is_asked_where_it_is_served_and_no_key_goes_elsewhere(
    given: dict[str, str], spec: LLMSpec, url: str, key: str
):
    server = LLMServers(**{"api_key": "ka", **given}).server(spec, beside=SPEC)
    assert (server.endpoint.url, server.endpoint.key) == (url, key)


def test_a_simulators_missing_key_is_asked_for_by_its_own_name():
    with ScriptedServer(Weather(), api_key="sk-very-secret-0123456789") as scripted:
        servers = LLMServers(simulator_base_url=scripted.base_url, api_key="sk-another")
        server = servers.server(SIMULATING, beside=SPEC)
        with pytest.raises(LLMError, match="NEUROSCRIBE_SIMULATOR_LLM_API_KEY"):
            asked(server)


def test_a_budget_without_a_price_is_refused_before_any_call():
    with pytest.raises(BudgetError, match=r"usd_per_million_prompt_tokens .* study's \[llm\]"):
        LLMServers(budget_usd=3.17).server(SPEC)


def test_calls_to_one_server_share_its_budget_from_stage_to_stage():
    spec = SPEC.model_copy(
        update={"usd_per_million_prompt_tokens": 1e6, "usd_per_million_completion_tokens": 0.0}
    )
    with ScriptedServer(Weather()) as scripted:
        servers = LLMServers(base_url=scripted.base_url, budget_usd=38.5)
        assert asked(servers.server(spec)).status == "ok"  # 4 dollars, after an estimate of 34
        assert asked(servers.server(spec)).status == "ok"
        with pytest.raises(BudgetError, match=r"\$8\.0000 so far"):
            asked(servers.server(spec))
        assert len(scripted.calls) == 2
