// Picks rows for the specs that ibtrack.charts made. Text from runs goes through textContent only.

const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs.map(unpack);
const STEPS = [...new Set(RUNS.flatMap((run) => run.steps))].sort((a, b) => a - b);
const GREY = "#7d838c";
const Z95 = 1.96;
const state = {
  order: DATA.orders[0], site: "mean", reading: "debiased", colour: DATA.colour, focus: "",
  quantity: "complexity", x: "step", references: RUNS.length <= 6, at: STEPS.length - 1,
  hidden: new Set(), sort: { column: "fall", down: true },
};
const views = {};
const $ = (id) => document.getElementById(id);

// ---- numbers -------------------------------------------------------------------------------------------------------

function unpack(run, number) {
  const packed = atob(run.values); // the upper three bytes of each float32, see _packed in report.py
  const bytes = new Uint8Array((packed.length / 3) * 4);
  for (let i = 0; i < packed.length; i++) bytes[i + Math.floor(i / 3) + 1] = packed.charCodeAt(i);
  const index = new Map(run.keys.map((key, i) => [key, i]));
  return { ...run, number, index, table: new Float32Array(bytes.buffer) };
}

function read(run, key, i) {
  const row = run.index.get(key);
  const value = row === undefined ? NaN : run.table[row * run.steps.length + i];
  return Number.isFinite(value) ? value : null;
}

/** Whether any run has a quantity, for any site, order and reading. */
function isKnown(quantity) {
  if (quantity === "loss") return RUNS.some((run) => run.losses.some((loss) => loss !== null));
  return RUNS.some((run) => run.keys.some((key) => key.endsWith("/" + quantity)));
}

function keyOf(quantity, site = state.site, reading = state.reading) {
  const scope = DATA.quantities[quantity].scope;
  if (scope === "run") return `ib/${quantity}`;
  if (scope === "site") return `ib/${site}/${quantity}`;
  return `ib${reading === "debiased" ? "" : "_" + reading}/${site}/${state.order}/${quantity}`;
}

function why(run, key, i) {
  const notes = run.notes[i] || {};
  const name = [key, ...key.split("/").slice(1, -1)].find((part) => part in notes);
  return notes[name] || run.failures[i] || "not in this trajectory";
}

function titleOf(quantity) {
  const { title, unit } = DATA.quantities[quantity];
  return unit ? `${title}, ${unit}` : title;
}

const shown = () => RUNS.filter((run) => !state.hidden.has(run.number));
const lastIndex = (run, step) => run.steps.findLastIndex((other) => other <= step);
const format = (value, digits = 3) => (value === null || value === undefined ? "—" : value.toFixed(digits));
const whole = (value) => (value === null || value === undefined ? "—" : value.toLocaleString("en"));

function withError(run, quantity, i, site, reading) {
  const key = keyOf(quantity, site, reading);
  const [value, se] = i < 0 ? [null, null] : [read(run, key, i), read(run, key + "_se", i)];
  return format(value) + (value !== null && se !== null ? ` ± ${(Z95 * se).toFixed(3)}` : "");
}

// ---- colour --------------------------------------------------------------------------------------------------------

function ramp(share) {
  const at = Math.min(1, Math.max(0, share)) * (DATA.ramp.length - 1);
  const [low, high] = [DATA.ramp[Math.floor(at)], DATA.ramp[Math.ceil(at)]];
  const part = (i) => {
    const [a, b] = [low, high].map((colour) => parseInt(colour.slice(i, i + 2), 16));
    return Math.round(a + (b - a) * (at - Math.floor(at)));
  };
  return "#" + [1, 3, 5].map((i) => part(i).toString(16).padStart(2, "0")).join("");
}

const symlog = (step) => Math.log1p(step) / Math.log1p(STEPS[STEPS.length - 1] || 1);

