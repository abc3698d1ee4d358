"""Trajectory files that nobody should trust: damaged, made by hand, or made to harm."""

from __future__ import annotations

import base64
import json
import tempfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests import trajectories

DEEP = 100_000
Lines = list[str]
NUMBERS = ["1e400", "-1e400", "1" + "0" * 400, "9" * 5000, "NaN", "Infinity", "1e308", "1e-320", "-0", "null", "true"]
WRONG = ['"text"', "[]", "{}", "[[1]]", '{"a":1}', "[null]", "-1", "1.5", "true", "0", '""', *NUMBERS]
TEXTS = ["\\ud800", "\\u0000", "\\u001b[31m\\u001b]0;owned\\u0007", "\\u202e", "x" * 100_000, "<script>", "\\n\\r\\t"]
CURVES = [
    '{"complexity":[0,1e9],"expressivity":[0,1]}',
    '{"complexity":[0,1],"expressivity":[0]}',
    '{"complexity":["0"],"expressivity":[0]}',
    '{"complexity":[NaN],"expressivity":[0]}',
    '{"complexity":[],"expressivity":[]}',
    '{"complexity":[0,-5],"expressivity":[0,1]}',
    '{"complexity":[0]}',
    "[[0,1]]",
]


@cache
def sound() -> tuple[str, ...]:
    """The lines of a small sound file: header, columns, three points."""
    run = trajectories.make("sound", num_points=3, num_layers=1, config={"lr": 0.1})
    with tempfile.TemporaryDirectory() as folder:
        return tuple((trajectories.write(run, Path(folder)) / "trajectory.jsonl").read_text().splitlines())


def hostile() -> Iterator[tuple[str, bytes]]:
    """Name and content of each hand-made file."""
    lines = [*sound()]
    for name, damaged in (*_headers(lines), *_points(lines), *_orders_of_lines(lines), *_older(lines)):
        yield name, ("\n".join(damaged) + "\n").encode("utf-8", "surrogatepass")
    yield "no text", b"\x89PNG\r\n\x1a\n\xff\xfe\n"
    yield "half a letter", "\n".join(lines).encode() + b"\n\xe2\x82\n"
    yield "zeros", b"\x00" * 4096
    yield "empty", b""
    yield "one break", b"\n"
    yield "cut off", "\n".join(lines).encode()[:-50]
    yield "other line breaks", "\r\n".join(lines).encode() + b"\r\n"
    yield "byte order mark", b"\xef\xbb\xbf" + "\n".join(lines).encode() + b"\n"


def _headers(lines: Lines) -> Iterator[tuple[str, Lines]]:
    header = json.loads(lines[0])
    entries = [("protocol", name) for name in ("orders", "sites", "probe", "copies", "widths", "bottleneck_curve")]
    entries += [("protocol", "geometry_rows"), ("protocol", "versions"), ("run", "name"), ("run", "config")]
    for part, entry in entries:
        for value in [*WRONG, "null"]:
            yield f"{part}.{entry} {value[:12]}", [_with(header, part, entry, value), *lines[1:]]
    for text in TEXTS:
        yield f"name {text[:8]}", [_with(header, "run", "name", f'"{text}"'), *lines[1:]]
        yield f"site {text[:8]}", [_with(header, "protocol", "sites", f'{{"{text}":"{text}"}}'), *lines[1:]]
        yield f"config {text[:8]}", [_with(header, "run", "config", f'{{"{text}":"{text}","lr":1}}'), *lines[1:]]
        yield f"tokenizer {text[:8]}", [_with(header, "protocol", "probe", f'{{"tokenizer":"{text}"}}'), *lines[1:]]
    for curve in CURVES:
        yield f"curve {curve[:24]}", [_with(header, "protocol", "bottleneck_curve", curve), *lines[1:]]
    for nested in ("[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, '{"a":' * 500 + "1" + "}" * 500):
        yield f"nested config {nested[:5]}", [_with(header, "run", "config", f'{{"a":{nested}}}'), *lines[1:]]
        yield f"nested protocol {nested[:5]}", [_with(header, "protocol", "unit", nested), *lines[1:]]
    for name in ("ibtrack/9", "ibtrack/1", 3, None, ["ibtrack/3"]):
        yield f"format {name}", [json.dumps({**header, "format": name}), *lines[1:]]
    for part in ("format", "protocol", "run"):
        yield f"no {part}", [json.dumps({k: v for k, v in header.items() if k != part}), *lines[1:]]
    for probe in (
        "{}",
        '{"name":"a","blocks":1,"block_size":2,"positions":"x"}',
        '{"hash":5}',
        '{"tokenizer_hash":[1]}',
    ):
        yield f"probe {probe}", [_with(header, "protocol", "probe", probe), *lines[1:]]


