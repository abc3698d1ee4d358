"""A hub on this machine that huggingface_hub's own client talks to, and that fails where it is asked to.

It speaks as much of the protocol as a replay needs: refs, lists of files in pages with the hashes of large files,
whether files may be read, information on a model, and downloads by HEAD and GET, with ranges and the redirect of large
files to another host. Inside of its ``with`` block huggingface_hub asks no other host.

    with Hub() as hub:
        hub.add("owner/name", {f"step{step}": made_up(step) for step in range(4)})
        plan = find_checkpoints("owner/name", endpoint=hub.url)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from unittest import mock
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".pt", ".model")  # what a hub keeps outside of git
INDEX = "model.safetensors.index.json"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Pointer(NamedTuple):
    """A large file of which there is nothing but its hash and its size, for plans of models of real size."""

    sha256: str
    size: int


Content = bytes | Pointer
Files = Mapping[str, Content]


class Asked(NamedTuple):
    """A request: its method, its path without parameters, and the range and the token that it came with."""

    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class Fault:
    """What is done to requests whose method and path, such as ``GET /owner/name/resolve/…``, a pattern is found in.

    Attributes:
        pattern: Regular expression.
        times: Number of requests that it is done to; None for all.
        status: Status that is answered in place of the content; 0 answers as usual.
        headers: Further headers of that answer.
        body: Content of that answer.
        cut: Number of bytes after which the connection is closed; None sends all.
        seconds: Seconds that the answer is held back.
    """

    pattern: str
    times: int | None = 1
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    cut: int | None = None
    seconds: float = 0.0


@dataclass
class _Repository:
    revisions: dict[str, dict[str, Content]]
    commits: dict[str, str]
    tags: frozenset[str]
    gated: str | None

    def at(self, revision: str) -> tuple[str, dict[str, Content]] | None:
        """Commit and files of a branch, a tag or a commit."""
        name = next((name for name, commit in self.commits.items() if revision in (name, commit)), None)
        return None if name is None else (self.commits[name], self.revisions[name])


class Hub:
    """A hub for the time of a ``with`` block.

    Args:
        delay: Seconds that every answer takes.
        page: Greatest number of files in one page of a list.

    Attributes:
        url: Address of the hub.
        asked: Requests in the order in which they came, those that failed too.
        at_once: Greatest number of requests that were being answered at one time.
        strays: Hosts that somebody tried to reach besides this machine.

    Example:
        >>> with Hub() as hub:
        ...     hub.url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(self, *, delay: float = 0.0, page: int = 1000) -> None:
        self.delay, self.page = delay, page
        self.asked: list[Asked] = []
        self.at_once = 0
        self.strays: list[str] = []
        self._faults: list[Fault] = []
        self._repositories: dict[str, _Repository] = {}
        self._blobs: dict[str, Content] = {}
        self._now, self._lock = 0, threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._other_host = f"http://localhost:{self._server.server_port}"
        self._inside = contextlib.ExitStack()

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._inside.enter_context(_only_this_machine(self.url, self.strays))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._inside.close()
        self._server.shutdown()
        self._server.server_close()

    def add(
        self, repository: str, revisions: Mapping[str, Files], *, tags: Sequence[str] = (), gated: str | None = None
    ) -> None:
        """Publish a repository, in place of what there was by its name.

        Args:
            repository: Its id, ``owner/name``.
            revisions: Name of a branch or a tag to its files, path to content.
            tags: Which of the names are tags.
            gated: Token that may read the files, where not everybody may; lists are open to all.
        """
        commits = {}
        for name, files in revisions.items():
            told = hashlib.sha1(f"{repository} {name}".encode())
            for path, content in sorted(files.items()):
                told.update(f"{path} {_etag(path, content)}".encode())
                self._blobs[_etag(path, content)] = content
            commits[name] = told.hexdigest()
        plain = {name: dict(files) for name, files in revisions.items()}
        self._repositories[repository] = _Repository(plain, commits, frozenset(tags), gated)

    def commit(self, repository: str, revision: str) -> str:
        """Commit that a revision points to."""
        return self._repositories[repository].commits[revision]

    def fail(self, pattern: str, status: int, *, times: int | None = 1, body: bytes = b"{}", **headers: str) -> None:
        """Answer some requests with a status, such as 429 with ``retry_after="0"``."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self._faults.append(Fault(pattern, times, status=status, headers=named, body=body))

    def cut(self, pattern: str, after: int, *, times: int | None = 1) -> None:
        """Close the connection of some requests after so many bytes of their content."""
        self._faults.append(Fault(pattern, times, cut=after))

    def slow(self, pattern: str, seconds: float, *, times: int | None = None) -> None:
        """Hold the answer to some requests back."""
        self._faults.append(Fault(pattern, times, seconds=seconds))

    def swap(self, content: Content, other: Content) -> None:
        """Send other bytes where a large file is downloaded, under the hash of what it should be."""
        self._blobs[_etag(LARGE[0], content)] = other

    def heal(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def count(self, pattern: str) -> int:
        """Count the requests whose method and path a pattern is found in."""
        return sum(re.search(pattern, f"{each.method} {each.path}") is not None for each in self.asked)

    def environment(self, home: Any) -> dict[str, str]:
        """Variables with which another process asks this hub and keeps its files in a folder."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    @contextlib.contextmanager
    def instead(self) -> Iterator[None]:
        """Let huggingface_hub take this hub for the usual one, as ``HF_ENDPOINT`` does where it is set from the start.

        Yields:
            Nothing.
        """
        template = f"{self.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        constants = "huggingface_hub.constants"
        with (
            mock.patch(f"{constants}.ENDPOINT", self.url),
            mock.patch(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template),
        ):
            yield

    @contextlib.contextmanager
    def answering(self, asked: Asked) -> Iterator[Fault]:
        """Count a request while it is answered, and find what is done to it."""
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.at_once = max(self.at_once, self._now)
            fault = next((each for each in self._faults if _is_due(each, asked)), Fault(""))
            if fault.times is not None:
                fault.times -= 1
        try:
            time.sleep(self.delay + fault.seconds)
            yield fault
        finally:
            with self._lock:
                self._now -= 1

    def answer(self, asked: Asked, parameters: Mapping[str, list[str]], body: bytes) -> _Answer:
        """Make the answer to a request."""
        parts = [unquote(part) for part in asked.path.strip("/").split("/")]
        if parts[0] == "cdn":
            return _content(self._blobs[parts[1]], asked, {"ETag": f'"{parts[1]}"'})
        api = parts[:2] == ["api", "models"]
        name, rest = "/".join(parts[2:4] if api else parts[:2]), parts[4:] if api else parts[2:]
        repository = self._repositories.get(name)
        if repository is None:
            if asked.token is None:
                return _error(401, None, "Invalid username or password.")
            return _error(404, "RepoNotFound", "Repository not found")
        if not api:
            return self._resolve(repository, name, rest, asked)
        return self._tell(repository, name, rest or ["revision", "main"], asked, parameters, body)

    def _tell(
        self,
        repository: _Repository,
        name: str,
        rest: Sequence[str],
        asked: Asked,
        parameters: Mapping[str, list[str]],
        body: bytes,
    ) -> _Answer:
        if rest[0] == "auth-check":
            return _closed(repository, name, asked) or _json({})
        if rest[0] == "refs":
            return _json(_refs(repository))
        found = repository.at(rest[1])
        if found is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {rest[1]}")
        commit, files = found
        if rest[0] == "tree":
            return self._page(files, asked, parameters)
        if rest[0] == "paths-info":
            wanted = parse_qs(body.decode()).get("paths", [])
            return _json([_entry(path, files[path]) for path in wanted if path in files])
        siblings = [{"rfilename": path} for path in files]
        gated = "manual" if repository.gated else False
        return _json(
            {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "private": False, "gated": gated}
        )

    def _page(self, files: Mapping[str, Content], asked: Asked, parameters: Mapping[str, list[str]]) -> _Answer:
        """One page of a list of files, with the address of the next."""
        folders = sorted({path.rpartition("/")[0] for path in files} - {""})
        entries = [
            {"type": "directory", "path": folder, "size": 0, "oid": _sha1(folder.encode())} for folder in folders
        ]
        entries += [_entry(path, content) for path, content in files.items()]
        start = int(parameters.get("cursor", ["0"])[0])
        answer = _json(entries[start : start + self.page])
        if start + self.page < len(entries):
            given = "".join(f"{key}={value[0]}&" for key, value in parameters.items() if key != "cursor")
            answer.headers["Link"] = f'<{self.url}{asked.path}?{given}cursor={start + self.page}>; rel="next"'
        return answer

    def _resolve(self, repository: _Repository, name: str, rest: Sequence[str], asked: Asked) -> _Answer:
        closed = _closed(repository, name, asked)
        if closed is not None:
            return closed
        found = repository.at(rest[1])
        if found is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {rest[1]}")
        commit, files = found
        path = "/".join(rest[2:])
        if path not in files:
            answer = _error(404, "EntryNotFound", "Entry not found")
            answer.headers["X-Repo-Commit"] = commit
            return answer
        etag = _etag(path, files[path])
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}
        if not path.endswith(LARGE):
            return _content(files[path], asked, headers)
        headers |= {"X-Linked-Size": str(_size(files[path])), "X-Linked-ETag": f'"{etag}"'}
        return _Answer(302, b"", {**headers, "Location": f"{self._other_host}/cdn/{etag}"})