function groupsOf(key) {
  const values = [...new Set(RUNS.map((run) => (key === "run" ? run.label : run.config[key] ?? "—")))];
  const numeric = key !== "run" && values.every((value) => value.trim() !== "" && Number.isFinite(Number(value)));
  if (numeric) values.sort((a, b) => a - b);
  const colour = (i) => (numeric ? ramp(i / Math.max(1, values.length - 1)) : DATA.palette[i % DATA.palette.length]);
  return values.map((value, i) => ({
    value, colour: colour(i), shape: numeric ? "circle" : DATA.shapes[Math.floor(i / DATA.palette.length) % DATA.shapes.length],
  }));
}

function look(run) {
  if (state.colour === "step") return groupsOf("run")[run.number];
  const value = state.colour === "run" ? run.label : run.config[state.colour] ?? "—";
  return groupsOf(state.colour).find((group) => group.value === value);
}

const faded = (run) => state.focus !== "" && Number(state.focus) !== run.number;

function marks(run) {
  const { colour, shape } = look(run);
  const byStep = state.colour === "step";
  const opacity = faded(run) ? 0.15 : 1;
  return { shape, opacity, colour, line: byStep ? GREY : colour, at: (step) => (byStep ? ramp(symlog(step)) : colour) };
}

function swatch(colour, shape) {
  const paths = {
    circle: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12", square: "M3 3h10v10H3z", "triangle-up": "M8 2l7 12H1z",
    cross: "M6 2h4v4h4v4h-4v4H6v-4H2V6h4z",
  };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "swatch");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", paths[shape]);
  path.setAttribute("fill", colour);
  svg.append(path);
  return svg;
}

// ---- rows of the charts: the columns of ibtrack.charts --------------------------------------------------------------

function planeRows() {
  const [x, y] = [keyOf("complexity"), keyOf("expressivity")];
  return shown().flatMap((run) => {
    const { line, shape, opacity, at } = marks(run);
    return run.steps.map((step, i) => {
      const [complexity, expressivity] = [read(run, x, i), read(run, y, i)];
      const lost = complexity === null ? x : expressivity === null ? y : null;
      return {
        run: run.label, step, tokens: run.tokens[i], loss: run.losses[i], line, shape, opacity, colour: at(step),
        complexity, expressivity, complexity_se: read(run, x + "_se", i), expressivity_se: read(run, y + "_se", i),
        complexity_anchor_sd: read(run, x + "_anchor_sd", i), expressivity_anchor_sd: read(run, y + "_anchor_sd", i),
        why: lost === null ? null : why(run, lost, i),
      };
    });
  });
}

function curveRows(quantity = state.quantity, runs = shown(), site = state.site) {
  const key = keyOf(quantity, site);
  const bounded = quantity === "complexity" || quantity === "expressivity";
  return runs.flatMap((run) => {
    const { colour, shape, opacity } = marks(run);
    const referred = state.references && bounded && !faded(run);
    return run.steps.map((step, i) => {
      const value = quantity === "loss" ? run.losses[i] : read(run, key, i);
      return {
        run: run.label, step, tokens: run.tokens[i], loss: run.losses[i], line: colour, shape, opacity, colour, value,
        se: read(run, key + "_se", i), anchor_sd: read(run, key + "_anchor_sd", i),
        null: referred && state.reading !== "null" ? read(run, keyOf(quantity, site, "null"), i) : null,
        ceiling: referred ? read(run, keyOf("ceiling", site), i) : null,
        why: value === null ? why(run, key, i) : null,
      };
    });
  });
}

function heatmapRun() {
  return RUNS[state.focus === "" ? DATA.rankings[state.order][0].run : Number(state.focus)];
}

function heatmapQuantity() {
  return DATA.quantities[state.quantity].scope === "run" ? "complexity" : state.quantity;
}

function heatmapRows() {
  const run = heatmapRun();
  return run.sites.flatMap((site, depth) => curveRows(heatmapQuantity(), [run], site).map((row) => ({ ...row, site, depth })));
}

