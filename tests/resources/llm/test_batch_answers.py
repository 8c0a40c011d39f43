"""A batch job's files are read line by line, within bounds; what is no answer to the job is counted."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterable

import pytest

from neuroscribe.ports.replies import Message, Reply
from neuroscribe.testing.server_batches import Batches
from neuroscribe.testing.servers import ScriptedFault, ScriptedServer
from neuroscribe.testing.stores import MemoryCalls
from resources.llm.batch_answers import Answers, Asked, read_answers
from resources.llm.batches import BatchedServer
from resources.llm.openai_wire import ChatWire
from resources.llm.prices import Prices
from resources.llm.server import OpenAIServer

ASKED = Asked(frozenset({"a", "b", "c"}), frozenset({"a", "b"}), max_tokens=5)


def line(name: object, text: str = "wet", **more: object) -> bytes:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    return json.dumps({"custom_id": name, "response": {"status_code": 200, "body": body}, **more}).encode()


async def _each(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def read(*parts: bytes, asked: Asked = ASKED) -> Answers | None:
    return asyncio.run(read_answers(_each(parts), asked, wire=ChatWire("m"), prices=Prices()))


def texts(answers: Answers | None) -> dict[str, str | None]:
    assert answers is not None
    return {name: reply.text for name, reply in answers.replies.items()}


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_lines_are_read_whole_wherever_their_parts_end(size: int):
    data = b"\n".join([line("a", "rain\u2028snow"), b"", line("b"), line("c"), line("d"), b"no JSON"])
    found = read(*(data[start : start + size] for start in range(0, len(data), size)))
    assert texts(found) == {"a": "rain\u2028snow", "b": "wet"}
    assert found is not None
    assert found.passed_over == 2  # of "c", which was asked, nobody wants to know


def test_a_mark_of_the_byte_order_takes_no_answer_away():
    assert texts(read(b"\xef\xbb\xbf" + line("a") + b"\r\n" + line("b"))) == {"a": "wet", "b": "wet"}


def test_the_first_of_two_answers_to_one_request_counts():
    assert texts(read(line("a", "first") + b"\n" + line("a", "second"))) == {"a": "first"}
    assert texts(Answers(dict(read_one("a", "first"))) | Answers(dict(read_one("a", "second")))) == {
        "a": "first"
    }


def read_one(name: str, text: str) -> dict[str, Reply]:
    found = read(line(name, text))
    assert found is not None
    return found.replies


@pytest.mark.parametrize("name", [None, 7, ["a"], {"a": 1}, True, "A"])
def test_a_name_that_was_not_asked_is_passed_over_and_counted(name: object):
    found = read(line(name) + b"\n" + line("a"))
    assert texts(found) == {"a": "wet"}
    assert found is not None
    assert found.passed_over == 1


@pytest.mark.parametrize(
    "data", [b"<html>", b'{"error": {"message": "no"}}', line("a")[:-5], b"\xff\xfe", b"null"]
)
def test_a_file_of_something_else_is_none(data: bytes):
    assert read(data) is None


def test_an_empty_file_has_no_answers():
    assert read(b" \n\n") == Answers()


def test_a_line_that_is_too_long_is_passed_over_and_the_next_ones_are_read():
    long = line("b", "x" * ASKED.line_bytes)
    found = read(long + b"\n", line("a") + b"\n")
    assert texts(found) == {"a": "wet"}
    assert found is not None
    assert found.passed_over == 1


def test_no_more_is_read_than_the_requests_can_fill():
    taken: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        yield line("a") + b"\n"
        while True:
            taken.append(2**16)
            yield line("z" * 2**15) + b"\n"

    async def tried() -> Answers | None:
        return await read_answers(endless(), ASKED, wire=ChatWire("m"), prices=Prices())

    found = asyncio.run(tried())
    assert texts(found) == {"a": "wet"}
    assert found is not None
    assert found.passed_over >= 20
    assert ASKED.file_bytes == 2**20 + 3 * (2**16 + 5 * 2**6)
    assert len(taken) < 50


class Echo:
    """Says back the last word of a prompt."""

    def reply(self, prompt: str) -> str:
        return prompt.split()[-1]

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        raise AssertionError


def replies(scripted: ScriptedServer, words: Iterable[str]) -> list[Reply]:
    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    server = OpenAIServer("m", base_url=scripted.base_url)
    batched = BatchedServer(server, MemoryCalls(), wait_s=99.0, sleep=sleep)

    async def every() -> list[Reply]:
        asked = (
            batched.reply([Message("user", f"say {word}")], max_tokens=5, temperature=0.0, seed=0)
            for word in words
        )
        return list(await asyncio.gather(*asked))

    found = asyncio.run(every())
    assert batched._open == {}
    return found


def test_output_that_unpacks_to_gigabytes_takes_no_more_memory_than_its_requests_can_fill():
    packed = gzip.compress(bytes(2**20)) * 2**8
    bomb = ScriptedFault(200, packed, {"Content-Encoding": "gzip"})
    one = ScriptedFault()
    with ScriptedServer(Echo(), batches=Batches(), faults=[one, one, one, bomb]) as scripted:
        tracemalloc.start()
        (reply,) = replies(scripted, ["rain"])
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # What was sent is no line of answers, and is asked for once more.
    assert reply.text == "rain"
    assert most < 2**28


def test_what_was_passed_over_is_told_where_an_answer_is_missing():
    stray = tuple(json.dumps({"custom_id": f"other {place}"}) for place in range(3))
    jobs = Batches(stray=stray, ends="expired", before_expiry=1)
    with ScriptedServer(Echo(), batches=jobs) as scripted:
        ours = replies(scripted, ["rain"])[0]
        jobs.files["file-1"] = "\n".join(stray)
    assert ours.text == "rain"

    class Losing(Batches):
        def _end(self, job: dict, scripted: object) -> None:  # type: ignore[override]
            super()._end(job, scripted)  # type: ignore[arg-type]
            self.files[job["output_file_id"]] = "\n".join(stray)

    with ScriptedServer(Echo(), batches=Losing()) as scripted:
        (reply,) = replies(scripted, ["rain"])
    assert reply.status == "failed"
    assert reply.raw.endswith("has no line for the request; 3 lines answer none of its requests")
