"""The ledger of a real store folder: every call once, with its tokens, money and latency."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dagster_project.ledger import main
from neuroscribe.errors import StoreError
from neuroscribe.llm.calls import Form, Once
from neuroscribe.report.ledger import LEDGER, ledger, ledger_summary, ledger_text
from neuroscribe.tables.parquet import parquet_frame
from resources.store.calls import FolderCalls


def usage(
    prompt: int, cached: int, completion: int, cost: float | None = 0.0, s: float | None = None
) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt, "cached_tokens": cached, "completion_tokens": completion,
        "cost_usd": cost, "latency_s": s,
    }  # fmt: skip


def keep(calls: FolderCalls, key: str, answer: dict[str, Any], **about: Any) -> dict[str, Any]:
    async def call() -> dict[str, Any]:
        return answer

    return asyncio.run(Once(calls, about).answer(key, call, Form(dict, dict)))


EXPLAINED = {"stage": "explanation", "model": "m", "study": "mine", "layer": 3}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    calls = FolderCalls(tmp_path / "store" / "calls")
    for place in range(20):
        said = {"text": "x", "status": "ok", "raw": "", "usage": usage(100, 60, 10, 0.5, s=float(place))}
        keep(calls, f"a{place:02}", said, **EXPLAINED)
    refused = {"text": None, "status": "refused", "raw": "", "usage": usage(100, 0, 0, None)}
    keep(calls, "b0", refused, **{**EXPLAINED, "model": "other"})
    readings = [
        {"activations": [1.0], "status": "ok", "usage": usage(7, 0, 1, 0.25)},
        {"activations": [], "status": "unparsable", "usage": usage(8, 0, 2, 0.25)},
    ]
    keep(calls, "c0", {"readings": readings}, stage="simulation", model="m; all at once", of_calls=False)
    # A reading whose calls are kept by themselves, and one of those.
    keep(calls, "d0", {"readings": readings}, stage="simulation", model="m; one by one", of_calls=True)
    token = {"top_logprobs": {}, "status": "ok", "raw": "", "usage": usage(5, 0, 1, 0.125)}
    keep(calls, "d1", token, stage="simulation", model="m; one by one")
    calls.put("e0", {"chat": True})
    calls.put("f0", {"text": "of old", "status": "ok", "raw": "", "usage": usage(1, 0, 1)})
    return tmp_path / "store"


def test_every_call_is_a_row_and_what_is_no_call_is_none(store: Path) -> None:
    entries = ledger(FolderCalls(store / "calls"))
    assert entries["key"].to_list() == [*(f"a{place:02}" for place in range(20)), "b0", "c0", "d1", "f0"]
    rows = {row["key"]: row for row in entries.iter_rows(named=True)}
    assert rows["a07"] == {"key": "a07", **EXPLAINED, **usage(100, 60, 10, 0.5, s=7.0), "status": "ok"}
    assert (rows["b0"]["status"], rows["b0"]["cost_usd"]) == ("refused", None)
    read = rows["c0"]
    assert (read["prompt_tokens"], read["cost_usd"], read["status"]) == (15, 0.5, "unparsable")
    assert (rows["f0"]["stage"], rows["f0"]["prompt_tokens"]) == (None, 1)


def test_the_summary_adds_up_by_stage_and_model(store: Path) -> None:
    found = ledger_summary(ledger(FolderCalls(store / "calls")))
    assert found.select("stage", "model", "calls").rows() == [
        ("explanation", "m", 20), ("explanation", "other", 1),
        ("simulation", "m; all at once", 1), ("simulation", "m; one by one", 1), (None, None, 1),
    ]  # fmt: skip
    first = found.row(0, named=True)
    assert {name: first[name] for name in first if name not in ("stage", "model", "calls")} == {
        "prompt_tokens": 2000, "cached_tokens": 1200, "completion_tokens": 200, "cost_usd": 10.0,
        "latency_median_s": 9.5, "latency_95_s": pytest.approx(18.05), "cached_share": 0.6,
    }  # fmt: skip
    # What is unknown is null: a price, a latency.
    assert found.row(1, named=True)["cost_usd"] is None
    assert found.row(2, named=True)["latency_median_s"] is None


def test_what_a_call_was_for_is_no_part_of_its_answer(store: Path) -> None:
    calls = FolderCalls(store / "calls")
    again = keep(calls, "a00", {"never": "asked"}, **EXPLAINED)
    assert set(again) == {"text", "status", "raw", "usage"}


def test_the_command_prints_the_summary_and_writes_the_table(store: Path, capsys: Any) -> None:
    assert main([], {"NEUROSCRIBE_STORE": str(store)}) == 0
    printed = capsys.readouterr().out.splitlines()
    columns = [
        "stage",
        "calls",
        "prompt tokens",
        "cached",
        "completion tokens",
        "money",
        "median s",
        "95 % s",
    ]
    heading = " ".join([*columns, "model"]).split()
    assert heading[:8] == printed[0].split()[:8]  # a narrow terminal may wrap the rest
    row = ["explanation", "20", "2,000", "60", "%", "200", "$10.0000", "9.50", "18.05", "m"]
    assert any(line.split()[:8] == row[:8] for line in printed)
    written = parquet_frame((store / "ledger.parquet").read_bytes(), LEDGER)
    assert written.equals(ledger(FolderCalls(store / "calls")))


def test_an_empty_store_has_an_empty_ledger(tmp_path: Path) -> None:
    assert main([], {"NEUROSCRIBE_STORE": str(tmp_path / "store")}) == 0
    assert not len(ledger(FolderCalls(tmp_path / "nowhere")))
    assert "stage" in ledger_text(LEDGER.frame([]), 80)


def test_a_damaged_answer_is_named(store: Path, capsys: Any) -> None:
    (store / "calls" / "a0" / "a00.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        ledger(FolderCalls(store / "calls"))
    assert main([], {"NEUROSCRIBE_STORE": str(store)}) == 1
    assert "a00.json: damaged" in capsys.readouterr().err
