"""The error of a checkpoint that cannot be loaded: a replay goes on after it, and ends at any other `ValueError`."""

from ibtrack.replay import LoadingError


def test_it_is_told_from_a_wrong_argument() -> None:
    assert issubclass(LoadingError, ValueError)
    assert not isinstance(ValueError("dtype must be …"), LoadingError)
