"""The section of the page on readings and scores: what can be told in sentences, the table, and the scatter."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from ibtrack.analysis.scores import Relations
from ibtrack.report.relation_rows import relation_table
from ibtrack.report.score_chart import score_curves, scores

_DRAWN = "Each score over the reading that goes with it most, with a dot for each run and step."
_OVER_PANELS = (
    "Over each panel: Spearman’s ρ with the 95 % interval that holds for all readings and scores. A correlation over "
    "models that others have made is no effect."
)
_ALONG = "The same scores along training, with a line for each run that has several steps."
_CURVES = f"""<figure>
    <div id="score-curves" class="chart" role="img" aria-label="{_ALONG}"></div>
    <figcaption class="small">{_ALONG}</figcaption>
  </figure>"""


def score_section(relations: Relations | None) -> str:
    """Write the section as HTML, with the charts as specs that ``page/scores.js`` draws.

    Args:
        relations: Readings and scores, as from `ibtrack.analysis.scores.relate`; None for a page without them.

    Returns:
        The section; an empty text where there are no scores.
    """
    if relations is None:
        return ""
    head, rows, notes = relation_table(relations)
    sentences = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in relations.sentences())
    curves = score_curves(relations)
    charts = {"scores": scores(relations)} | ({} if curves is None else {"score-curves": curves})
    specs = {name: _for_page(chart.to_dict()) for name, chart in charts.items()}
    data = json.dumps(specs, allow_nan=False, separators=(",", ":"))
    return f"""<section class="card" id="scores-section" aria-labelledby="scores-title">
  <h2 id="scores-title">Readings and scores</h2>
  <ul id="score-sentences">{sentences}</ul>
  <div class="wide" tabindex="0" role="region" aria-label="Rank correlations, scrollable">
    <table id="relations">
    <caption class="hidden">One row per score and reading</caption>
    <thead>{_row(head, '<th scope="col">', "</th>")}</thead>
    <tbody>{"".join(_row(row, "<td>", "</td>") for row in rows)}</tbody>
    </table>
  </div>
  <p class="small scrolls" hidden>The table goes on to the right: scroll it sideways.</p>
  {"".join(f'<p class="small">{html.escape(note)}</p>' for note in notes)}
  <figure>
    <div id="scores" class="chart" role="img" aria-label="{_DRAWN} The table has the numbers."></div>
    <figcaption class="small">{_DRAWN} {_OVER_PANELS}</figcaption>
  </figure>
  {"" if curves is None else _CURVES}
  <script type="application/json" id="scores-data">{data.replace("<", chr(92) + "u003c")}</script>
</section>
"""


def _row(cells: Sequence[str], opens: str, closes: str) -> str:
    return f"<tr>{''.join(f'{opens}{html.escape(cell)}{closes}' for cell in cells)}</tr>"


def _for_page(spec: dict[str, Any]) -> dict[str, Any]:
    """Leave to the page what is its own: heading, style, and how many panels have room beside each other."""
    return {key: value for key, value in spec.items() if key not in ("title", "config", "$schema", "columns")}
