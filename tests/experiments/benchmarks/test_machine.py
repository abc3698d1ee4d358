"""The description of the machine that a benchmark ran on."""

from __future__ import annotations

from pathlib import Path

from experiments.benchmarks.machine import machine, processor


def test_processor_is_named(tmp_path: Path) -> None:
    information = tmp_path / "cpuinfo"
    information.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Another\n")
    assert processor(information) == "Some CPU @ 2 GHz"
    assert machine()["processor"] == processor() != ""
