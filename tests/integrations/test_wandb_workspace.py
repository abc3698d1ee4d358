"""What would be sent to wandb, held against what the libraries themselves make and send."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import jsonschema
import numpy as np
import pytest
import wandb
from PIL import Image
from typer.testing import CliRunner
from wandb.proto import wandb_api_pb2

from ibtrack.cli import app
from ibtrack.integrations import wandb_workspace
from ibtrack.integrations.wandb_workspace import Dashboard, make_dashboard, plane_preset
from ibtrack.record.logged import logged_metrics
from ibtrack.record.quantities import GEOMETRY, PLANE_UNITS
from ibtrack.report import charts, style, tables
from tests import trajectories
from tests.report.test_charts import near
from tests.wandb_server import WandbServer

ws, wr = wandb_workspace._library()


@pytest.fixture
def made() -> Dashboard:
    return make_dashboard(trajectories.make(num_layers=2), entity="team", project="plane")


def panels(made: Dashboard) -> list[Any]:
    return [panel for section in made.workspace.sections for panel in section.panels]


def keys_of(panel: Any) -> list[str]:
    """What a panel reads of a run."""
    config = panel._to_model().config
    return [*(getattr(config, "metrics", None) or []), *(getattr(config, "media_keys", None) or [])]


class Sent(list[tuple[str, dict[str, Any]]]):
    """Stands for the service behind ``wandb.Api()`` and keeps what it is asked."""

    app_url = "https://wandb.test/"

    def send_api_request(self, request: Any) -> Any:
        chart = request.create_custom_chart_request
        self.append(("createCustomChart", {field.name: value for field, value in chart.ListFields()}))
        messages: Any = wandb_api_pb2  # protobuf makes its classes when it is imported
        response = messages.ApiResponse()
        response.create_custom_chart_response.chart_id = f"{chart.entity}/{chart.name}"
        return response

    def execute_graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        found = re.search(r"(\w+)\(\s*input", query)
        assert found is not None
        self.append((found.group(1), variables))
        return {"upsertView": {"view": {"name": "nw-1x-v", "id": "1"}}}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """A real ``wandb.Api`` whose service writes down instead of sending."""
    service = Sent()
    api: Any = object.__new__(wandb.Api)
    api._service_api = service
    monkeypatch.setattr(wandb, "Api", lambda: api)
    monkeypatch.setattr(wandb, "termlog", lambda *args, **kwargs: None)
    return service


def test_the_dry_run_is_what_the_libraries_send(made: Dashboard, sent: Sent) -> None:
    assert made.send() == "https://wandb.test/team/plane?nw=1x"
    (first, chart), (second, view) = sent
    requests = made.requests()
    assert [first, second] == [*requests]
    assert json.loads(chart.pop("spec")) == requests[first]["spec"]
    assert requests[first]["access"] == "private"
    assert chart.pop("access") == requests[first]["access"].upper()  # as create_custom_chart sends it
    assert chart == {key: value for key, value in requests[first].items() if key not in ("spec", "access")}
    assert view.pop("name").startswith("nw-")  # drawn when it is saved
    assert json.loads(view.pop("spec")) == requests[second].pop("spec")
    assert view == requests[second]


def test_a_chart_that_is_installed_is_left_alone(made: Dashboard, sent: Sent) -> None:
    made.send(install_chart=False)
    assert [call for call, _ in sent] == ["upsertView"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("send_api_request", r"the chart team/ibtrack-plane-\w{8} \(name is taken\); if it is there already"),
        ("execute_graphql", r"the workspace 'Information plane' \(name is taken\)$"),
    ],
)
def test_what_wandb_says_against_it_is_told(
    made: Dashboard, sent: Sent, monkeypatch: pytest.MonkeyPatch, call: str, words: str
) -> None:
    def refuse(self: Sent, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("name is taken")

    monkeypatch.setattr(Sent, call, refuse)
    with pytest.raises(ValueError, match=f"wandb did not take {words}"):
        made.send()


def test_the_workspace_survives_the_librarys_own_reading(made: Dashboard) -> None:
    view = made.workspace._to_model()
    again = ws.Workspace._from_model(type(view).model_validate(view.model_dump()))
    assert again._to_model().model_dump(by_alias=True) == view.model_dump(by_alias=True)
    names = ["Plane", "Curves, mean over the layers", "Curves by layer", "Phases", "Cost"]
    assert [section.name for section in again.sections] == names


def test_panels_show_what_is_logged(made: Dashboard) -> None:
    logged = {*logged_metrics(trajectories.make(num_layers=2).points[-1])}
    logged |= {"ib/information_plane", *(f"ib/phases/{name}" for name in ("compression", "compression_num_se"))}
    logged |= {"ib/phases/compression_start", "ib/phases/fitting_end"}
    logged |= {f"ib/phases/{name}_log_k" for name in ("compression", "narrowing")}
    shown = {key for panel in panels(made) for key in keys_of(panel)}
    assert shown <= logged
    assert {"ib_layers/embed/token/kept", "ib_layers/L01/token/told", "ib/mean/token/complexity"} <= shown
    assert "ib_run/overhead_fraction" in shown
    axes = {panel.x.name if hasattr(panel.x, "name") else panel.x for panel in panels(made) if hasattr(panel, "x")}
    assert axes == {"trainer/global_step", "ib_run/tokens_seen"}


def test_the_geometry_has_its_panels_where_it_was_measured(made: Dashboard) -> None:
    run = trajectories.make(num_layers=2, geometry=True)
    of_run = make_dashboard(run, entity="team", project="plane")
    shown, without = ({key for panel in panels(each) for key in keys_of(panel)} for each in (of_run, made))
    assert shown - without == {f"ib_more/mean/{name}" for name in GEOMETRY}
    assert shown - without <= {*logged_metrics(run.points[-1])}


def test_another_prefix_and_order_are_used_throughout() -> None:
    run = trajectories.make(num_layers=1, orders=["bigram"])
    made = make_dashboard(run, entity="team", project="plane", prefix="train")
    keys = {key for panel in panels(made) for key in keys_of(panel)}
    assert {key.split("/")[0] for key in keys} == {"train", "train_layers", "train_run"}
    assert "train/mean/bigram/kept" in keys
    (chart,) = [panel for panel in panels(made) if isinstance(panel, wr.CustomChart)]
    assert chart.query == {"summaryTable": {"tableKey": "train_more/points"}}
    assert chart.chart_strings == {"order": "bigram"}


def test_the_chart_panel_asks_as_wandbs_own_charts_do(made: Dashboard) -> None:
    """`wandb.plot_table` writes such a panel into a run's config; only the table's key is made differently there."""
    (chart,) = [panel for panel in panels(made) if isinstance(panel, wr.CustomChart)]
    ours = chart._to_model().config.model_dump(by_alias=True, exclude_none=True)
    table = wandb.Table(columns=[*tables.TABLE_COLUMNS])
    theirs = wandb.plot_table(made.chart_id, table, dict(chart.chart_fields), dict(chart.chart_strings))
    theirs.set_key("ib_more/points")
    panel = theirs.spec.config_value["panel_config"]
    assert {key: panel[key] for key in ours if key != "userQuery"} == {
        key: ours[key] for key in ours if key != "userQuery"
    }

    def asked(query: dict[str, Any]) -> Any:
        (found,) = [f for f in query["userQuery"]["queryFields"][0]["fields"] if f["name"] == "summaryTable"]
        return found["args"]

    assert asked(panel) == [{"name": "tableKey", "value": "ib_more/points_table"}]
    assert asked(ours) == [{"name": "tableKey", "value": "ib_more/points"}]


def test_placeholders_name_columns_of_the_table_and_nothing_else() -> None:
    preset = json.dumps(plane_preset())
    assert {*re.findall(r"\$\{field:(\w+)\}", preset)} <= {*tables.TABLE_COLUMNS}
    assert {*re.findall(r"\$\{string:(\w+)\}", preset)} == {"order"}
    assert not re.search(rf"datum\.({'|'.join(tables.TABLE_COLUMNS)})\b", preset)
    assert "values" not in preset
    assert "datasets" not in preset


@pytest.mark.parametrize("unit", PLANE_UNITS)
def test_the_preset_reads_the_columns_of_its_unit(unit: str) -> None:
    fields = {*re.findall(r"\$\{field:(\w+)\}", json.dumps(plane_preset(unit)))}
    others = {name for other in PLANE_UNITS if other != unit for name in PLANE_UNITS[other][:2]}
    assert {*PLANE_UNITS[unit][:2], f"{PLANE_UNITS[unit].complexity}_se"} <= fields
    assert not others & fields


def test_a_dashboard_in_fractions_of_log_k_is_another_chart(made: Dashboard) -> None:
    other = make_dashboard(trajectories.make(num_layers=2), entity="team", project="plane", unit="log_k")
    assert other.chart_id != made.chart_id
    first = next(panel for panel in panels(other) if isinstance(panel, wr.LinePlot))
    assert keys_of(first) == ["ib/mean/token/complexity"]
    with pytest.raises(ValueError, match="unit must be one of 'share', 'log_k', got 'bits'"):
        make_dashboard(trajectories.make(num_points=1), entity="team", project="plane", unit="bits")


@pytest.mark.parametrize("unit", PLANE_UNITS)
def test_the_preset_draws_the_plane_of_charts(tmp_path: Path, unit: str) -> None:
    """As wandb does it: the rows of all runs under the name wandb, the placeholders replaced in the text."""
    import vl_convert

    runs = [trajectories.make(f"r{i}", drop=0.05 * i) for i in range(3)]
    text = json.dumps(plane_preset(unit)).replace("${string:order}", "bigram")
    spec = json.loads(re.sub(r"\$\{field:(\w+)\}", r"\1", text))
    spec["datasets"] = {"wandb": [row for run in runs for row in tables.table_rows(run, run.name)]}
    path = tmp_path / "preset.png"
    path.write_bytes(vl_convert.vegalite_to_png(spec))
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    plane = charts.to_spec(charts.plane(runs, order="bigram", unit=unit))
    ends = {row["run"]: row["complexity"] for row in plane["datasets"]["points"]}
    middles = {}
    for label, colour in zip(ends, style.PALETTE, strict=False):
        found = np.argwhere(near(image, colour))
        assert len(found) > 100
        middles[label] = found[found[:, 1] < 380, 1].mean()  # left of the legend
    by_picture, by_number = sorted(middles, key=middles.__getitem__), sorted(ends, key=ends.__getitem__)
    assert by_picture == by_number  # who compresses more is further left
    assert near(image, style.PALETTE[3]).sum() < 5
    right = max(np.argwhere(near(image[:, :380], colour))[:, 1].max() for colour in style.PALETTE[:3])
    assert right > 280  # of 313 pixels from 57 on: the axes end where the points do


def test_an_empty_project_is_an_empty_plane() -> None:
    import vl_convert

    spec = json.loads(re.sub(r"\$\{\w+:(\w+)\}", r"\1", json.dumps(plane_preset())))
    spec["datasets"] = {"wandb": []}
    assert len(vl_convert.vegalite_to_png(spec)) > 1000


@pytest.mark.parametrize("wrong", [{"entity": ""}, {"project": "team/plane"}])
def test_names_are_checked(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be a name without a slash"):
        make_dashboard(trajectories.make(num_points=1), **{"entity": "team", "project": "plane"} | wrong)


def test_a_trajectory_without_orders_is_refused() -> None:
    run = trajectories.make(num_points=1)
    unnamed = {key: value for key, value in run.protocol.items() if key != "orders"}
    with pytest.raises(ValueError, match="must name its label orders"):
        make_dashboard(replace(run, protocol=unnamed), entity="team", project="plane")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(ImportError, match=r"^a dashboard needs wandb-workspaces, .*: pip install 'ibtrack\[wandb\]'$"):
        make_dashboard(trajectories.make(num_points=1), entity="team", project="plane")


def test_the_command_prints_the_requests(tmp_path: Path) -> None:
    run = trajectories.write(trajectories.make(num_points=2), tmp_path / "run")
    command = ["dashboard", str(run), "--entity", "team", "--project", "plane", "--dry-run"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert [*printed] == ["createCustomChart", "upsertView"]
    assert printed["createCustomChart"]["spec"] == plane_preset()


def test_the_command_sends(tmp_path: Path, sent: Sent) -> None:
    run = trajectories.write(trajectories.make(num_points=2), tmp_path / "run")
    result = CliRunner().invoke(app, ["dashboard", str(run), "--entity", "team", "--project", "plane"])
    why = "give several runs, or the setting that makes groups"
    assert result.stdout == f"wrote https://wandb.test/team/plane?nw=1x; runs are not grouped: {why}\n"
    assert len(sent) == 2


def test_a_recipe_over_seeds_is_a_group_with_a_band() -> None:
    made = make_dashboard(trajectories.sweep(num_points=2), entity="team", project="plane")
    assert made.grouping == "runs are grouped by model.width"
    spec = made.requests()["upsertView"]["spec"]["section"]
    (runs,) = spec["runSets"]
    assert runs["grouping"] == [{"section": "config", "name": "model.value.width"}]
    assert spec["settings"]["useRunsTableGroupingInPanels"]
    lines = [panel for panel in panels(made) if isinstance(panel, (wr.LinePlot, wr.BarPlot))]
    assert len(lines) > 10
    assert {(line.groupby_aggfunc, line.groupby_rangefunc) for line in lines} == {("mean", "minmax")}
    assert "Runs are grouped" in str([panel.markdown for panel in panels(made) if isinstance(panel, wr.MarkdownPanel)])


def test_runs_that_are_no_sweep_are_not_grouped(made: Dashboard) -> None:
    alike = [trajectories.make(name, num_points=2, config={"model": {"width": 8}}) for name in ("a", "b")]
    apart = make_dashboard(alike, entity="team", project="plane")
    assert re.match(r"runs are not grouped: .*group", apart.grouping)
    for each in (made, apart):
        (runs,) = each.requests()["upsertView"]["spec"]["section"]["runSets"]
        assert runs["grouping"] == []
        assert {line.groupby_rangefunc for line in panels(each) if isinstance(line, wr.LinePlot)} == {None}


def test_one_run_is_grouped_by_a_setting_that_it_has() -> None:
    run = trajectories.make(num_points=2, config={"choices": {"recipe": "cosine"}, "seed": 0})
    options = {"entity": "team", "project": "plane"}
    assert make_dashboard(run, **options, by="recipe").grouping == "runs are grouped by choices.recipe"
    with pytest.raises(ValueError, match="no run has a setting 'lr'"):
        make_dashboard(run, **options, by="lr")
    with pytest.raises(ValueError, match="by must be a setting that makes groups, got the seed 'seed'"):
        make_dashboard(run, **options, by="seed")
    with pytest.raises(ValueError, match="runs must hold at least one run, got none"):
        make_dashboard([], **options)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbServer]:
    """What a server of wandb has got when `ibtrack dashboard` was run, in a process of its own, on two recipes."""
    folder = tmp_path_factory.mktemp("dashboard")
    for run in trajectories.sweep(num_points=2):
        trajectories.write(run, folder / "runs" / run.name)
    with WandbServer() as server:
        command = [sys.executable, "-m", "ibtrack.cli", "dashboard", str(folder / "runs"), "--entity", "tests"]
        environment = {**os.environ, **server.environment(folder)}
        done = subprocess.run(
            [*command, "--project", "plane"], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith(f"wrote {server.url}/tests/plane?nw=")
        assert done.stdout.endswith("; runs are grouped by model.width\n")
        yield server


def test_the_command_sends_one_chart_and_one_view(server: WandbServer) -> None:
    (chart,), (view,) = server.charts, server.views
    made = make_dashboard(trajectories.sweep(num_points=2), entity="tests", project="plane").requests()
    assert json.loads(chart["spec"]) == made["createCustomChart"]["spec"]
    assert (chart["chartType"], chart["access"]) == ("vega2", "PRIVATE")
    assert f"{chart['entity']}/{chart['chartName']}" in view["spec"]
    assert json.loads(view["spec"]) == without_ids(made["upsertView"]["spec"], json.loads(view["spec"]))
    assert [name for name in server.asked if name.startswith(("Create", "Upsert"))] == [
        "CreateCustomChart",
        "UpsertView2",
    ]


def without_ids(mine: Any, theirs: Any) -> Any:
    """Take over the ids of panels, which are drawn each time."""
    if isinstance(mine, dict):
        return {key: theirs[key] if key == "__id__" else without_ids(value, theirs[key]) for key, value in mine.items()}
    if isinstance(mine, list):
        return [without_ids(*both) for both in zip(mine, theirs, strict=True)]
    return mine


def test_the_view_that_was_sent_holds_to_the_schema_of_workspaces(server: WandbServer) -> None:
    """The library's models are what is published of it: nothing is unknown to them, and nothing is lost in them."""
    (view,) = server.views
    spec = json.loads(view["spec"])
    model = type(make_dashboard(trajectories.make(num_points=1), entity="a", project="b").workspace._to_model().spec)
    jsonschema.validate(spec, model.model_json_schema(by_alias=True, mode="validation"))
    assert json.loads(model.model_validate(spec).model_dump_json(by_alias=True, exclude_none=True)) == spec
    broken = json.loads(view["spec"])
    broken["section"]["panelBankConfig"]["sections"] = "all"
    with pytest.raises(jsonschema.ValidationError, match="'all' is not of type 'array'"):
        jsonschema.validate(broken, model.model_json_schema(by_alias=True, mode="validation"))


def test_the_chart_that_was_sent_holds_to_the_schema_of_vega_lite(server: WandbServer) -> None:
    (chart,) = server.charts
    text = chart["spec"].replace("${string:order}", "token")
    spec = json.loads(re.sub(r"\$\{field:(\w+)\}", r"\1", text))
    assert "${" not in json.dumps(spec)
    alt.LayerChart.from_dict(spec)
    with pytest.raises(jsonschema.ValidationError, match="'wide' is not of type"):
        alt.LayerChart.from_dict({**spec, "width": "wide"})
