"""Look into the wheel and the sdist that `make package` has built: all that belongs in them, and nothing else.

It takes the folder that they lie in.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AT_THE_TOP = (
    *(".pre-commit-config.yaml", "LICENSE", "CITATION.cff", "CHANGELOG.md", "README.md"),
    *("Makefile", "constraints.txt", "pyproject.toml"),
)
FOLDERS = (".ci", ".github", "conf", "experiments", "ibtrack", "tests")
MADE = {"MANIFEST.in", "PKG-INFO", "setup.cfg", "CONTRIBUTING.md", "mkdocs.yml"}  # by the build, or there or not


def main(folder: Path) -> None:
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    check_wheel(wheel)
    check_sdist(sdist)


def check_wheel(path: Path) -> None:
    """The package, whole, with py.typed and the parts of the page, and its metadata with the license."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    about = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    expect(path, names - about, files_below("ibtrack"))
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in about), f"{path.name} has no license"
    print(f"{path.name}: {len(names)} files, {path.stat().st_size / 1024:.0f} KiB")


def check_sdist(path: Path) -> None:
    """What tests, documentation and experiments need."""
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    made = {name for name in names if name in MADE or name.partition("/")[0] in ("docs", "ibtrack.egg-info")}
    expect(path, names - made, {*AT_THE_TOP}.union(*map(files_below, FOLDERS)))
    print(f"{path.name}: {len(names)} files, {path.stat().st_size / 1024:.0f} KiB")


def files_below(folder: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def expect(path: Path, names: set[str], wanted: set[str]) -> None:
    assert not wanted - names, f"{path.name} lacks {sorted(wanted - names)}"
    assert not names - wanted, f"{path.name} holds besides {sorted(names - wanted)}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
