"""A wandb workspace for the runs of a project: the plane as a custom chart, curves by layer, phases and cost.

wandb keeps a custom chart by name, with placeholders for the columns of a table: `plane_preset` puts them into the spec
that `ibtrack.report.charts.plane` makes. The workspace is made with wandb-workspaces, from the extra ``wandb``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ibtrack._checks import needs
from ibtrack.analysis.groups import group_runs, is_seed, resolved_setting
from ibtrack.integrations.wandb import PAGE, STEP_KEY, TABLE, shown_key
from ibtrack.record.keys import metric_key
from ibtrack.record.logged import logged_key
from ibtrack.record.protocol import flat
from ibtrack.record.quantities import GEOMETRY, PLANE_UNITS, SHARE_OF
from ibtrack.record.trajectory import Trajectory
from ibtrack.report.run_labels import run_labels
from ibtrack.report.tables import PLANE_COLUMNS, TABLE_COLUMNS, sites_of

with needs("a dashboard", extra="wandb"):
    from ibtrack.report import charts

_WORDS = """**How to read the plane.** Right: the layers keep more of the tokens just read, I(X;Z). Up: they say more of
the tokens to come, I(Y;Z). Training is said to move up first (fitting), then left (compression). Kept and told are
shares of the ceiling, complexity and expressivity the same as fractions of log K, which fall also where the cloud of
activations only narrows. Bars are ± 1.96 standard errors over the documents of the probe; another training seed is
another run. Dashed: I(X;Z) = I(Y;Z), for orientation, no bound. `ibtrack report` makes a page that also tells which
runs can be told apart."""

_WORDS_OF_GROUPS = """Runs are grouped: a curve is the mean over the runs of a group, its band reaches from the lowest
to the highest of them."""


@dataclass(frozen=True)
class Dashboard:
    """What is sent to wandb.

    Attributes:
        chart: Arguments of ``wandb.Api().create_custom_chart``.
        workspace: A ``wandb_workspaces.workspaces.Workspace``, not saved yet.
        grouping: Sentence on how its runs are grouped.
    """

    chart: Mapping[str, Any]
    workspace: Any
    grouping: str

    @property
    def chart_id(self) -> str:
        """The name under which panels use the chart."""
        return f"{self.chart['entity']}/{self.chart['name']}"

    def requests(self) -> dict[str, Any]:
        """What `send` would send, by call, with JSON strings taken apart.

        Its two parts are the arguments of ``wandb.Api().create_custom_chart`` and the variables of the mutation
        ``upsertView``; only the ``name`` of the view is drawn when it is saved.
        """
        view = self.workspace._to_model()  # wandb-workspaces has no public way to look at it
        return {
            "createCustomChart": dict(self.chart),
            "upsertView": {
                "entityName": view.entity,
                "projectName": view.project,
                "displayName": view.display_name,
                "type": "project-view",
                "description": "",
                "spec": json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True)),
                "locked": False,
            },
        }

    def send(self, *, install_chart: bool = True) -> str:
        """Install the chart and save the workspace as a new view of the project; needs the network and a login.

        Args:
            install_chart: Whether to install the chart first; not needed where it exists.

        Returns:
            The address of the workspace.

        Raises:
            ValueError: wandb did not take the chart or the workspace; its words are in the message.
        """
        import wandb

        if install_chart:
            hint = "; if it is there already, leave this step out with --chart-installed"
            with _wandb_errors(f"the chart {self.chart_id}", hint):
                wandb.Api().create_custom_chart(**self.chart)
        with _wandb_errors(f"the workspace {self.workspace.name!r}"):
            return str(self.workspace.save().url)


@contextlib.contextmanager
def _wandb_errors(what: str, hint: str = "") -> Iterator[None]:
    try:
        yield
    except Exception as error:  # no login, no network, no right, a refusal: the classes of most are not public
        raise ValueError(f"wandb did not take {what} ({error}){hint}") from error


def make_dashboard(
    runs: Trajectory | Sequence[Trajectory],
    *,
    entity: str,
    project: str,
    name: str = "Information plane",
    prefix: str = "ib",
    unit: str = "share",
    by: str | None = None,
) -> Dashboard:
    """Make a workspace for runs that were measured as these were.

    It groups the runs of the project, so that a curve is the mean over the seeds of a recipe, and its band reaches from
    the lowest to the highest of them.

    Args:
        runs: One or more runs of the project; the layers and label orders of the first make the panels. Of several, the
            settings in which they differ, other than seeds, make the groups.
        entity: Name of a wandb user or team.
        project: Name of the wandb project.
        name: Name of the workspace.
        prefix: Prefix of the logged keys, as in the monitor.
        unit: Unit of the plane: ``share`` of the ceiling, or ``log_k``, fraction of log K. Curves by layer are of
            shares, which are what is logged unless all is.
        by: Setting that makes the groups, such as ``choices.recipe``, or its last part; it stands in the config of the
            trajectory, and under the same name in that of the wandb run.

    Raises:
        ModuleNotFoundError: wandb-workspaces, from the extra ``wandb``, is not installed.
        ValueError: There is no such unit or setting, the setting is a seed, ``entity`` or ``project`` is empty, there
            is no run, or the first names no label order.
    """
    runs = [runs] if isinstance(runs, Trajectory) else list(runs)
    if not runs:
        raise ValueError("runs must hold at least one run, got none")
    trajectory = runs[0]
    for what, value in (("entity", entity), ("project", project)):
        if not value or "/" in value:
            raise ValueError(f"{what} must be a name without a slash, got {value!r}")
    orders = list(trajectory.protocol.get("orders", ()))
    if not orders:
        raise ValueError("the trajectory must name its label orders, as those that a tracker writes do")
    ws, wr = _library()
    spec = plane_preset(unit)
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
    chart = {
        "entity": entity,
        "name": f"ibtrack-plane-{digest}",  # another spec is another chart
        "display_name": "Information plane (ibtrack)",
        "spec_type": "vega2",
        "access": "private",
        "spec": spec,
    }
    groups, grouping = _groups(runs, by)
    panels = _Panels(wr, prefix, orders, unit, is_grouped=bool(groups))
    sections = {
        "Plane": panels.plane(f"{entity}/{chart['name']}"),
        "Curves, mean over the layers": panels.curves(GEOMETRY if "geometry_rows" in trajectory.protocol else ()),
        "Curves by layer": panels.layers(sites_of(trajectory)),
        "Phases": panels.phases(),
        "Cost": panels.cost(),
    }
    fall = metric_key("compression_num_se", site="phases", prefix=prefix)
    return Dashboard(
        chart=chart,
        grouping=grouping,
        workspace=ws.Workspace(
            entity=entity,
            project=project,
            name=name,
            sections=[
                ws.Section(name=title, panels=parts, is_open=title != "Cost") for title, parts in sections.items()
            ],
            settings=ws.WorkspaceSettings(x_axis=STEP_KEY, max_runs=20),
            runset_settings=ws.RunsetSettings(
                groupby=[ws.Config(key) for key in groups],
                order=[ws.Ordering(ws.Summary(fall), ascending=False)],
                pinned_columns=[f"summary:{metric_key('phases', prefix=prefix)}"],
            ),
        ),
    )


def _groups(runs: Sequence[Trajectory], by: str | None) -> tuple[tuple[str, ...], str]:
    """Find the settings that make groups, and say so; runs need not be a sweep.

    Raises:
        ValueError: No run has the setting, or it is a seed.
    """
    named = dict(zip(run_labels(runs), runs, strict=True))
    if by is not None:
        key = resolved_setting(by, {label: flat(run.run.get("config") or {}) for label, run in named.items()})
        if is_seed(key):
            raise ValueError(f"by must be a setting that makes groups, got the seed {key!r}, which repeats a run")
        return (key,), f"runs are grouped by {key}"
    if len(runs) == 1:
        return (), "runs are not grouped: give several runs, or the setting that makes groups"
    try:
        keys = group_runs(named).by
    except ValueError as error:
        return (), f"runs are not grouped: {error}"
    return keys, f"runs are grouped by {', '.join(keys)}"


def plane_preset(unit: str = "share") -> dict[str, Any]:
    """Write the spec of the plane as a wandb custom chart, whose columns are those of the table in one unit.

    Its rows are those of the tables of all runs that are shown; the string ``order`` picks the label set. What the spec
    of a chart says of its runs is left out: their names, and the ends of the axes, which follow from the rows.

    Args:
        unit: ``share`` of the ceiling, or ``log_k``, fraction of log K.

    Raises:
        ValueError: There is no such unit.
    """
    spec = charts.to_spec(charts.plane([], unit=unit, colour="run"))
    names = _columns_of(unit)
    extents = [f"extent(pluck(data('wandb'), '${{field:{names[axis]}}}'))" for axis in PLANE_COLUMNS]
    lowest, highest = (f"{name}({extents[0]}[{i}], {extents[1]}[{i}])" for i, name in enumerate(("min", "max")))
    parameters = {
        "until": "1e15",
        "low": f"min(0, floor(100 * {lowest}) / 100) || 0",  # or so while there is no row yet
        "high": f"max(1, ceil(20 * {highest})) / 20 || 1",
        **{"left": "low", "bottom": "low", "right": "high", "top": "high"},  # one domain for both axes
        "bars": "true",
        "bottleneck": "false",
        "simultaneous": "false",  # the table has no such bands
    }
    filled = _with_placeholders({key: spec[key] for key in ("layer", "config")}, names)
    return {
        "$schema": spec["$schema"],
        "data": {"name": "wandb"},
        "title": {"text": "Information plane, ${string:order} labels", "anchor": "start"},
        "width": 420,
        "height": 420,
        "autosize": {"type": "fit", "contains": "padding"},
        "params": [{"name": name, "expr": expression} for name, expression in parameters.items()],
        "transform": [{"filter": "datum['${field:order}'] === '${string:order}'"}],
        **filled,
    }


def _columns_of(unit: str) -> dict[str, str]:
    """Map the columns of a chart to those of the table, which has the axes of the plane in both units."""
    names = dict(zip(PLANE_COLUMNS, PLANE_UNITS[unit][:2], strict=True))
    in_unit = {f"{column}{suffix}": f"{name}{suffix}" for column, name in names.items() for suffix in ("", "_se")}
    return {column: column for column in TABLE_COLUMNS} | in_unit


def _with_placeholders(part: Any, names: Mapping[str, str]) -> Any:
    """Put wandb's placeholders for columns of the table into a part of a spec."""
    if isinstance(part, dict):
        return {key: _with_placeholders(value, names) for key, value in part.items()}
    if isinstance(part, list):
        return [_with_placeholders(value, names) for value in part]
    if not isinstance(part, str):
        return part
    if part in names:
        return f"${{field:{names[part]}}}"
    return re.sub(rf"datum\.({'|'.join(names)})\b", lambda found: f"datum['${{field:{names[found[1]]}}}']", part)