def _with(header: dict[str, Any], part: str, entry: str, value: str) -> str:
    text = json.dumps({**header, part: {**header[part], entry: "HERE"}})
    return text.replace('"HERE"', value)


def _points(lines: Lines) -> Iterator[tuple[str, Lines]]:
    """Change the second point, line 4."""

    def changed(field: str, value: str) -> Lines:
        point = json.dumps({**json.loads(lines[3]), field: "HERE"}).replace('"HERE"', value)
        return [*lines[:3], point, *lines[4:]]

    fields = [*json.loads(lines[3]), "colour"]
    for field in fields:
        for value in WRONG:
            yield f"{field} {value[:12]}", changed(field, value)
    for value in NUMBERS:
        numbers = ",".join([value] * len(json.loads(lines[1])))
        yield f"all values {value[:12]}", changed("values", f"[{numbers}]")
        yield f"one value {value[:12]}", changed("values", f'{{"ib/mean/token/complexity":{value}}}')
    for text in TEXTS:
        yield f"failure {text[:8]}", changed("failure", f'"{text}"')
        yield f"note {text[:8]}", changed("notes", f'{{"ib/mean/token/complexity":"{text}","{text}":"{text}"}}')
        yield f"key {text[:8]}", changed("values", f'{{"ib/mean/{text}":1}}')
    for key in ("", "ib", "a/b/c/d/e", "/", "//", "ib//x"):
        yield f"key {key}", changed("values", f'{{"{key}":1}}')
    yield "nested values", changed("values", '{"a":' * DEEP + "1" + "}" * DEEP)
    yield "nested notes", changed("notes", "[" * DEEP + "]" * DEEP)
    influences = json.loads(lines[3])["influences"]
    bomb = base64.b64encode(zlib.compress(b"\0" * (1 << 26))).decode()
    for field, value in [
        *((field, json.dumps(value)) for field in influences for value in (None, "", [], -1, 0, 10**9, [1], ["a"] * 3)),
        ("data", '"no base64!"'),
        ("data", f'"{bomb}"'),
        ("data", json.dumps(base64.b64encode(b"no zlib").decode())),
        ("data", json.dumps(base64.b64encode(zlib.compress(b"short")).decode())),
        ("data", json.dumps(influences["data"][: len(influences["data"]) // 8 * 4])),
        ("sites", json.dumps(["mean"] * 10_000)),
    ]:
        with_field = json.dumps({**influences, field: "HERE"}).replace('"HERE"', value)
        yield f"influences.{field} {value[:12]}", changed("influences", with_field)


def _orders_of_lines(lines: Lines) -> Iterator[tuple[str, Lines]]:
    columns, first, second = lines[1], lines[2], lines[3]
    twice = second[:-1] + ',"step":7,"step":8}'
    yield "a step twice", [*lines, second]
    yield "steps fall", [*lines[:2], *reversed(lines[2:])]
    yield "a field twice", [*lines[:3], twice, *lines[4:]]
    yield "no columns", [lines[0], *lines[2:]]
    yield "fewer columns", [lines[0], json.dumps(json.loads(columns)[:-1]), *lines[2:]]
    yield "a column twice", [lines[0], json.dumps([json.loads(columns)[0], *json.loads(columns)[:-1]]), *lines[2:]]
    yield "empty columns", [*lines[:2], "[]", *lines[2:]]
    yield "columns of numbers", [lines[0], "[1,2,3]", *lines[2:]]
    yield "columns that are no keys", [lines[0], '["loss"]', *lines[2:]]
    yield "a blank line", [*lines[:3], "", *lines[3:]]
    yield "spaces", [*lines[:3], "   ", *lines[3:]]
    yield "no json", [*lines[:3], "nonsense", *lines[3:]]
    yield "half a line", [*lines[:3], second[: len(second) // 2], *lines[4:]]
    yield "two points in a line", [*lines[:3], first + second, *lines[4:]]
    yield "a header twice", [lines[0], *lines]
    yield "only a header", lines[:1]
    yield "only columns", lines[:2]
    yield "all failed", [*lines[:2], *(json.dumps({**json.loads(p), "values": {}, "failure": "x"}) for p in lines[2:])]
    yield "deep line", [*lines[:3], "[" * DEEP, *lines[3:]]


def _older(lines: Lines) -> Iterator[tuple[str, Lines]]:
    header = json.loads(lines[0])
    keys = json.loads(lines[1])
    points = []
    for line in lines[2:]:
        point = json.loads(line)
        points.append({**point, "values": dict(zip(keys, point["values"], strict=True))})
    yield "format 2", [json.dumps({**header, "format": "ibtrack/2"}), *map(json.dumps, points)]
    first = [{("readings" if k == "values" else k): v for k, v in point.items()} for point in points]
    for notes in ({}, {"input/token": "x"}, {"": "x"}, {"/": "x"}, {"input/": "x"}):
        old = json.dumps({**header, "format": "ibtrack/1"})
        yield f"format 1 {notes}", [old, *(json.dumps({**point, "notes": notes}) for point in first)]
    both = [{**point, "readings": {}} for point in points]
    yield "values and readings", [lines[0], *map(json.dumps, both)]


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([10**400, -1, 2**63, 1e300]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


_ALIKE = {
    float: st.floats(),
    int: st.integers() | st.integers(0, 9),
    str: st.text(max_size=40) | st.sampled_from(["\x1b[31m", "\x00", "\ud800", "mean", "L00", "/"]),
}


@st.composite
def fuzzed(draw: st.DrawFn) -> bytes:
    """A sound file with one or two things wrong: a value, a name, a line, or some bytes.

    A value mostly becomes another one of its kind, so that a part of the files can be read.
    """
    lines = [*sound()]
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        if draw(st.integers(0, 7)):
            lines[at] = _with_another_part(draw, lines[at])
        else:
            lines[at : at + 1] = draw(st.lists(st.sampled_from([*lines, "", "[]", "{}", "null"]), max_size=2))
            lines = lines or [""]
    content = "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"
    if not draw(st.integers(0, 7)):
        start = draw(st.integers(0, len(content)))
        content = content[:start] + draw(st.binary(max_size=6)) + content[start + draw(st.integers(0, 12)) :]
    return content


def _with_another_part(draw: st.DrawFn, line: str) -> str:
    """Put another value, or another name, somewhere into a line of JSON."""
    try:
        top: Any = [json.loads(line)]
    except ValueError:
        return line
    inside, where = top, 0
    while isinstance(inside[where], dict | list) and inside[where] and draw(st.integers(0, 15)):
        inside = inside[where]
        names = sorted(inside) if isinstance(inside, dict) else range(len(inside))
        where = draw(st.sampled_from(names))
    if isinstance(inside, dict) and not draw(st.integers(0, 7)):
        inside[draw(_ALIKE[str])] = inside.pop(where)
    else:
        alike = _ALIKE.get(type(inside[where]), _ANY)
        inside[where] = draw(alike if draw(st.integers(0, 3)) else _ANY)
    return json.dumps(top[0])