function missing(rows) {
  return shown().flatMap((run) => {
    const points = rows.filter((row) => row.run === run.label);
    const lost = points.filter((row) => row.why !== null);
    if (!points.length) return [`${run.label} has no points yet.`];
    if (!lost.length) return [];
    return [`${run.label}: ${lost.length} of ${points.length} points have no value, the first at step ${whole(lost[0].step)}: ${lost[0].why}.`];
  });
}

function domain(rows) {
  const ends = [0];
  for (const row of rows) {
    for (const name of ["complexity", "expressivity"]) {
      const [value, se] = [row[name], row[name + "_se"] || 0];
      if (value !== null) ends.push(value - Z95 * se, value + Z95 * se);
    }
  }
  if (ends.length === 1) return [0, 1];
  return [Math.floor(Math.min(...ends) * 100) / 100, Math.max(1, Math.ceil(Math.max(...ends) * 20)) / 20];
}

// ---- charts --------------------------------------------------------------------------------------------------------

const INK = { labelColor: "currentColor", titleColor: "currentColor" };
const CONFIG = {
  background: null, aria: false, font: "system-ui, Liberation Sans, sans-serif",
  axis: {
    ...INK, labelFontSize: 12, titleFontSize: 13, titleFontWeight: "normal", titlePadding: 8,
    gridColor: GREY, gridOpacity: 0.22, domainColor: GREY, tickColor: GREY,
  },
  legend: { ...INK, labelFontSize: 12 }, view: { stroke: null },
};

async function draw(name, element, spec) {
  const tooltip = { theme: "custom", disableDefaultStyle: false };
  const options = { actions: false, logLevel: 1 /* errors; an empty column is no warning */, renderer: "svg", tooltip, config: CONFIG };
  views[name] = (await vegaEmbed(element, spec, options)).view;
}

async function drawCurves() {
  const spec = DATA.specs["curves_" + state.x];
  for (const layer of spec.layer) {
    if (layer.encoding.y && layer.encoding.y.field) layer.encoding.y.title = null;
  }
  if (views.curves) views.curves.finalize();
  await draw("curves", $("curves"), { ...spec, autosize: { type: "fit-x", contains: "padding" }, width: $("curves").clientWidth });
}

function fit() {
  const room = $("plane").clientWidth;
  const side = Math.max(200, Math.min(room - 64, 520));
  views.plane.width(side).height(side).run();
  views.curves.width($("curves").clientWidth).run();
  views.heatmap.width($("heatmap").clientWidth).run();
}

function updatePlane() {
  const rows = planeRows();
  const [low, high] = domain(rows);
  views.plane.signal("low", low).signal("high", high).signal("until", STEPS[state.at] ?? 0)
    .signal("bottleneck", state.order === "token").data("points", rows).run();
  const words = [`${where()} · ${state.order} labels · ${state.reading} reading. Ring: start; points grow with the step.`];
  if (DATA.bottleneck && state.order === "token") words.push(DATA.bottleneck[0].toUpperCase() + DATA.bottleneck.slice(1) + ".");
  $("plane-note").textContent = [...words, ...missing(rows)].join(" ");
  $("plane").setAttribute("aria-label", `Complexity against expressivity of ${shown().length} runs. The table beside it has the values at the chosen step.`);
}

function updateCurves() {
  const rows = curveRows();
  views.curves.data("points", rows).run();
  const scope = DATA.quantities[state.quantity].scope;
  const details = { order: `${where()} · ${state.order} labels · ${state.reading} reading`, site: where(), run: "the whole run" }[scope];
  const drawn = ["null", "ceiling"].filter((name) => rows.some((row) => row[name] !== null));
  const lines = { null: "dashed: what the plug-in reads for shuffled labels", ceiling: "dotted: the ceiling I(Z;J)" };
  const words = [details, ...drawn.map((name) => lines[name])];
  if (rows.some((row) => row.se !== null)) words.push("band: ± 1.96 standard errors");
  $("curves-note").textContent = [words.join(" · ") + ".", ...missing(rows)].join(" ");
  $("curves-axis").textContent = titleOf(state.quantity);
  $("curves").setAttribute("aria-label", `${titleOf(state.quantity)} of ${shown().length} runs along ${state.x === "step" ? "steps" : "tokens seen"}.`);
}

