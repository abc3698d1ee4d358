"""A server that answers wandb's client on this machine, keeps what it was sent, and fails where asked to.

It speaks as much of the protocol of wandb 0.31 as an online run needs: GraphQL for runs, files, artifacts and alerts,
the stream of history and summary, and uploads. The client finds it by ``WANDB_BASE_URL``.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

FAULTS = {
    "none": "every request is answered",
    "gone": "nothing listens at its address, so that connections are refused",
    "down": "every connection is closed without an answer",
    "half": "every second request is answered by an error 500",
    "busy": "every second request is answered by a 429, too many requests",
    "slow": "every answer is held back, by 1 to 5 s in turn",
    "silent": "no request is ever answered",
}
STATUS = {"half": 500, "busy": 429}
DELAYS = (1.0, 2.0, 3.0, 4.0, 5.0)  # seconds


class WandbServer:
    """A server for the time of a ``with`` block.

    Attributes:
        fault: One of `FAULTS`; it may be changed at any time, which lets go of requests that are held back.
        asked: Names of the GraphQL operations, and paths of the other requests, in the order in which they came,
            those that were not answered too.
        history: Rows of all runs, in the order of the stream, each once.
        config: Configuration of the last run that sent one, with what wandb adds of its own.
        summary: Summary of the last run that sent one.
        files: Name to the content of each uploaded file.
        artifacts: Names of the collections of artifacts, one for each version that was committed.
        alerts: Titles and texts of alerts.
        charts: Variables of each custom chart that was installed.
        views: Variables of each workspace that was saved.

    Example:
        >>> with WandbServer() as server:
        ...     server.url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(self, fault: str = "none") -> None:
        self._fault, self._held = fault, threading.Event()
        self.asked: list[str] = []
        self.history: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.artifacts: list[str] = []
        self.alerts: list[tuple[str, str]] = []
        self.charts: list[dict[str, Any]] = []
        self.views: list[dict[str, Any]] = []
        self._created: dict[str, str] = {}  # id of an artifact to the name of its collection
        self._number = itertools.count()
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._port = 0
        self._listen()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> WandbServer:
        if self._fault == "gone":
            self._leave()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._held.set()
        self._leave()

    def _listen(self) -> None:
        """Begin to listen, always at the same address."""
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.owner, self._port = self, self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _leave(self) -> None:
        """Stop listening; connections that are open end with their next request."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    @property
    def fault(self) -> str:
        """What the server does to requests."""
        return self._fault

    @fault.setter
    def fault(self, fault: str) -> None:
        self._fault, held, self._held = fault, self._held, threading.Event()
        held.set()
        if fault == "gone":
            self._leave()
        elif self._server is None:
            self._listen()

    def environment(self, folder: Any) -> dict[str, str]:
        """Variables with which wandb's client logs into this server and writes into a folder."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": "a" * 40,
            "WANDB_DIR": str(folder),
            "WANDB_MODE": "online",
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
        }

    def answer(self, method: str, target: str, body: bytes) -> bytes | int | None:
        """Answer a request: the body of a success, the status of an error, or None to close the connection."""
        path = urlsplit(target).path
        query = json.loads(body) if path == "/graphql" else {}
        name = _operation(query["query"]) if query else path
        with self._lock:
            self.asked.append(name)
            number, fault, held = next(self._number), self._fault, self._held
        if fault == "silent":
            held.wait()
        if fault in ("gone", "down", "silent"):
            return None
        if fault in STATUS and number % 2:
            return STATUS[fault]
        if fault == "slow":
            held.wait(DELAYS[number % len(DELAYS)])
        with self._lock:
            if query:
                return json.dumps({"data": self._data(name, query.get("variables") or {})}).encode()
            return self._take(method, path, body)

    def _take(self, method: str, path: str, body: bytes) -> bytes:
        if path.endswith("/file_stream"):
            self._stream(json.loads(body))
            return b"{}"
        if method == "PUT":
            self.files[path.removeprefix("/upload/")] = body
        return b""

    def _stream(self, request: Mapping[str, Any]) -> None:
        """Take a part of the stream; what is sent again lies at the place where it lay."""
        for name, part in request.get("files", {}).items():
            if name == "wandb-history.jsonl":
                for number, line in enumerate(part["content"], start=part["offset"]):
                    self.history[number : number + 1] = [json.loads(line)]
            if name == "wandb-summary.json":
                self.summary |= json.loads(part["content"][-1])

    def _data(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        answers = {
            "Viewer": self._viewer,
            "UpsertBucket": self._upsert,
            "CreateRunFiles": self._run_files,
            "CreateArtifact": self._artifact,
            "CreateArtifactManifest": self._manifest,
            "CreateArtifactFiles": self._artifact_files,
            "CommitArtifact": self._commit,
            "NotifyScriptableRunAlert": self._alert,
            "CreateCustomChart": self._chart,
            "UpsertView2": self._view,
        }
        return answers[name](given) if name in answers else _UNKNOWN.get(name, {})

    def _viewer(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "u", "entity": "tests", "username": "tests", "flags": "{}", "teams": {"edges": []}}}

    def _upsert(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self.config |= json.loads(given["config"] or "{}")
        project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "tests"}}
        run = {"id": "r", "name": given["name"], "displayName": given["displayName"] or "run", "config": "{}"}
        nothing = {"description": None, "sweepName": None, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": {**run, **nothing, "project": project}, "inserted": True}}

    def _run_files(self, given: Mapping[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}

    def _artifact(self, given: Mapping[str, Any]) -> dict[str, Any]:
        number = f"artifact-{len(self._created)}"
        self._created[number] = given["input"]["artifactCollectionName"]
        artifact = {"id": number, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": artifact}}

    def _manifest(self, given: Mapping[str, Any]) -> dict[str, Any]:
        url = f"{self.url}/upload/{given['artifactID']}/manifest.json"
        file = {"id": "f", "name": given["name"], "displayName": given["name"], "uploadUrl": url, "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _artifact_files(self, given: Mapping[str, Any]) -> dict[str, Any]:
        nodes = [
            {
                "id": name,
                "name": name,
                "displayName": name,
                "storagePath": name,
                "uploadUrl": f"{self.url}/upload/{file['artifactID']}/{name}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": file["artifactID"]},
            }
            for file in given["input"]["artifactFiles"]
            for name in [file["name"]]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _commit(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self.artifacts.append(self._created[given["artifactID"]])
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": ""}}}

    def _alert(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self.alerts.append((given["title"], given["text"]))
        return {"notifyScriptableRunAlert": {"success": True}}

    def _chart(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self.charts.append(dict(given))
        return {"createCustomChart": {"chart": {"id": f"{given['entity']}/{given['chartName']}"}}}

    def _view(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self.views.append(dict(given))
        return {"upsertView": {"view": {"id": "v", "name": given["name"]}, "inserted": True}}


_UNKNOWN: dict[str, dict[str, Any]] = {  # what this server has not, in the shape in which the client asks for it
    "ServerFeaturesQuery": {"serverInfo": {"features": []}},
    "ArtifactType": {"project": {"artifact": None}},
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    owner: WandbServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        answer = self.server.owner.answer(self.command, self.path, body)
        if answer is None:
            self.close_connection = True
            return
        content = b"" if isinstance(answer, int) else answer
        self.send_response(answer if isinstance(answer, int) else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""


def _operation(query: str) -> str:
    found = re.search(r"(?:query|mutation)\s+(\w+)", query)
    return found[1] if found else "?"
