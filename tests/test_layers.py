"""The import map: each package imports only from those before it, and nothing heavy comes with the package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ibtrack"
BELOW = {"_checks"}
MAY_IMPORT: dict[str, set[str]] = {
    "_checks": set(),
    "distributed": {"record"},
    "schedules": BELOW,
    "record": BELOW,
    "information": BELOW | {"distributed", "record"},
    "probe": BELOW | {"record", "information"},
    "capture": BELOW,
    "metrics": BELOW | {"record", "information", "probe"},
    "analysis": BELOW | {"record"},
    "report": BELOW | {"record", "analysis"},
    "live": BELOW | {"record", "analysis", "report"},
    "tracking": BELOW
    | {"distributed", "schedules", "record", "information", "probe", "capture", "metrics", "analysis"},
    "replay": BELOW | {"distributed", "schedules", "record", "information", "probe", "capture", "tracking", "analysis"},
    "integrations": BELOW
    | {"schedules", "record", "information", "probe", "capture", "tracking", "analysis", "report"},
    "cli": BELOW
    | {"record", "analysis", "report", "integrations", "schedules", "probe", "information", "capture", "tracking"}
    | {"replay", "live"},
    "__main__": {"cli"},
    "__init__": {"schedules", "record", "information", "distributed", "probe", "tracking", "integrations"},
}


def imports(path: Path) -> set[str]:
    """Names of the packages and top modules of ibtrack that a file imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "ibtrack":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ibtrack."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ibtrack.")}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_package_has_its_place() -> None:
    assert {place(path) for path in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    assert imports(path) - {place(path)} <= MAY_IMPORT[place(path)]


def test_the_terminal_commands_need_no_torch() -> None:
    code = "import ibtrack.cli, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_package_never_reads_what_is_around_it() -> None:
    for path in FILES:
        source = path.read_text()
        assert "import experiments" not in source
        assert "from experiments" not in source


def test_import_brings_nothing_heavy() -> None:
    heavy = ("wandb", "altair", "vl_convert", "transformers", "datasets", "hydra")
    code = f"from ibtrack import InformationPlaneMonitor; import sys; print([m for m in {heavy} if m in sys.modules])"
    baseline = code.replace("from ibtrack import InformationPlaneMonitor", "import lightning.pytorch")
    loaded, before = (
        subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True).stdout
        for c in (code, baseline)
    )
    assert loaded == before


def test_every_module_has_its_tests() -> None:
    modules = [path.relative_to(PACKAGE) for path in FILES if path.name not in ("__init__.py", "__main__.py")]
    tests = PACKAGE.parent / "tests"
    expected = [tests / module.parent / f"test_{module.name.removeprefix('_')}" for module in modules]
    assert [str(path) for path in expected if not path.exists()] == []