class _Panels:
    """Makes the panels of each section, for keys of one prefix."""

    def __init__(self, library: Any, prefix: str, orders: Sequence[str], unit: str, *, is_grouped: bool) -> None:
        self.library, self.prefix, self.orders, self.axes = library, prefix, orders, PLANE_UNITS[unit][:2]
        self.of_groups = {"groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"} if is_grouped else {}

    def plane(self, chart_id: str) -> list[Any]:
        chart = self.library.CustomChart(
            query={"summaryTable": {"tableKey": shown_key(TABLE, self.prefix)}},
            chart_name=chart_id,
            chart_fields={column: column for column in TABLE_COLUMNS},
            chart_strings={"order": self.orders[0]},
        )
        pictures = self.library.MediaBrowser(
            title="one run at a time", media_keys=[shown_key(PAGE, self.prefix)], num_columns=1
        )
        words = f"{_WORDS} {_WORDS_OF_GROUPS}" if self.of_groups else _WORDS
        return [chart, pictures, self.library.MarkdownPanel(markdown=words)]

    def curves(self, geometry: Sequence[str]) -> list[Any]:
        others = [name for names in PLANE_UNITS.values() for name in names[:2] if name not in self.axes]
        keys = [self._key(name, "mean", self.orders[0]) for name in (*self.axes, "optimality", *others)]
        along_tokens = [self._line(key, title=f"{key}, by tokens", x=self._key("tokens_seen")) for key in keys[:2]]
        of_geometry = [self._line(self._key(name, "mean")) for name in geometry]
        return [*map(self._line, keys), *of_geometry, *along_tokens, self._line(self._key("probe_loss"))]

    def layers(self, sites: Sequence[str]) -> list[Any]:
        return [self._line(self._key(name, site, self.orders[0])) for site in sites for name in SHARE_OF.values()]

    def phases(self) -> list[Any]:
        titles = {
            "compression": "I(X;Z) falls by, share of the ceiling",
            "compression_log_k": "the same fall, fraction of log K",
            "compression_num_se": "that fall in standard errors",
            "compression_start": "compression since step",
            "fitting_end": "fitting until step",
            "narrowing_log_k": "narrowing: I(X;Z) falls by, fraction of log K",
        }
        return [
            self.library.BarPlot(
                title=title,
                metrics=[metric_key(name, site="phases", prefix=self.prefix)],
                max_runs_to_show=20,
                **self.of_groups,
            )
            for name, title in titles.items()
        ]

    def cost(self) -> list[Any]:
        return [self._line(self._key(name)) for name in ("overhead_fraction", "failed")]

    def _key(self, quantity: str, site: str | None = None, order: str | None = None) -> str:
        return logged_key(quantity, site=site, order=order, prefix=self.prefix, first_order=self.orders[0])

    def _line(self, key: str, *, title: str | None = None, x: str = STEP_KEY) -> Any:
        return self.library.LinePlot(title=title or key, x=x, y=[key], max_runs_to_show=20, **self.of_groups)


def _library() -> tuple[Any, Any]:
    """Import the modules of wandb-workspaces for workspaces and for panels."""
    with warnings.catch_warnings(), needs("a dashboard", extra="wandb"):
        warnings.simplefilter("ignore", DeprecationWarning)  # its own use of pydantic
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    return workspaces, panels