def made_up(
    number: int, *, shards: int = 1, size: int = 64, tokenizer: int = 0, kind: str = "safetensors"
) -> dict[str, Content]:
    """Files of a checkpoint whose weights are made-up bytes, other ones for each number.

    Args:
        number: What tells its weights from those of others.
        shards: Number of files that the weights are in.
        size: Bytes of each of them.
        tokenizer: What tells its tokenizer from that of others.
        kind: ``safetensors`` or ``bin``.
    """
    stem = {"safetensors": "model", "bin": "pytorch_model"}[kind]
    files: dict[str, Content] = {
        "config.json": b'{"model_type": "gpt_neox"}',
        "tokenizer.json": b'{"version": "%d"}' % tokenizer,
        "README.md": b"A checkpoint.",
    }
    if shards == 1:
        return {**files, f"{stem}.{kind}": _bytes(f"{number}", size)}
    names = [f"{stem}-{place:05d}-of-{shards:05d}.{kind}" for place in range(1, shards + 1)]
    index = {"weight_map": {f"layer{place}.weight": name for place, name in enumerate(names)}}
    files |= {name: _bytes(f"{number} {name}", size) for name in names}
    return {**files, f"{stem}.{kind}.index.json": json.dumps(index).encode()}


def _bytes(told: str, size: int) -> bytes:
    return hashlib.shake_128(told.encode()).digest(size)


