"""Print the figures of all benchmarks that have left their JSON in a folder, as one table.

python experiments/benchmarks/table.py outputs/bench
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import load, table_lines

ORDER = ("reference", "probe", "overhead", "scaling", "imports", "copies", "overlap", "probe_size", "gpu")


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the files that the benchmarks wrote with --json.")],
) -> None:
    """Print the figures of every benchmark, and the machine and the versions that it ran with.

    Raises:
        typer.BadParameter: The folder has no such files.
    """
    loaded = [load(file) for file in sorted(folder.glob("*.json"))]
    if not loaded:
        raise typer.BadParameter(f"folder must hold the JSON files of benchmarks, got {folder} without any")
    loaded.sort(key=lambda pair: _place(pair[0]["program"]))
    print(*table_lines(figure for _, figures in loaded for figure in figures), sep="\n")
    print()
    for content, _ in loaded:
        print(f"{content['program']}: {content['date']}, {_words(content['machine'])}; {_words(content['versions'])}")


def _place(program: str) -> int:
    return ORDER.index(program) if program in ORDER else len(ORDER)


def _words(facts: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


if __name__ == "__main__":
    typer.run(main)
