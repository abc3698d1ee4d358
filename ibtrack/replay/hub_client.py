"""Requests to the hub, which are tried again where that helps."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ibtrack._checks import needs
from ibtrack.record.texts import reason
from ibtrack.replay.hub_errors import HubError, explained

TIMEOUT = 60.0  # seconds without a byte of an answer
TRIES = 5
_TRIES_OF_A_STRANGER = 2  # of a hub that has not answered once: there is no network, or the address is wrong
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 310.0  # seconds; the hub counts requests in windows of 5 minutes
_SAID_FROM = 5.0  # seconds of waiting that are said
_log = logging.getLogger(__name__)


class HubClient:
    """Asks for what the hub tells about one repository.

    Args:
        repository: Id of the repository, ``owner/name``.
        endpoint: Address of the hub; None takes that of ``huggingface_hub``, which ``HF_ENDPOINT`` sets.
        token: Token of the hub; None takes the one that ``huggingface_hub`` knows, False takes none.

    Attributes:
        stopped: Set to let requests that wait for their next try fail at once.
    """

    def __init__(self, repository: str, *, endpoint: str | None = None, token: str | bool | None = None) -> None:
        with needs("a repository of the hub", extra="hub"):
            from huggingface_hub import constants
            from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # it has no __all__
        self.repository, self.token = repository, token
        self.stopped = threading.Event()
        self._has_answered, self._said_until, self._lock = False, 0.0, threading.Lock()
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        try:
            self._headers = build_hf_headers(token=token, library_name="ibtrack")
        except OSError as error:  # token=True, and none is saved
            raise HubError(f"token=True needs a token that is saved on this machine: {reason(error)}") from error

    @property
    def has_token(self) -> bool:
        """Whether requests say who asks."""
        return "authorization" in {key.lower() for key in self._headers}

    def listed(self, path: str, **parameters: str) -> Iterator[Any]:
        """List what an address of the repository has, over all of its pages.

        Args:
            path: What follows the repository in the address of the interface, such as ``refs``.
            **parameters: Parameters of the address.

        Yields:
            The entries of a list, or the one answer that is no list.

        Raises:
            HubError: The hub does not give it.
        """
        url: str | None = f"{self.endpoint}/api/models/{self.repository}/{path}"
        while url is not None:
            answer = self._get(url, parameters)
            try:
                found = answer.json()
            except ValueError as error:
                raise HubError(f"{self.endpoint} does not answer as a hub does: {reason(error)}") from error
            yield from found if isinstance(found, list) else [found]
            url, parameters = answer.links.get("next", {}).get("url"), {}  # its address holds the parameters

    def text(self, path: str, commit: str) -> bytes:
        """Read a small file.

        Args:
            path: Path of the file in the repository.
            commit: Commit to read it at.

        Raises:
            HubError: The hub does not give it.
        """
        content: bytes = self._get(f"{self.endpoint}/{self.repository}/resolve/{commit}/{quote(path)}", {}).content
        return content

    def check_access(self) -> None:
        """Ask whether the files of a gated repository may be downloaded, of which the lists may be open to all.

        Whatever else the hub answers tells nothing: not every mirror has this address.

        Raises:
            HubError: They may not, or the hub cannot be reached.
        """
        from huggingface_hub.errors import GatedRepoError

        try:
            self._get(f"{self.endpoint}/api/models/{self.repository}/auth-check", {})
        except HubError as error:
            if error.transient or isinstance(error.__cause__, GatedRepoError):
                raise

    def _get(self, url: str, parameters: Mapping[str, str]) -> Any:
        """Ask for an address until it answers, or until that no longer helps."""
        from huggingface_hub.utils import get_session, hf_raise_for_status  # type: ignore[attr-defined]  # it has no __all__

        tries = 0
        while True:
            tries += 1
            answer = None
            try:
                answer = get_session().get(url, params=parameters or None, headers=self._headers, timeout=TIMEOUT)
                self._has_answered = True
                hf_raise_for_status(answer)
                return answer
            except Exception as error:
                said = explained(error, self.repository, self.endpoint, has_token=self.has_token)
                most = TRIES if self._has_answered else _TRIES_OF_A_STRANGER
                if not said.transient or tries >= most or self.stopped.is_set():
                    raise said from error
            self._rest(_wait({} if answer is None else answer.headers, tries))

    def _rest(self, seconds: float) -> None:
        """Wait before the next try, and say so once where that takes long."""
        with self._lock:
            now = time.monotonic()
            if seconds >= _SAID_FROM and now >= self._said_until:
                self._said_until = now + seconds
                _log.warning(
                    "%s asks to wait %.0f s before the next request for %s", self.endpoint, seconds, self.repository
                )
        self.stopped.wait(seconds)


def _wait(headers: Mapping[str, str], tries: int) -> float:
    """Tell how many seconds to wait: what the hub says, or twice as long after each try."""
    told = {key.lower(): value for key, value in headers.items()}
    reset = re.search(r"\bt=(\d+)", told.get("ratelimit", "")) if "r=0" in told.get("ratelimit", "") else None
    after = re.fullmatch(r"\s*(\d+)\s*", told.get("retry-after", ""))
    found = reset or after
    return min(float(found[1]), _LONGEST_WAIT) if found else _FIRST_WAIT * 2 ** (tries - 1)
