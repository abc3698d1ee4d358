"""What is wrong with a file of settings, in words."""

from typing import Annotated, Any

import msgspec
import pytest

from ibtrack.replay.validation import in_words


class Model(msgspec.Struct):
    source: str
    name: str | None = None
    points: Annotated[int, msgspec.Meta(ge=2)] = 2
    rate: float = 0.5


class Models(msgspec.Struct):
    models: Annotated[list[Model], msgspec.Meta(min_length=1)]
    is_long: bool = False


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"models": [{"source": "a", "name": 70}]},
            r"`models[0].name` must be a text or nothing, got a whole number",
        ),
        ({"models": [{"source": "a", "points": 1}]}, "`models[0].points` must be a whole number >= 2"),
        ({"models": [{"source": "a", "rate": "x"}]}, "`models[0].rate` must be a number, got a text"),
        ({"models": []}, "`models` must be a list of length >= 1"),
        ({"models": {"a": 1}}, "`models` must be a list, got a group of entries"),
        ({"models": [{"source": "a"}], "is_long": 1}, "`is_long` must be true or false, got a whole number"),
        ({}, "it lacks the entry `models`"),
        ({"models": [{}]}, "`models[0]` lacks the entry `source`"),
        ([], "it must be a group of entries, got a list"),
    ],
)
def test_an_error_of_types_is_said_in_words(content: Any, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(content, Models)
    assert in_words(caught.value) == words


def test_other_errors_are_left_as_they_are() -> None:
    assert in_words(msgspec.ValidationError("Invalid enum value 'x'")) == "Invalid enum value 'x'"
