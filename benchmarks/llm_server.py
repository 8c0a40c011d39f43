"""An LLM server that answers at once, or after some milliseconds, at little cost.

`python -m benchmarks.llm_server MILLISECONDS` prints its port. `GET /` tells how often it was asked with each
seed, as JSON.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from typing import ClassVar

ANSWER = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "rain"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 900, "completion_tokens": 2, "total_tokens": 902},
}
BODY = json.dumps(ANSWER).encode()
_SEED = re.compile(rb'"seed": ?([0-9]+)')


def response(body: bytes) -> bytes:
    """Return a whole response."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Answering(asyncio.Protocol):
    """One connection; `asked` counts the questions of all by their seed."""

    asked: ClassVar[Counter[str]] = Counter()
    delay_s = 0.0
    whole = response(BODY)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._read = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer every request that has arrived whole."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            _, named, length = head.partition(b"content-length:")
            whole = end + 4 + (int(length.split(b"\r\n", 1)[0]) if named else 0)
            if len(self._read) < whole:
                return
            body, self._read = self._read[end + 4 : whole], self._read[whole:]
            if head.startswith(b"get"):
                self._transport.write(response(json.dumps(Answering.asked).encode()))
            else:
                self._answer(body)

    def _answer(self, body: bytes) -> None:
        seed = _SEED.search(body)
        Answering.asked[seed[1].decode() if seed else ""] += 1
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, self._transport.write, self.whole)
        else:
            self._transport.write(self.whole)


async def serve() -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    Answering.delay_s = float(sys.argv[1]) / 1000
    asyncio.run(serve())
