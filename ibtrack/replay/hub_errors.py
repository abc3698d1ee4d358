"""What goes wrong between this machine and the hub, in one sentence each, and whether it passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ibtrack.record.texts import reason

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_NETWORK = frozenset(
    {  # classes of httpx and requests, whichever huggingface_hub builds on
        *("TimeoutException", "NetworkError", "RemoteProtocolError", "ProxyError"),
        *("ConnectionError", "Timeout", "ChunkedEncodingError", "ContentDecodingError"),
    }
)
_CUT = "Consistency check failed"  # of huggingface_hub, where a download ends early


class HubError(OSError):
    """The hub did not give what was asked for; the message is one sentence.

    Attributes:
        transient: Whether it may be there when it is asked for again: the hub was busy or failed, the network was cut.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


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

    Raises:
        Exception: The error itself, where it is none of the hub, the network or this machine.
    """
    if isinstance(error, HubError):
        return error
    causes = [*_causes(error)]
    refused = _refused(causes, repository, endpoint, revision=revision, has_token=has_token)
    if refused is not None:
        return HubError(refused)
    status = next(filter(None, map(status_of, causes)), None)
    if status == 429:
        words = f"{endpoint} allows no more requests for now (429); with a token it allows more"
        return HubError(words, transient=True)
    if status is not None:
        words = f"{endpoint} answered a request for {repository} with the error {status}"
        return HubError(words, transient=status in _PASSING)
    passing = next(filter(_is_passing, causes), None)
    if passing is not None:
        return HubError(f"{endpoint} cannot be reached, or the connection was cut: {reason(passing)}", transient=True)
    if type(error).__module__ == "builtins" and not isinstance(error, OSError):
        raise error  # a fault of this program, not of the hub
    return HubError(f"a request for {repository} failed: {reason(error)}")


def _refused(
    causes: Sequence[BaseException], repository: str, endpoint: str, *, revision: str | None, has_token: bool
) -> str | None:
    """Say why the hub will not give what was asked for, however often it is asked; None where that is not known."""
    from huggingface_hub import errors

    def is_a(kind: type[BaseException]) -> bool:
        return any(isinstance(each, kind) for each in causes)

    missing = is_a(errors.RepositoryNotFoundError) or 401 in map(status_of, causes)
    hidden = "the token may not see it" if has_token else "it is private and no token was given"
    said = {
        _gated(repository, has_token=has_token): is_a(errors.GatedRepoError),
        f"{repository} has no revision {revision or 'of that name'}": is_a(errors.RevisionNotFoundError),
        f"there is no repository {repository} at {endpoint}, or {hidden}": missing,
        f"{endpoint} is not asked for {repository}, as HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set": is_a(
            errors.OfflineModeIsEnabled
        ),
        f"a repository must be named owner/name, got {repository!r}": is_a(errors.HFValidationError),
    }
    return next((sentence for sentence, is_so in said.items() if is_so), None)


def _gated(repository: str, *, has_token: bool) -> str:
    if has_token:
        return f"{repository} is gated and the token may not read it: ask for access on its page"
    return f"{repository} is gated: ask for access on its page, and give a token that may read it (HF_TOKEN)"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to the one that it comes from.

    Yields:
        The error, what it comes from, and so on.
    """
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def status_of(error: BaseException | None) -> int | None:
    """Read the status of the answer that an error comes from; None where there was no answer.

    Args:
        error: What was raised by ``huggingface_hub`` or the library below it.
    """
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _is_passing(error: BaseException) -> bool:
    status = status_of(error)
    if status is not None:
        return status in _PASSING
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & _NETWORK) or isinstance(error, (ConnectionError, TimeoutError)) or _CUT in str(error)
