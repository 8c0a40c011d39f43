"""A server of S3's kind that knows no conditions, as older ones."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_LEFT_OUT = ("if-match", "if-none-match", "expect")
_OWN = ("content-length", "connection", "date", "server")
"""Headers that this server writes itself."""


class Forgetful:
    """Passes requests on to another server without their conditions."""

    def __init__(self, endpoint_url: str) -> None:
        class Passing(_Passing):
            to = endpoint_url.removeprefix("http://")

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Passing)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Passing(BaseHTTPRequestHandler):
    to = ""
    protocol_version = "HTTP/1.1"  # clients wait for its leave before they send a body

    def parse_request(self) -> bool:
        """Answer each request in the same way, whatever its method."""
        parsed = super().parse_request()
        if parsed:
            setattr(self, f"do_{self.command}", self._pass)
        return parsed

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kept = {name: said for name, said in self.headers.items() if name.lower() not in _LEFT_OUT}
        far = http.client.HTTPConnection(self.to)
        far.request(self.command, self.path, body, kept)
        answer = far.getresponse()
        data = answer.read()
        far.close()
        self.send_response(answer.status)
        for name, said in answer.getheaders():
            if name.lower() not in _OWN:
                self.send_header(name, said)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
