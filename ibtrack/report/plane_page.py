"""The plane of one run becomes a page of its own that fits into a panel of a dashboard: nothing but the chart.

The page holds Vega and its numbers, loads nothing and evaluates no text, so that it opens in a frame without a network
and without rights. Its chart is that of `ibtrack.report.charts.plane`, with a choice of the label set and of how many
points are shown. The report, `ibtrack.report.html`, is the page to read.
"""

from __future__ import annotations

import html
import json
from string import Template
from typing import Any

from ibtrack._checks import needs
from ibtrack.record.trajectory import Trajectory
from ibtrack.report import charts
from ibtrack.report.tables import plane_domain, plane_rows

DIGITS = 5  # of a number in the page; bars are wider than what is cut off
_SUBTITLE = "'mean over the layers, ' + labels + ' labels, up to step ' + format(until, ',') + '; bars: 95 %'"
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data:">
<title>$title</title>
<style>
html, body { height: 100%; margin: 0; background: white; font: 13px system-ui, sans-serif; }
body { display: flex; flex-direction: column; }
#plane { flex: 1; min-height: 240px; width: 100%; }
#choices { padding: 2px 12px 8px; display: flex; flex-wrap: wrap; gap: 4px 24px; }
#choices label { display: flex; gap: 8px; align-items: center; }
</style>
</head>
<body>
<div id="plane"></div>
<form id="choices" onsubmit="return false"></form>
<script>$vega</script>
<script>
vegaEmbed('#plane', $spec, {ast: true, actions: false, renderer: 'svg'}).then(
  () => { document.documentElement.dataset.ready = 'yes'; },
  (error) => { document.body.textContent = 'The plane could not be drawn: ' + error; },
);
</script>
</body>
</html>
""")


def plane_page(trajectory: Trajectory) -> str:
    """Write the plane of a run, mean over the layers, as a page of 0.9 MB and 0.2 kB for each point and label set.

    Args:
        trajectory: Run to show; its protocol names at least one label set.

    Raises:
        ModuleNotFoundError: vl-convert, from the extra ``report``, is not installed.
    """
    with needs("the page of the plane", extra="report"):
        import vl_convert

    spec = json.dumps(_spec(trajectory), allow_nan=False, separators=(",", ":"))
    return _PAGE.substitute(
        title=html.escape(trajectory.name),
        vega=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed"),
        spec=spec.replace("<", "\\u003c"),  # what a user wrote cannot end the script element
    )


def _spec(trajectory: Trajectory) -> dict[str, Any]:
    """Take the chart of the first label set, and give it the rows of all, of which one is shown at a time."""
    orders = list(trajectory.protocol["orders"])
    by_order = {order: plane_rows([trajectory], order=order) for order in orders}
    rows = [{**row, "order": order} for order, own in by_order.items() for row in own]
    steps = [row["step"] for row in by_order[orders[0]]]
    spec = charts.to_spec(charts.plane(trajectory, order=orders[0]))
    own = {
        "until": {"expr": "steps[shown - 1]"},
        "low": {"expr": "ends[labels][0]"},
        "high": {"expr": "ends[labels][1]"},
    }
    shown = {"input": "range", "min": 1, "max": max(len(steps), 1), "step": 1, "name": "points ", "element": "#choices"}
    chosen = {"input": "select", "options": orders, "name": "labels ", "element": "#choices"}
    return {
        **spec,
        "title": {**spec["title"], "subtitle": {"expr": _SUBTITLE}, "dy": 4},
        "width": "container",
        "height": "container",
        "autosize": {"type": "fit", "contains": "padding", "resize": True},
        "params": [
            {"name": "name", "value": trajectory.name},
            {"name": "steps", "value": steps},
            {"name": "ends", "value": {order: plane_domain(own) for order, own in by_order.items()}},
            {"name": "shown", "value": len(steps), "bind": shown},
            {"name": "labels", "value": orders[0], **({"bind": chosen} if len(orders) > 1 else {})},
            *({"name": each["name"], **own.get(each["name"], {"value": each["value"]})} for each in spec["params"]),
        ],
        "transform": [{"filter": "datum.order === labels"}, {"calculate": "name", "as": "run"}],
        "datasets": {"points": [_short(row) for row in rows]},
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out the brackets, what is the same in all rows or does not exist, and digits that nobody sees."""
    left_out = [key for key, value in row.items() if value is None or key.endswith(("_low", "_high"))]
    kept = {key: value for key, value in row.items() if key not in (*left_out, "run")}
    return {key: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value for key, value in kept.items()}
