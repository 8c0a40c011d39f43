"""Wires between a client and a server on this machine, which count, cut, or answer themselves."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_CUT_AFTER = 64 * 1024
"""Bytes of an answer after which a wire that cuts does so."""


class Wire:
    """Passes everything on to a server and counts the bytes that come back."""

    def __init__(self, port: int, *, at: int = 0) -> None:
        """Lead to a port, from another one, or from any that is free."""
        self.received = self.sent = 0
        self.on_sent: Callable[[int], object] = id
        """Called with the number of bytes that have been sent."""
        self.cuts = 0
        """How many of the next long answers are cut in the middle of their body."""
        self.answers: list[bytes] = []
        """What the next requests get instead of the server's answer, each on a connection of its own."""
        self._to = port
        self._near: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", at))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Wakes the thread that waits for the next connection; closing alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut(self) -> None:
        """Cut the connections that are there."""
        for near in self._near:
            with suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._near.append(near)
                if self.answers:
                    threading.Thread(
                        target=self._answer, args=(near, self.answers.pop(0)), daemon=True
                    ).start()
                    continue
                far = socket.create_connection(("127.0.0.1", self._to))
                threading.Thread(target=self._pass, args=(near, far), daemon=True).start()
                threading.Thread(target=self._pass_back, args=(far, near), daemon=True).start()

    def _answer(self, near: socket.socket, answer: bytes) -> None:
        with suppress(OSError), near:
            near.recv(65536)
            near.sendall(answer)
            near.shutdown(socket.SHUT_RDWR)

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError), far:
            while data := near.recv(65536):
                self.sent += len(data)
                self.on_sent(self.sent)
                far.sendall(data)
            far.shutdown(socket.SHUT_RDWR)

    def _pass_back(self, far: socket.socket, near: socket.socket) -> None:
        passed = 0
        with suppress(OSError), near:
            while data := far.recv(65536):
                self.received += len(data)
                passed += len(data)
                near.sendall(data)
                if self.cuts and passed > _CUT_AFTER:
                    self.cuts -= 1
                    far.close()
                    break
            near.shutdown(socket.SHUT_RDWR)


def refusal(status: str, code: str, *headers: str) -> bytes:
    """Return an answer of an S3 server that refuses; without a code it has no body, as to HEAD."""
    body = (
        f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>planted</Message></Error>" if code else ""
    )
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/xml", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", body]).encode()
