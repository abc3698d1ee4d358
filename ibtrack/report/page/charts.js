// The charts: drawn once, then given other rows and parameters.

const INK = { labelColor: "currentColor", titleColor: "currentColor" };
const config = () => ({
  background: null, aria: false, font: "system-ui, Liberation Sans, sans-serif",
  axis: {
    ...INK, labelFontSize: 12, labelSeparation: 8, titleFontSize: 13, titleFontWeight: "normal", titlePadding: 8,
    gridColor: DATA.ink, gridOpacity: 0.22, domainColor: DATA.ink, tickColor: DATA.ink,
  },
  legend: { ...INK, labelFontSize: 12 }, view: { stroke: null },
});

// So many rows, of several marks each, are thousands of elements, which a browser takes seconds for: they are painted.
const MOST_ELEMENTS = 2000;

/** Draw a chart of so many rows. */
async function draw(name, element, numRows, spec) {
  const tooltip = { theme: "custom", disableDefaultStyle: false };
  const renderer = numRows > MOST_ELEMENTS ? "canvas" : "svg";
  const options = { actions: false, logLevel: 1 /* errors; an empty column is no warning */, renderer, tooltip, config: config() };
  const box = cell("div"); // the chart before stays until this one is drawn
  const { view } = await vegaEmbed(box, spec, options);
  if (views[name]) views[name].finalize();
  views[name] = view;
  element.replaceChildren(box);
}

async function drawPlane() {
  await draw("plane", $("plane"), numPoints(), { ...DATA.specs["plane_" + state.unit], width: 420, height: 420 });
}

async function drawCurves() {
  const spec = DATA.specs["curves_" + state.x];
  for (const layer of spec.layer) {
    if (layer.encoding.y && layer.encoding.y.field) layer.encoding.y.title = null;
  }
  for (const name of ["curves", "second"]) {
    if (views[name]) views[name].finalize();
    delete views[name];
    $(name).closest("figure").hidden = name === "second" && !state.below;
    if (!$(name).closest("figure").hidden) {
      await draw(name, $(name), numPoints(), { ...spec, autosize: { type: "fit-x", contains: "padding" }, width: $(name).clientWidth });
    }
  }
}

async function drawHeatmap() {
  const cells = extent(RUNS.map((run) => run.sites.length * run.steps.length))[1];
  const width = $("heatmap").parentElement.clientWidth; // its own is 0 where it is hidden, of runs without layers
  const size = { autosize: { type: "fit-x", contains: "padding" }, width };
  await draw("heatmap", $("heatmap"), cells, { ...DATA.specs.heatmap, ...size });
}

async function drawAll() {
  await Promise.all([drawPlane(), drawCurves(), drawHeatmap()]);
  fit();
  update();
}

/** Draw anew what is painted: unlike elements it does not follow the colours of the page by itself. */
function repaint() {
  if (document.querySelector(".chart canvas")) drawAll();
}

function fit() {
  const room = $("plane").clientWidth;
  const side = Math.max(200, Math.min(room - 76, 760));
  views.plane.width(side).height(side).run();
  for (const name of ["curves", "second"]) if (views[name]) views[name].width($(name).clientWidth).run();
  views.heatmap.width($("heatmap").clientWidth).run();
}

/** The bottleneck curve belongs to single tokens, is compared with what is estimated without bias, and has no ceiling. */
const mayHaveBottleneck = () => DATA.bottleneck && state.order === "token" && state.reading === "debiased";
const hasBottleneck = () => mayHaveBottleneck() && state.unit === "log_k";

function updatePlane() {
  const rows = planeRows();
  const drawn = inGroups(rows, ["complexity", "expressivity"]);
  const [low, high] = domain(drawn);
  const ends = (column) => (state.fitted ? fittedDomain(drawn, column) : [low, high]);
  const [[left, right], [bottom, top]] = [ends("complexity"), ends("expressivity")];
  views.plane.signal("low", Math.max(left, bottom)).signal("high", Math.max(Math.max(left, bottom), Math.min(right, top)))
    .signal("left", left).signal("right", right).signal("bottom", bottom).signal("top", top).signal("until", STEPS[state.at] ?? 0)
    .signal("bottleneck", Boolean(hasBottleneck())).signal("simultaneous", isTogether()).signal("bars", hasErrors()).data("points", drawn).run();
  const words = [`${where()} · ${state.order} labels · ${state.reading} reading · ${unitWords[state.unit]}. Ring: start; points grow with the step.`];
  words.push(sharedWords(drawn));
  if (isGrouped()) words.push(groupWords("bars"));
  else if (hasErrors() && rows.some((row) => row.complexity_se !== null || row.expressivity_se !== null)) words.push(`Bars: ${bandWords("plane")}.`);
  if (hasBottleneck()) words.push(DATA.bottleneck[0].toUpperCase() + DATA.bottleneck.slice(1) + ".");
  else if (mayHaveBottleneck()) words.push("The bottleneck curve is drawn in fractions of log K alone.");
  const without = RUNS.filter((run) => !isShown(run) && !state.hidden.has(run.number)).length;
  if (without) words.push(`Of ${without} ${without === 1 ? "run" : "runs"} this page holds no layers.`);
  $("plane-note").textContent = [...words, ...missing(rows), ...doubted(rows)].filter(Boolean).join(" ");
  $("plane").setAttribute("aria-label", `Complexity against expressivity of ${shown().length} runs. The table beside it has the values at the chosen step.`);
}