function updateHeatmap() {
  const run = heatmapRun();
  const quantity = heatmapQuantity();
  views.heatmap.height(Math.max(60, 22 * run.sites.length)).data("points", heatmapRows()).run();
  $("heatmap").hidden = !run.sites.length;
  $("heatmap-axis").textContent = run.sites.length ? `${run.label}: ${titleOf(quantity)}` : `${run.label} has no layers on file.`;
  const words = ["a column for each measured step, the last layer on top. For another run choose it under Highlight."];
  if (DATA.quantities[quantity].scope === "order") words.unshift(`${state.order} labels · ${state.reading} reading`);
  if (quantity !== state.quantity) words.push("The quantity chosen above belongs to the whole run, so this is complexity.");
  $("heatmap-note").textContent = words.join(" · ");
  $("heatmap").setAttribute("aria-label", `${titleOf(quantity)} of ${run.label}, layer by step.`);
}

const where = () => (state.site === "mean" ? "mean over the layers" : `layer ${state.site}`);

// ---- tables --------------------------------------------------------------------------------------------------------

function cell(tag, ...content) {
  const element = document.createElement(tag);
  element.append(...content);
  return element;
}

function shortName(key) {
  const last = key.split(".").pop();
  return DATA.differing.filter((other) => other.split(".").pop() === last).length > 1 ? key : last;
}

/** One setting for each way in which settings part the runs, as many as a table has room for. */
function settings() {
  const parts = new Map();
  for (const key of DATA.differing) {
    const values = RUNS.map((run) => run.config[key]);
    const way = values.map((value) => values.indexOf(value)).join();
    if (!parts.has(way)) parts.set(way, key);
  }
  return [...parts.values()].slice(0, 4);
}

function columns() {
  const phase = (run) => run.phases[state.order];
  const end = (run) => run.steps.length - 1;
  const last = (run, quantity) => (end(run) < 0 ? null : read(run, keyOf(quantity, "mean", "debiased"), end(run)));
  const reading = (quantity, label) => ({
    id: quantity, label, value: (run) => last(run, quantity),
    text: (run) => withError(run, quantity, end(run), "mean", "debiased"),
  });
  const config = settings().map((key) => ({
    id: "config." + key, label: shortName(key), value: (run) => run.config[key] ?? "—", text: (run) => run.config[key] ?? "—",
  }));
  const fall = (run) => -(phase(run).compression?.change ?? 0);
  const ranked = DATA.rankings[state.order].filter(({ behind }) => behind !== null).length;
  const uneven = new Set(RUNS.map(points)).size > 1 || RUNS.some((run) => Object.keys(run.failures).length);
  return [
    { id: "run", label: "run", value: (run) => run.label, text: nameCell },
    { id: "fall", label: "I(X;Z) falls by", value: (run) => (phase(run).compression ? fall(run) : null),
      text: (run) => (phase(run).compression ? format(fall(run)) : phase(run).known ? "within noise" : "not known"),
      bar: (run) => fall(run) / (Math.max(...RUNS.map(fall)) || 1) },
    { id: "num_se", label: "standard errors", value: (run) => phase(run).compression?.num_se ?? null, text: (run) => format(phase(run).compression?.num_se, 1) },
    ...(ranked > 1 ? [{ id: "behind", label: "se behind the first", value: (run) => place(run).behind, text: behind }] : []),
    { id: "since", label: "since step", value: (run) => phase(run).compression?.start ?? null, text: (run) => whole(phase(run).compression?.start) },
    ...config,
    { id: "fitting", label: "fitting until", value: (run) => phase(run).fitting?.end ?? null, text: (run) => whole(phase(run).fitting?.end) },
    reading("complexity", "final I(X;Z)"), reading("expressivity", "final I(Y;Z)"), reading("optimality", "final optimality"),
    { id: "loss", label: "final loss", value: (run) => run.losses[end(run)] ?? null, text: (run) => format(run.losses[end(run)]) },
    { id: "last", label: "last step", value: (run) => run.steps[end(run)] ?? null, text: (run) => whole(run.steps[end(run)]) },
    ...(uneven ? [{ id: "points", label: "points", value: (run) => run.steps.length, text: points }] : []),
  ];
}

