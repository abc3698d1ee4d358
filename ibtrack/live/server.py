"""The server of a page: on this machine alone, and for pages that it has served itself.

It listens on the loopback address. A page of another site that a browser has open can reach that address as well; so a
request must name this machine as its host, which one that another site's name was bent to does not, and no other site
may load an answer into its own pages.
"""

from __future__ import annotations

import re
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ibtrack.live.page import DETAILS, LivePage
from ibtrack.record.files import why_not_read

ADDRESS = "127.0.0.1"
LONGEST_WAIT = (
    20.0  # seconds that a browser waits for news before it asks again; it knows then that the server is there
)
_HOSTS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")  # any port: it may be forwarded to another machine
_RUN = re.compile(rf"/{DETAILS}/run(\d{{3,6}})\.js")
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageServer(ThreadingHTTPServer):
    """Serves a page that changes, its news and the details of its runs.

    Args:
        page: The page.
        port: Port of this machine; 0 takes one that is free.

    Raises:
        OSError: The port is taken.

    Example:
        >>> from pathlib import Path
        >>> from ibtrack.live.runs import FollowedRuns
        >>> with PageServer(LivePage(FollowedRuns(Path("runs"))), port=0) as server:
        ...     server.url.partition(":")[0]
        'http'
    """

    daemon_threads = True
    block_on_close = False  # a browser may be waiting for news

    def __init__(self, page: LivePage, *, port: int) -> None:
        self.page = page
        try:
            super().__init__((ADDRESS, port), _Answer)
        except OSError as error:
            error.filename = f"port {port} of {ADDRESS}"
            raise

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a browser that has gone away; show any other fault.

        Args:
            request: The connection.
            client_address: Where it came from.
        """
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Answer(BaseHTTPRequestHandler):
    """An answer to one request."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ibtrack", ""
    timeout = 60  # seconds that a connection may be silent

    def do_GET(self) -> None:  # the name that http.server calls
        """Answer a request."""
        if not _HOSTS.fullmatch(self.headers.get("Host", "")):
            return self._say(HTTPStatus.FORBIDDEN, "the request must name this machine as its host, such as localhost")
        where = urlsplit(self.path)
        if where.path == "/":
            return self._send(HTTPStatus.OK, "text/html", self.server.page.html())
        if where.path == "/news":
            return self._news(parse_qs(where.query).get("after", [""])[0])
        if found := _RUN.fullmatch(where.path):
            return self._details(int(found[1]))
        return self._say(HTTPStatus.NOT_FOUND, "there is nothing here; the page is /")

    do_HEAD = do_GET  # which sends no body

    def _news(self, version: str) -> None:
        if self.server.page.wait(version, LONGEST_WAIT):
            self._send(HTTPStatus.OK, "application/json", self.server.page.news(version))
        else:
            self._send(HTTPStatus.NO_CONTENT, "application/json", "")

    def _details(self, number: int) -> None:
        try:
            script = self.server.page.details(number)
        except (OSError, ValueError, KeyError) as error:
            return self._say(HTTPStatus.NOT_FOUND, why_not_read(error))
        if script is None:
            return self._say(HTTPStatus.NOT_FOUND, "there is no such run")
        return self._send(HTTPStatus.OK, "text/javascript", script)

    def _say(self, status: HTTPStatus, sentence: str) -> None:
        self._send(status, "text/plain", f"{sentence}\n")

    def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": f"{kind}; charset=utf-8"}.items():
            self.send_header(name, value)
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of single requests."""