function updateCurves() {
  if (views.curves) updateCurve("curves", state.quantity); // while they are drawn anew there are none
  if (views.second) updateCurve("second", state.below);
}

function updateCurve(name, quantity) {
  const rows = curveRows(quantity);
  const marked = inGroups(rows, ["value"]);
  views[name].signal("bracket", state.bracket).signal("simultaneous", isTogether()).signal("bars", hasErrors()).data("points", marked).run();
  const scope = DATA.quantities[quantity].scope;
  const details = { order: `${where()} · ${state.order} labels · ${state.reading} reading`, site: where(), run: "the whole run" }[scope];
  const drawn = ["null", "ceiling", "half"].filter((column) => rows.some((row) => row[column] !== null));
  const lines = {
    null: "dashed: what the plug-in reads for shuffled labels", ceiling: "dotted: the ceiling I(Z;J)",
    half: "dashed: what half of the documents read; far from the line, rows are too few",
  };
  const words = [details, ...drawn.map((column) => lines[column])];
  if (isGrouped()) words.push(groupWords("band"));
  else if (hasErrors() && rows.some((row) => row.se !== null)) words.push(`band: ${bandWords("curve")}`);
  if (state.bracket) words.push(bracketWords(rows, quantity));
  $(name + "-note").textContent = [words.join(" · ").replace(/\.?$/, "."), sharedWords(marked), ...missing(rows), ...doubted(rows)].filter(Boolean).join(" ");
  $(name + "-axis").textContent = titleOf(quantity);
  $(name).setAttribute("aria-label", `${titleOf(quantity)} of ${shown().length} runs along ${state.x === "step" ? "steps" : "tokens seen"}.`);
}

/** What the errors are that are drawn. */
function bandWords(chart) {
  if (state.band === "pointwise") return `± ${DATA.z95} standard errors, 95 % at each point by itself`;
  const what = chart === "plane" ? "at all points of a run and on both axes together" : "at all points of a run together";
  const worked = state.site === "mean" && DATA.bandNames.some((names) => names.length);
  return `95 % ${what}` + (worked ? "" : `, or more: it is the width that is enough however the errors of a ${state.site === "mean" ? "run" : "single layer"} hang together`);
}

/** What the light band is, or why there is none. */
function bracketWords(rows, quantity) {
  if (state.reading !== "debiased" || !Object.values(DATA.units).flat().includes(quantity)) {
    return "no bracket: it belongs to the debiased complexity and expressivity";
  }
  const key = partOf(keyOf(quantity)) + "_low";
  if (!rows.some((row) => row.low !== null)) {
    const [run] = shown().filter((other) => other.steps.length);
    return `no bracket: ${run ? why(run, key, run.steps.length - 1) : "no points"}`;
  }
  const copies = shown().map((run) => run.notes[run.steps.length - 1]?.[key.split("/").slice(2).join("/")]).find((note) => note);
  return "light band: bracket, from a lower end that assumes nothing to the plug-in reading" + (copies ? `; ${copies}` : "");
}

function updateHeatmap() {
  const run = heatmapRun();
  const quantity = heatmapQuantity();
  views.heatmap.height(Math.max(60, 22 * run.sites.length)).data("points", heatmapRows()).run();
  $("heatmap").hidden = !run.sites.length;
  $("heatmap-axis").textContent = run.sites.length ? `${run.label}: ${titleOf(quantity)}` : withoutLayers(run);
  const words = ["a column for each measured step, the last layer on top. For another run choose it under Highlight."];
  if (DATA.quantities[quantity].scope === "order") words.unshift(`${state.order} labels · ${state.reading} reading`);
  if (quantity !== state.quantity) words.push("The quantity chosen above belongs to the whole run, so this is " + titleOf(quantity) + ".");
  $("heatmap-note").textContent = words.join(" · ");
  $("heatmap").setAttribute("aria-label", `${titleOf(quantity)} of ${run.label}, layer by step.`);
}

/** Why no layers are drawn of a run. */
function withoutLayers(run) {
  if (run.layers) return `${run.label} has no layers on file.`;
  const way = DATA.folder === "" ? `For the layers of one: ibtrack report ${run.path || "RUN"}` : "Choose a run under Highlight to load its layers.";
  return `This page of ${RUNS.length} runs holds the mean over the layers alone. ${way}`;
}

const where = () => (state.site === "mean" ? "mean over the layers" : `layer ${state.site}`);