@dataclass
class _Answer:
    status: int
    body: bytes
    headers: dict[str, str]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    hub: Hub


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        asked = Asked(self.command, url.path, self.headers.get("Range"), token)
        with contextlib.suppress(ConnectionError), self.server.hub.answering(asked) as fault:
            if fault.status:
                answer = _Answer(fault.status, fault.body, {"Content-Type": "application/json", **fault.headers})
            else:
                answer = self.server.hub.answer(asked, parse_qs(url.query), body)
            self._send(answer, fault.cut)

    def _send(self, answer: _Answer, cut: int | None) -> None:
        self.send_response(answer.status)
        for key, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body if cut is None else answer.body[:cut])
            self.close_connection |= cut is not None


@contextlib.contextmanager
def _only_this_machine(url: str, strays: list[str]) -> Iterator[None]:
    """Turn huggingface_hub to this hub, without the token and the settings of the user, and refuse all other hosts."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _detect_agent, close_session  # type: ignore[attr-defined]  # it has no __all__

    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in _LOOPBACK:
            strays.append(str(name))
            raise OSError(f"a test must not ask {name}")
        return resolve(host, *arguments, **options)

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {"NO_PROXY": "127.0.0.1,localhost"}))
        stack.enter_context(mock.patch.object(socket, "getaddrinfo", resolved))
        stack.enter_context(mock.patch.object(constants, "ENDPOINT", url))
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        stack.enter_context(mock.patch.object(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template))
        stack.enter_context(mock.patch.object(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True))
        stack.enter_context(mock.patch.object(constants, "HF_HUB_OFFLINE", False))
        nothing: dict[str, Any] = {"standardEnvVars": [], "harnesses": {}}  # else it asks the real hub for them
        stack.enter_context(mock.patch.object(_detect_agent, "_registry", nothing))
        close_session()
        stack.callback(close_session)
        yield


def _is_due(fault: Fault, asked: Asked) -> bool:
    return fault.times != 0 and re.search(fault.pattern, f"{asked.method} {asked.path}") is not None


def _refs(repository: _Repository) -> dict[str, Any]:
    def told(name: str, folder: str) -> dict[str, str]:
        return {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": repository.commits[name]}

    branches = [told(name, "heads") for name in repository.commits if name not in repository.tags]
    tags = [told(name, "tags") for name in repository.commits if name in repository.tags]
    return {"branches": branches, "converts": [], "tags": tags}


def _entry(path: str, content: Content) -> dict[str, Any]:
    """A file in a list of files: a large one with its sha256, and in git as the pointer to it."""
    if not path.endswith(LARGE):
        return {"type": "file", "path": path, "size": _size(content), "oid": _etag(path, content)}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{_etag(path, content)}\nsize {_size(content)}\n"
    large = {"oid": _etag(path, content), "size": _size(content), "pointerSize": len(pointer)}
    return {"type": "file", "path": path, "size": _size(content), "oid": _git(pointer.encode()), "lfs": large}


def _closed(repository: _Repository, name: str, asked: Asked) -> _Answer | None:
    """Refuse who may not read the files."""
    if repository.gated is None or asked.token == repository.gated:
        return None
    if asked.token is None:
        return _error(401, "GatedRepo", f"Access to model {name} is restricted. You must have access to it.")
    return _error(403, "GatedRepo", f"Access to model {name} is restricted and you are not in the authorized list.")


def _content(content: Content, asked: Asked, headers: Mapping[str, str]) -> _Answer:
    """A file, or the part of it that is asked for."""
    if isinstance(content, Pointer):
        raise ValueError("a pointer has no content to download")
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.range or "")
    told = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    if found is None:
        return _Answer(200, content, told)
    part = content[int(found[1]) : int(found[2]) + 1 if found[2] else None]
    last = int(found[1]) + len(part) - 1
    return _Answer(206, part, {**told, "Content-Range": f"bytes {found[1]}-{last}/{len(content)}"})


def _json(value: Any) -> _Answer:
    return _Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _error(status: int, code: str | None, message: str) -> _Answer:
    headers = {"Content-Type": "application/json", "X-Error-Message": message}
    return _Answer(status, json.dumps({"error": message}).encode(), headers | ({"X-Error-Code": code} if code else {}))


def _etag(path: str, content: Content) -> str:
    if isinstance(content, Pointer):
        return content.sha256
    return hashlib.sha256(content).hexdigest() if path.endswith(LARGE) else _git(content)


def _git(content: Content) -> str:
    if isinstance(content, Pointer):
        raise ValueError("only a large file can be a pointer")
    return _sha1(b"blob %d\0" % len(content) + content)


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _size(content: Content) -> int:
    return content.size if isinstance(content, Pointer) else len(content)
