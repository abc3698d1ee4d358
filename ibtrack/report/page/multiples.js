// Small heat maps of several runs, layer by step, with one scale of colours: drawn while their part of the page is open.

const MOST_MULTIPLES = 8;

/** One run of each group, or the first runs, of those whose layers the page holds. */
function multiplesOf() {
  const withLayers = (run) => isShown(run) && run.sites.length > 0 && run.steps.length > 0;
  const runs = isGrouped() ? DATA.groups.members.map(({ runs }) => RUNS[runs.find((number) => withLayers(RUNS[number]))]).filter(Boolean) : RUNS.filter(withLayers);
  return runs.slice(0, MOST_MULTIPLES);
}

let drawing = 0; // the last call wins, as a chart takes a moment

async function updateMultiples() {
  const runs = multiplesOf();
  const mine = ++drawing;
  $("multiples").hidden = runs.length < 2;
  if (runs.length < 2 || !$("multiples").open) return;
  const quantity = heatmapQuantity();
  const rows = runs.map((run) => heatmapRowsOf(run));
  const [low, high] = extent(rows.flat().map((row) => row.value).filter((value) => value !== null));
  const boxes = runs.map((run) => {
    const chart = Object.assign(cell("div"), { className: "chart" });
    chart.setAttribute("role", "img");
    chart.setAttribute("aria-label", `${titleOf(quantity)} of ${run.label}, layer by step.`);
    return [cell("figure", Object.assign(cell("p", run.label), { className: "axis" }), chart), chart];
  });
  $("multiples-charts").replaceChildren(...boxes.map(([figure]) => figure));
  for (const [i, [, chart]] of boxes.entries()) {
    const spec = structuredClone(DATA.specs.heatmap);
    spec.layer[0].encoding.color.scale.domain = [low, high];
    const size = { autosize: { type: "fit-x", contains: "padding" }, width: chart.clientWidth, height: Math.max(60, Math.min(220, 16 * runs[i].sites.length)) };
    await draw(`multiple${i}`, chart, rows[i].length, { ...spec, ...size, datasets: { points: rows[i] } });
    if (mine !== drawing) return;
  }
  $("multiples-note").textContent = (isGrouped() ? "One run of each group" : `${runs.length === MOST_MULTIPLES ? "The first runs" : "The runs"} whose layers this page holds`) + `: ${titleOf(quantity)}, with one scale of colours.`;
}