const place = (run) => DATA.rankings[state.order].find((other) => other.run === run.number);

function behind(run) {
  const { behind, tied } = place(run);
  if (behind === null) return "—";
  return behind === 0 ? "first" : format(behind, 1) + (tied ? ", tied" : "");
}

function points(run) {
  const failed = Object.keys(run.failures).length;
  return run.steps.length + (failed ? `, ${failed} failed` : "");
}

function nameCell(run) {
  const box = cell("span");
  box.className = "run";
  const check = cell("input");
  Object.assign(check, { type: "checkbox", checked: !state.hidden.has(run.number), title: "show in the charts" });
  check.setAttribute("aria-label", `Show ${run.label} in the charts`);
  check.addEventListener("change", () => {
    state.hidden[check.checked ? "delete" : "add"](run.number);
    update();
  });
  const button = cell("button", run.label);
  Object.assign(button, { type: "button", title: `${run.name} ${run.path}` });
  button.setAttribute("aria-pressed", String(state.focus === String(run.number)));
  button.addEventListener("click", () => setFocus(state.focus === String(run.number) ? "" : String(run.number)));
  box.append(check, swatch(look(run).colour, look(run).shape), button);
  return box;
}

function inOrder() {
  const all = columns();
  const column = all.find((other) => other.id === state.sort.column) ?? all[0];
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  return [...RUNS].sort((one, other) => {
    const [a, b] = [column.value(one), column.value(other)];
    if (a === null || b === null) return (a === null) - (b === null); // what does not exist is last both ways
    return (state.sort.down ? -1 : 1) * order(a, b);
  });
}

function updateSummary() {
  const active = document.activeElement?.dataset?.column;
  const all = columns();
  const column = all.find((other) => other.id === state.sort.column) ?? all[0];
  $("summary").tHead.replaceChildren(cell("tr", ...all.map((other) => headCell(other, column))));
  $("summary").tBodies[0].replaceChildren(...inOrder().map((run) => {
    const row = cell("tr", ...all.map((other) => {
      const td = cell("td", other.text(run));
      if (other.bar && other.value(run) !== null && RUNS.length > 1) {
        const track = Object.assign(cell("span", cell("span")), { className: "bar" });
        track.firstElementChild.style.width = `${Math.round(100 * Math.max(0, other.bar(run)))}%`;
        td.append(track);
      }
      return td;
    }));
    row.classList.toggle("off", state.hidden.has(run.number));
    row.classList.toggle("most", state.focus === String(run.number));
    return row;
  }));
  if (active) $("summary").querySelector(`[data-column="${CSS.escape(active)}"]`)?.focus();
  $("verdict").textContent = DATA.verdicts[state.order];
  const thresholds = RUNS.map((run) => run.phases[state.order].threshold).filter((value) => value !== null);
  const needed = thresholds.length ? ` (here ${[...new Set([Math.min(...thresholds), Math.max(...thresholds)].map((value) => value.toFixed(1)))].join(" to ")})` : "";
  const dropped = DATA.differing.length > settings().length ? " Not all settings that differ have a column; choose them under Colour by." : "";
  const tied = DATA.rankings[state.order].some((other) => other.tied && other.behind)
    ? " Tied: noise could make the difference to the first in one of twenty such sets of runs." : "";
  $("summary-note").textContent =
    `Mean over the layers, ${state.order} labels, debiased reading, fractions of log K. A change counts as a phase when it ` +
    `is more standard errors than noise would reach anywhere in a run${needed}, at 5 % for the whole run. The standard errors (se) are over the probe's ` +
    `documents, not over training seeds.${tied}${dropped}`;
}

