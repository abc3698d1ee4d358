"""The import map: each module imports only from those before it, and nothing heavy comes with the package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ibtrack"
TIERS = [
    {"_checks", "keys", "guard", "processes"},
    {"labels", "texts", "bottleneck", "activations", "assignments", "counts", "schedules", "trajectory", "transforms"},
    {"bags", "forward", "rows", "preferences", "swaps", "differences"},
    {"documents", "looks", "phases"},
    {"classes", "sites", "paths", "ranking"},
    {"groups", "charts"},
    {"sums", "probe"},
    {"moments"},
    {"entropies"},
    {"readings", "loggers", "report"},
    {"plane", "dashboard"},
    {"metrics", "estimators", "cli"},
    {"measurement"},
    {"tracker"},
    {"callback", "huggingface"},
    {"__init__"},
]
MEASURING = {
    *(
        "labels",
        "texts",
        "preferences",
        "bottleneck",
        "activations",
        "transforms",
        "assignments",
        "counts",
        "bags",
        "documents",
        "classes",
        "groups",
    ),
    *(
        "sites",
        "sums",
        "moments",
        "entropies",
        "swaps",
        "readings",
        "probe",
        "plane",
        "metrics",
        "estimators",
        "forward",
        "guard",
    ),
    "measurement",
}
SHOWING = {
    *("trajectory", "rows", "differences", "looks", "paths", "charts", "phases", "ranking"),
    *("loggers", "dashboard", "report", "cli"),
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "ibtrack":
            found |= {alias.name for alias in node.names if (PACKAGE / f"{alias.name}.py").exists()}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ibtrack."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ibtrack.")}
    return found


ESTIMATORS = set().union(*(imports(path) for path in (PACKAGE / "estimators").glob("*.py"))) - {"estimators"}
MODULES = {**{path.stem: imports(path) for path in PACKAGE.glob("*.py")}, "estimators": ESTIMATORS}


def test_every_module_has_its_place():
    assert set(MODULES) == set().union(*TIERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    tier = next(number for number, names in enumerate(TIERS) if module in names)
    allowed = set().union(*TIERS[:tier])
    assert MODULES[module] <= allowed


def test_measuring_and_showing_do_not_know_each_other():
    for module in MEASURING:
        assert not MODULES[module] & SHOWING, module
    for module in SHOWING:
        assert not MODULES[module] & MEASURING, module


def test_the_terminal_commands_need_no_torch():
    code = "import ibtrack.cli, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_package_never_reads_what_is_around_it():
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text()
        assert "import experiments" not in source and "from experiments" not in source


def test_import_brings_nothing_heavy():
    heavy = ("wandb", "altair", "vl_convert", "transformers", "datasets", "hydra")
    code = f"from ibtrack import InformationPlaneMonitor; import sys; print([m for m in {heavy} if m in sys.modules])"
    baseline = code.replace("from ibtrack import InformationPlaneMonitor", "import lightning.pytorch")
    loaded, before = (
        subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True).stdout
        for c in (code, baseline)
    )
    assert loaded == before
