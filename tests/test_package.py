"""What is installed with the package and what is not: extras and their sentences, and the metadata."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ibtrack
from ibtrack._checks import needs
from ibtrack.integrations.wandb import WandbLog
from ibtrack.report import charts, html
from tests import trajectories
from tests.bare_use import FROM_EXTRAS
from tests.models import Model, probe

ROOT = Path(__file__).parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"


def requirements(name: str) -> list[Requirement]:
    """What a distribution requires here when it is installed without an extra."""
    wanted = map(Requirement, metadata.requires(name) or ())
    return [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]


def with_all_they_require(names: list[str]) -> set[str]:
    """Distributions, and what they require, and what that requires."""
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name not in seen:
            seen.add(name)
            names += [canonicalize_name(one.name) for one in requirements(name)]
    return seen


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder of packages like that of an environment in which only ``pip install ibtrack`` has run."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "ibtrack").symlink_to(ROOT / "ibtrack")
    for name in with_all_they_require([one.name for one in requirements("ibtrack")]):
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
        for top in tops:
            (folder / top).symlink_to(str(distribution.locate_file(top)))
    return folder


def test_the_base_dependencies_are_enough(bare: Any, tmp_path: Path) -> None:
    # alone in a folder, as Python looks for modules beside a script
    script = shutil.copy(ROOT / "tests" / "bare_use.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-S", script, tmp_path / "out"],
        env={**os.environ, "PYTHONPATH": str(bare), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    where, _, *sentences = done.stdout.splitlines()
    assert where == f"ibtrack {ibtrack.__version__} of {bare / 'ibtrack'}"
    assert sentences == [
        "the report needs altair, which is not installed: pip install 'ibtrack[report]'",
        "a chart needs altair, which is not installed: pip install 'ibtrack[report]'",
        "a Parquet file needs pyarrow, which is not installed: pip install 'ibtrack[parquet]'",
        "a dashboard needs altair, which is not installed: pip install 'ibtrack[wandb]'",
        "the Lightning callback needs lightning, which is not installed: pip install 'ibtrack[lightning]'",
        "the callback for transformers.Trainer needs transformers, which is not installed: pip install 'ibtrack[hub]'",
    ]


@pytest.mark.parametrize(
    ("module", "package", "sentence"),
    [
        ("integrations.lightning", "lightning", r"the Lightning callback needs lightning, .*'ibtrack\[lightning\]'"),
        ("integrations.huggingface", "transformers", r"the callback for .* needs transformers, .*'ibtrack\[hub\]'"),
        ("integrations.wandb_workspace", "altair", r"a dashboard needs altair, .*'ibtrack\[wandb\]'"),
        ("report.html", "altair", r"the report needs altair, .*'ibtrack\[report\]'"),
        *(
            (f"report.{name}", "altair", r"a chart needs altair, .*'ibtrack\[report\]'")
            for name in ("charts", "plane_layers", "style")
        ),
    ],
)
def test_a_module_without_its_package_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, module: Any, package: Any, sentence: Any
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("report.charts", "report.plane_layers", "report.style", "report.payload", module):
        monkeypatch.delitem(sys.modules, f"ibtrack.{name}", raising=False)
    for name in ("charts", "plane_layers", "style", "payload"):
        monkeypatch.delattr(f"ibtrack.report.{name}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=f"^{sentence}$"):
        importlib.import_module(f"ibtrack.{module}")


@pytest.mark.parametrize(
    ("package", "act", "sentence"),
    [
        ("pyarrow", lambda run, path: run.to_parquet(path), r"a Parquet file needs pyarrow, .*'ibtrack\[parquet\]'"),
        (
            "vl_convert",
            lambda run, path: charts.save_png(charts.plane(run), path),
            r"a PNG of a chart needs vl-convert-python, .*'ibtrack\[report\]'",
        ),
        (
            "vl_convert",
            lambda run, path: html.write_report([run], path),
            r"the report needs vl-convert-python, .*'ibtrack\[report\]'",
        ),
    ],
)
def test_a_file_without_its_package_is_one_sentence_and_not_begun(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str, act: Any, sentence: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    html._vega.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=f"^{sentence}$"):
        act(trajectories.make(num_points=3), tmp_path / "file")
    assert not [*tmp_path.iterdir()]


class _Run:
    name, id = "run", "1x"

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}

    def define_metric(self, key: Any, step_metric: Any) -> None:
        pass

    def log(self, row: Any, commit: Any = True) -> None:
        self.rows.append(row)


def test_without_pillow_wandb_gets_the_numbers_and_the_picture_is_missed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setattr("ibtrack.report.draw.plane_page", lambda trajectory: "<p>a page</p>")
    trajectory = trajectories.make(num_points=3)
    run = _Run()
    log = WandbLog(run)
    sentence = r"^the picture of the plane in wandb needs pillow, .*: pip install 'ibtrack\[wandb\]'$"
    with pytest.raises(ModuleNotFoundError, match=sentence):
        log.finish(trajectory)
    assert {key for row in run.rows for key in row} == {"ib_more/points", "ib/information_plane", "trainer/global_step"}
    assert run.rows[-1] == {"trainer/global_step": 4000}
    log.finish(trajectory)
    assert not any("ib/information_plane_picture" in row for row in run.rows)


def test_a_package_that_is_installed_but_broken_is_not_called_missing() -> None:
    with pytest.raises(ImportError, match="cannot import name 'no_such_name'"), needs("a chart", extra="report"):
        exec("from math import no_such_name")


def test_a_package_that_says_itself_what_it_lacks_is_heard() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"^install the plugin$"), needs("a chart", extra="report"):
        raise ModuleNotFoundError("install the plugin")


def test_every_extra_that_a_sentence_names_exists() -> None:
    named = {
        extra
        for path in (ROOT / "ibtrack").rglob("*.py")
        for extra in re.findall(r'needs\("[^"]+", extra="(\w+)"\)', path.read_text())
    }
    assert named == {"lightning", "report", "wandb", "hub", "parquet"}
    assert named | {"all"} <= set(metadata.metadata("ibtrack").get_all("Provides-Extra") or ())


def test_all_brings_every_package_that_the_library_can_use() -> None:
    wanted = [Requirement(text) for text in metadata.requires("ibtrack") or ()]

    def brought_by(extra: str) -> set[str]:
        brought: set[str] = set()
        for one in wanted:
            if one.marker is not None and one.marker.evaluate({"extra": extra}):
                inside = one.name == "ibtrack"
                brought |= set().union(*map(brought_by, one.extras)) if inside else {canonicalize_name(one.name)}
        return brought

    from_extras = {*FROM_EXTRAS} - {"hydra", "omegaconf"}  # these are for experiments/
    distributions = metadata.packages_distributions()
    assert brought_by("all") == {canonicalize_name(name) for module in from_extras for name in distributions[module]}


def test_lightning_is_in_the_protocol_where_it_is_loaded() -> None:
    lightning = importlib.import_module("lightning")
    tracker = ibtrack.InformationPlaneTracker(probe())
    tracker.start(Model())
    assert tracker.protocol["versions"]["lightning"] == lightning.__version__


def test_the_version_is_the_same_everywhere() -> None:
    assert metadata.version("ibtrack") == ibtrack.__version__
    assert f"\nversion: {ibtrack.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {ibtrack.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_workflows_run_on_every_python_that_the_metadata_names() -> None:
    matrix = yaml.safe_load((WORKFLOWS / "tests.yml").read_text())["jobs"]["tests"]["strategy"]["matrix"]["python"]
    classifiers = metadata.metadata("ibtrack").get_all("Classifier") or ()
    named = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(classifiers))
    assert matrix == named
    assert metadata.metadata("ibtrack")["Requires-Python"] == f">={named[0]}"


@pytest.mark.parametrize("path", [ROOT / ".ci" / "run", *WORKFLOWS.glob("*.yml")], ids=lambda path: path.name)
def test_ci_goes_through_doors_that_exist(path: Any) -> None:
    targets = re.findall(r"^(?: *- run: )?make (\S+)$", path.read_text(), flags=re.M)
    makefile = (ROOT / "Makefile").read_text()
    assert targets
    assert all(f"\n{target}: $(READY)\n" in makefile for target in targets)