function headCell(column, active) {
  const button = cell("button", column.label + (column === active ? (state.sort.down ? " ▾" : " ▴") : ""));
  Object.assign(button, { type: "button", title: `Sort by ${column.label}` });
  button.dataset.column = column.id;
  button.addEventListener("click", () => {
    state.sort = { column: column.id, down: column === active ? !state.sort.down : column.id !== "run" };
    updateSummary();
    updateReadout();
  });
  const th = cell("th", button);
  th.scope = "col";
  if (column === active) th.setAttribute("aria-sort", state.sort.down ? "descending" : "ascending");
  return th;
}

function updateReadout() {
  const step = STEPS[state.at];
  const heads = ["run", "I(X;Z)", "I(Y;Z)", "loss"];
  $("readout").tHead.replaceChildren(cell("tr", ...heads.map((head) => Object.assign(cell("th", head), { scope: "col" }))));
  $("readout").tBodies[0].replaceChildren(...inOrder().filter((run) => !state.hidden.has(run.number)).map((run) => {
    const i = step === undefined ? -1 : lastIndex(run, step);
    const late = i >= 0 && run.steps[i] !== step ? ` (step ${whole(run.steps[i])})` : "";
    const name = cell("span", swatch(look(run).colour, look(run).shape), cell("span", run.label + late));
    name.className = "run";
    const lost = i >= 0 && read(run, keyOf("complexity"), i) === null ? why(run, keyOf("complexity"), i) : null;
    const values = lost ? [Object.assign(cell("td", lost), { colSpan: 2, className: "why" })] : ["complexity", "expressivity"].map((name) => cell("td", withError(run, name, i)));
    return cell("tr", cell("td", name), ...values, cell("td", format(run.losses[i])));
  }));
  $("readout-title").textContent = step === undefined ? "No points yet" : `At step ${whole(step)}`;
  $("step-text").textContent = step === undefined ? "no points" : `step ${whole(step)} of ${whole(STEPS[STEPS.length - 1])}`;
  $("step").setAttribute("aria-valuetext", $("step-text").textContent);
}

