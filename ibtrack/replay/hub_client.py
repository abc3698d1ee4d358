"""Requests to the hub that are tried again where that helps, and what goes wrong with them in one sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ibtrack._checks import needs
from ibtrack.record.texts import reason

TIMEOUT = 60.0  # seconds without a byte of an answer
TRIES = 6
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 310.0  # seconds; the hub counts requests in windows of 5 minutes
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_NETWORK = frozenset({  # classes of httpx and requests, whichever huggingface_hub builds on
    *("TimeoutException", "NetworkError", "RemoteProtocolError", "ProxyError"),
    *("ConnectionError", "Timeout", "ChunkedEncodingError", "ContentDecodingError"),
})
_CUT = "Consistency check failed"  # of huggingface_hub, where a download ends early
_sleep = time.sleep


class HubError(OSError):
    """The hub did not give what was asked for; the message is one sentence.

    Attributes:
        transient: Whether it may be there when it is asked for again: the hub was busy or failed, the network was cut.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class HubClient:
    """Asks for what the hub tells about one repository.

    Args:
        repository: Id of the repository, ``owner/name``.
        endpoint: Address of the hub; None takes that of ``huggingface_hub``, which ``HF_ENDPOINT`` sets.
        token: Token of the hub; None takes the one that ``huggingface_hub`` knows, False takes none.
    """

    def __init__(self, repository: str, *, endpoint: str | None = None, token: str | bool | None = None) -> None:
        with needs("a repository of the hub", extra="hub"):
            from huggingface_hub import constants
            from huggingface_hub.utils import build_hf_headers
        self.repository, self.token = repository, token
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

        Raises:
            HubError: The hub does not give it.
        """
        url: str | None = f"{self.endpoint}/api/models/{self.repository}/{path}"
        while url is not None:
            answer = self._get(url, parameters)
            found = answer.json()
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
        """Ask whether files may be downloaded, for a hub that can tell.

        Raises:
            HubError: They may not.
        """
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

        try:
            self._get(f"{self.endpoint}/api/models/{self.repository}/auth-check", {})
        except HubError as error:
            told = isinstance(error.__cause__, RepositoryNotFoundError) or not isinstance(error.__cause__, HfHubHTTPError)
            if told or error.transient or _status(error.__cause__) in (401, 403):
                raise  # and a mirror that has no such address tells nothing

    def _get(self, url: str, parameters: Mapping[str, str]) -> Any:
        """Ask for an address until it answers, or until that no longer helps."""
        from huggingface_hub.utils import get_session, hf_raise_for_status

        for tries in range(1, TRIES + 1):
            answer = None
            try:
                answer = get_session().get(url, params=parameters or None, headers=self._headers, timeout=TIMEOUT)
                hf_raise_for_status(answer)
                return answer
            except Exception as error:
                said = explained(error, self.repository, self.endpoint, has_token=self.has_token)
                if not said.transient or tries == TRIES:
                    raise said from error
            _sleep(_wait({} if answer is None else answer.headers, tries))
        raise AssertionError("the last try returns or raises")


def is_transient(error: BaseException) -> bool:
    """Tell whether what failed may succeed when it is tried again: a busy or failing hub, a cut connection, no answer.

    Args:
        error: What was raised by a request to the hub, or by the download of a file.

    Example:
        >>> is_transient(HubError("the hub failed", transient=True)), is_transient(FileNotFoundError("config.json"))
        (True, False)
    """
    if isinstance(error, HubError):
        return error.transient
    return any(_is_passing(each) for each in _causes(error))


def explained(
    error: Exception, repository: str, endpoint: str, *, revision: str | None = None, has_token: bool = False
) -> HubError:
    """Make the sentence for what went wrong with a request.

    Args:
        error: What was raised by ``huggingface_hub`` or the library below it.
        repository: Id of the repository.
        endpoint: Address of the hub.
        revision: Revision that was asked for, if one was.
        has_token: Whether the request said who asks.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, HubError):
        return error
    causes = [*_causes(error)]
    status = next(filter(None, map(_status, causes)), None)

    def is_a(kind: type[BaseException]) -> bool:
        return any(isinstance(each, kind) for each in causes)

    if is_a(GatedRepoError):
        return HubError(_gated(repository, has_token=has_token))
    if is_a(RevisionNotFoundError):
        return HubError(f"{repository} has no revision {revision or 'of that name'}")
    if is_a(RepositoryNotFoundError) or status == 401:
        hidden = "the token may not see it" if has_token else "it is private and no token was given"
        return HubError(f"there is no repository {repository} at {endpoint}, or {hidden}")
    if is_a(OfflineModeIsEnabled):
        return HubError(f"{endpoint} is not asked for {repository}, as HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set")
    if is_a(HFValidationError):
        return HubError(f"a repository must be named owner/name, got {repository!r}")
    transient = is_transient(error)
    if status == 429:
        return HubError(f"{endpoint} allows no more requests for now (429); with a token it allows more", transient=True)
    if status is not None:
        words = f"{endpoint} answered a request for {repository} with the error {status}"
        return HubError(words, transient=transient)
    if transient:
        return HubError(f"{endpoint} cannot be reached, or the connection was cut: {_root(causes)}", transient=True)
    return HubError(f"a request for {repository} failed: {reason(error)}")


def _gated(repository: str, *, has_token: bool) -> str:
    if has_token:
        return f"{repository} is gated and the token may not read it: ask for access on its page"
    return f"{repository} is gated: ask for access on its page, and give a token that may read it (HF_TOKEN)"


def _wait(headers: Mapping[str, str], tries: int) -> float:
    """Tell how many seconds to wait: what the hub says, or twice as long after each try."""
    told = {key.lower(): value for key, value in headers.items()}
    reset = re.search(r"\bt=(\d+)", told.get("ratelimit", "")) if "r=0" in told.get("ratelimit", "") else None
    after = re.fullmatch(r"\s*(\d+)\s*", told.get("retry-after", ""))
    found = reset or after
    return min(float(found[1]), _LONGEST_WAIT) if found else _FIRST_WAIT * 2 ** (tries - 1)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to the one that it comes from."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _root(causes: list[BaseException]) -> str:
    return reason(next(each for each in causes if _is_passing(each)))


def _status(error: BaseException | None) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _is_passing(error: BaseException) -> bool:
    status = _status(error)
    if status is not None:
        return status in _PASSING
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & _NETWORK) or isinstance(error, (ConnectionError, TimeoutError)) or _CUT in str(error)
