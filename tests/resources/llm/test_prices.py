import tomllib
from datetime import date
from pathlib import Path

import pytest

import resources.llm.prices
from neuroscribe.ports.replies import Usage
from neuroscribe.study.spec import LLMSpec
from resources.llm.prices import Prices, prices

OPENAI = "https://api.openai.com/v1"


def spec(model: str, **own: float) -> LLMSpec:
    return LLMSpec(model=model, provider="openai", **own)  # type: ignore[arg-type]


def test_cached_tokens_cost_less_and_all_of_it_adds_up():
    usage = Usage(prompt_tokens=1000, cached_tokens=400, completion_tokens=10)
    assert Prices(prompt=2.0, cached=0.5, completion=8.0).cost(usage) == pytest.approx(
        (600 * 2.0 + 400 * 0.5 + 10 * 8.0) / 1e6
    )
    assert Prices(prompt=2.0, completion=8.0).cost(usage) == pytest.approx(2080e-6)


def test_an_unknown_price_makes_an_unknown_cost():
    assert Prices(prompt=2.0).cost(Usage(prompt_tokens=1)) is None
    assert Prices(prompt=0.0, completion=0.0).cost(Usage(prompt_tokens=1)) == 0.0


def test_a_listed_model_has_its_price_at_its_own_vendor_alone():
    assert prices(spec("gpt-4o-mini"), OPENAI) == Prices(prompt=0.15, cached=0.075, completion=0.6)
    assert not prices(spec("gpt-4o-mini"), "http://127.0.0.1:8000/v1").known
    assert not prices(spec("gpt-4o-mini-audio"), OPENAI).known


def test_the_studys_own_prices_come_first_and_take_no_rebate_from_the_list():
    own = prices(
        spec("gpt-4o-mini", usd_per_million_prompt_tokens=1.0, usd_per_million_completion_tokens=2.0), OPENAI
    )
    assert own == Prices(prompt=1.0, completion=2.0)


def test_every_listed_price_has_a_date_and_a_source_and_rebates_are_rebates():
    rows = tomllib.loads(Path(resources.llm.prices.__file__).with_name("prices.toml").read_text())["price"]
    for row in rows:
        assert isinstance(row["as_of"], date)
        assert row["source"]
        assert 0 < row["cached"] < row["prompt"] < row["completion"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-opus-4-1", Prices(prompt=15.0, cached=1.5, completion=75.0)),
        ("claude-sonnet-4-5-20250929", Prices(prompt=3.0, cached=0.3, completion=15.0)),
        ("claude-haiku-4-5", Prices(prompt=1.0, cached=0.1, completion=5.0)),
        ("claude-3-5-haiku-20241022", Prices(prompt=0.8, cached=0.08, completion=4.0)),
    ],
)
def test_models_of_another_vendor_have_their_prices_at_its_address(model: str, expected: Prices):
    claude = LLMSpec(model=model, provider="anthropic")
    assert prices(claude, "https://api.anthropic.com") == expected
    assert not prices(claude, OPENAI).known