function updateGroups() {
  const box = $("groups");
  if (state.colour === "step") {
    const bar = Object.assign(cell("div"), { className: "ramp" });
    bar.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(ramp).join(", ")})`;
    const ends = Object.assign(cell("div", cell("span", "step 0"), cell("span", `step ${whole(STEPS[STEPS.length - 1])}, log scale`)), { className: "ends" });
    return box.replaceChildren(cell("h3", "Colour: step"), bar, ends);
  }
  if (state.colour === "run") return box.replaceChildren();
  const fall = (run) => run.phases[state.order].compression;
  const rows = groupsOf(state.colour).map((group) => {
    const runs = RUNS.filter((run) => (run.config[state.colour] ?? "—") === group.value);
    const falls = runs.filter(fall).map((run) => -fall(run).change);
    const mean = falls.reduce((sum, value) => sum + value, 0) / falls.length;
    const spread = Math.sqrt(falls.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (falls.length - 1));
    const name = Object.assign(cell("span", swatch(group.colour, group.shape), cell("span", group.value)), { className: "run" });
    const text = falls.length ? format(mean) + (falls.length > 1 ? `, sd ${format(spread)}` : "") : "—";
    return cell("tr", cell("td", name), cell("td", `${falls.length} of ${runs.length}`), cell("td", text));
  });
  const heads = [shortName(state.colour), "runs that compress", "mean fall of I(X;Z)"].map((head) => Object.assign(cell("th", head), { scope: "col" }));
  const table = Object.assign(cell("table", cell("thead", cell("tr", ...heads)), cell("tbody", ...rows)), { className: "plain" });
  const note = Object.assign(cell("p", "The sd is over runs: with several seeds per value it says what the standard errors of one run cannot."), { className: "small" });
  box.replaceChildren(cell("h3", `By ${state.colour}`), table, note);
}

function failures(run) {
  const failed = Object.keys(run.failures);
  if (!failed.length) return "";
  const first = `the first at step ${whole(run.steps[failed[0]])}: ${run.failures[failed[0]]}.`;
  return ` ${failed.length} of ${run.steps.length} points were not measured as a whole, ${first}`;
}

function updateSentences() {
  const inPlace = DATA.rankings[state.order].map(({ run }) => RUNS[run]);
  $("sentences").replaceChildren(...inPlace.flatMap((run) => [cell("dt", run.name), cell("dd", run.phases[state.order].sentence, failures(run))]));
}

// ---- controls ------------------------------------------------------------------------------------------------------

function update() {
  updateSummary();
  updateReadout();
  updateGroups();
  updateSentences();
  updatePlane();
  updateCurves();
  updateHeatmap();
}

function setFocus(value) {
  state.focus = value;
  $("focus").value = value;
  update();
}

function setStep(at) {
  state.at = at;
  $("step").value = at;
  views.plane.signal("until", STEPS[at] ?? 0).run();
  updateReadout();
}

let timer = null;

function stop() {
  clearInterval(timer);
  timer = null;
  $("play").setAttribute("aria-label", "Play the training");
  $("play").firstElementChild.textContent = "▶";
}

function play() {
  if (timer !== null) return stop();
  if (state.at >= STEPS.length - 1) setStep(0);
  $("play").setAttribute("aria-label", "Pause");
  $("play").firstElementChild.textContent = "❚❚";
  timer = setInterval(() => (state.at < STEPS.length - 1 ? setStep(state.at + 1) : stop()), Math.min(400, 8000 / STEPS.length));
}

function choices(id, options, then = update) {
  const select = $(id);
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  select.value = state[id];
  select.addEventListener("change", () => {
    state[id] = select.value;
    then();
  });
}

function controls() {
  choices("order", DATA.orders.map((order) => [order, order]));
  choices("site", DATA.sites.map((site) => [site, site === "mean" ? "mean over layers" : site]));
  choices("reading", DATA.readings.map((reading) => [reading, { null: "null (shuffled labels)", plugin: "plug-in" }[reading] ?? reading]));
  choices("colour", [["run", "run"], ["step", "step"], ...DATA.differing.map((key) => [key, key])]);
  choices("focus", [["", "none"], ...RUNS.map((run) => [String(run.number), run.label])]);
  choices("quantity", Object.entries(DATA.quantities).filter(([name]) => isKnown(name) || name === state.quantity).map(([name, { title }]) => [name, title]));
  $("x").addEventListener("change", async () => {
    state.x = $("x").value;
    await drawCurves();
    update();
  });
  $("references").checked = state.references;
  $("references").addEventListener("change", () => {
    state.references = $("references").checked;
    updateCurves();
  });
  $("step").max = Math.max(0, STEPS.length - 1);
  $("step").value = state.at;
  $("step").disabled = $("play").disabled = STEPS.length < 2;
  $("step").addEventListener("input", () => {
    stop();
    setStep(Number($("step").value));
  });
  $("play").addEventListener("click", play);
  const themes = ["", "light", "dark"];
  $("theme").addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    $("theme").textContent = `Theme: ${next || "as the system"}`;
  });
  $("phases").parentElement.hidden = RUNS.length === 1; // its phases are the sentence on top
  $("phases").open = RUNS.length <= DATA.palette.length;
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
}

async function start() {
  controls();
  await Promise.all([
    draw("plane", $("plane"), { ...DATA.specs.plane, width: 420, height: 420 }),
    drawCurves(),
    draw("heatmap", $("heatmap"), { ...DATA.specs.heatmap, autosize: { type: "fit-x", contains: "padding" }, width: $("heatmap").clientWidth }),
  ]);
  fit();
  update();
  new ResizeObserver(() => requestAnimationFrame(fit)).observe(document.querySelector("main"));
  document.documentElement.dataset.ready = "yes";
}

start();
