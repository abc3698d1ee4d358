// What the page holds, and the rows that its charts draw, for the choices in `state`. The charts are the specs that
// ibtrack.report.charts made. Text that users wrote reaches the page through textContent only.

let DATA, INDEX, RUNS = [], STEPS = [];
const views = {};
const $ = (id) => document.getElementById(id);
const numPoints = () => RUNS.reduce((sum, run) => sum + run.steps.length, 0);
const idOf = (run) => run.path || run.label;

/** What the reader has chosen, all of it; `render` keeps what still exists. Runs are named by their number. */
const state = {
  order: "", site: "mean", reading: "debiased", unit: "share", view: "", colour: "", focus: "",
  quantity: "", below: "", x: "step", band: "pointwise", spread: "sd", references: false, bracket: false, fitted: false, matched: "step",
  at: -1, hidden: new Set(), sort: { column: "fall", down: true },
};

/** Hold a payload, see ibtrack.report.payload, in place of the one before; runs may have gone on, or come. A run that is
 * `kept` has not changed since then. */
function hold(payload) {
  const before = new Map(RUNS.map((run) => [run.path, run]));
  const [ids, isLast, step] = [RUNS.map(idOf), state.at === STEPS.length - 1, STEPS[state.at]];
  const loaded = new Set([...asked].map((number) => RUNS[number]));
  const chosen = DATA && defaults();
  const numberOf = (number) => RUNS.findIndex((run) => idOf(run) === ids[number]);
  DATA = payload;
  INDEX = DATA.keys.map((keys) => new Map(keys.map((key, i) => [key, i])));
  RUNS = DATA.runs.map((run, number) => (
    run.kept ? Object.assign(before.get(run.kept), { number }) : withDetails(unpack(run, number), before.get(run.path), loaded)
  ));
  STEPS = [...new Set(RUNS.flatMap((run) => run.steps))].sort((a, b) => a - b);
  groups.clear();
  asked.clear();
  for (const run of RUNS) if (loaded.has(run)) asked.add(run.number);
  state.at = isLast || step === undefined ? STEPS.length - 1 : Math.max(0, STEPS.findLastIndex((other) => other <= step));
  state.hidden = new Set([...state.hidden].map(numberOf).filter((number) => number >= 0));
  const focused = state.focus === "" ? -1 : numberOf(Number(state.focus));
  state.focus = focused < 0 ? "" : String(focused);
  for (const [name, value] of Object.entries(defaults())) if (!chosen || state[name] === chosen[name]) state[name] = value;
  settleChoices();
}

/** A run that has grown keeps the details that were loaded of it until the new ones are there. */
function withDetails(run, before, loaded) {
  if (!loaded.has(before) || run.points <= before.points) return run;
  const { steps, checkpoints, tokens, losses, sites, layers, table, index, notes, failures } = before;
  return Object.assign(run, { last: run.steps.at(-1), steps, checkpoints, tokens, losses, sites, layers, table, index, notes, failures });
}

/** What is chosen where the reader has chosen nothing. */
const defaults = () => ({
  order: DATA.orders[0], view: DATA.groups ? "groups" : "runs", colour: DATA.groups ? "group" : DATA.colour,
  references: RUNS.length <= 6 && DATA.groups === null, unit: isMeasured("kept") ? "share" : "log_k",
});

/** Keep the choices that there are, and make the others. */
function settleChoices() {
  const among = (name, values, otherwise) => {
    if (!values.includes(state[name])) state[name] = otherwise;
  };
  among("order", DATA.orders, DATA.orders[0]);
  among("site", sites(), "mean");
  among("view", DATA.groups ? ["groups", "runs"] : ["runs"], DATA.groups ? "groups" : "runs");
  among("colour", [...(DATA.groups ? ["group"] : []), "run", "step", ...DATA.differing], isGrouped() ? "group" : DATA.colour);
  if (state.quantity === "") {
    state.quantity = withoutPlane() ? "preference_information" : axes()[0];
    state.below = isMeasured("rankme") ? "rankme" : withoutPlane() ? "" : axes()[1];
  }
}

/** The sites that the page holds of any run. */
const sites = () => [...new Set(["mean", ...DATA.sites, ...RUNS.flatMap((run) => run.sites)])];

/** What is said of the runs at the site and for the labels that are chosen; undefined where it was not worked out. */
const claims = () => DATA.claims[state.site]?.[state.order];
const phasesOf = (run) => claims().phases[run.number];

// ---- numbers -------------------------------------------------------------------------------------------------------

function unpack(run, number) {
  const widths = floats(run.bands);
  const bands = new Map(DATA.bandNames[run.keys].map((name, i) => [name, widths[i]]));
  const sets = run.notes.map((numbers) => {
    const texts = numbers.map((text) => DATA.texts[text]);
    return Object.fromEntries(texts.flatMap((name, i) => (i % 2 ? [] : [[name, texts[i + 1]]])));
  });
  const byPoint = (numbers, texts) => Object.fromEntries(Object.entries(numbers).map(([i, text]) => [i, texts[text]]));
  return {
    ...run, number, index: INDEX[run.keys], bands, table: floats(run.values),
    notes: byPoint(run.noted, sets), failures: byPoint(run.failures, DATA.texts),
  };
}

/** The least and the greatest of some numbers, however many: as arguments of Math.min, 100,000 are too many. */
function extent(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

/** Numbers of which the upper three bytes of each float32 are given, as ibtrack.report.payload packs them. */
function floats(text) {
  const packed = atob(text);
  const bytes = new Uint8Array((packed.length / 3) * 4);
  for (let i = 0; i < packed.length; i++) bytes[i + Math.floor(i / 3) + 1] = packed.charCodeAt(i);
  return new Float32Array(bytes.buffer);
}

/** A value at a point. A share of the ceiling is not in the table: it is worked out, as ibtrack.record.shares does. */
function read(run, key, i) {
  const cut = key.lastIndexOf("/") + 1;
  const share = DATA.units.share.indexOf(key.slice(cut));
  if (share >= 0) {
    const [part, ceiling] = [read(run, key.slice(0, cut) + DATA.units.log_k[share], i), read(run, ceilingKey(key), i)];
    return part !== null && ceiling !== null && ceiling >= DATA.smallestCeiling ? part / ceiling : null;
  }
  const row = run.index.get(key);
  const value = row === undefined ? NaN : run.table[row * run.steps.length + i];
  return Number.isFinite(value) ? value : null;
}

/** How many standard errors hold at all points of a run together; where it was not worked out, as of single layers, a
 * number that is always enough. */
function numErrors(run, ...keys) {
  const number = run.bands.get(keys.join(" ")) ?? run.careful[keys.length - 1];
  return Number.isFinite(number) ? number : null;
}

function halfWidth(run, key, i, number) {
  const se = read(run, key + "_se", i);
  return se === null || number === null ? null : number * se;
}

/** Half of the interval that is drawn around a value with a standard error. */
const drawnWidth = (se, band) => (!hasErrors() ? 0 : isTogether() ? band : DATA.z95 * se);

/** Whether errors are drawn, and whether these hold at all points of a run together; those of groups do not. */
const hasErrors = () => (isGrouped() ? state.spread : state.band) !== "none";
const isTogether = () => !isGrouped() && state.band === "simultaneous";

const ceilingKey = (key) => `ib/${key.split("/")[1]}/ceiling`;

/** Whether the runs are of a preference probe, which has no plane. */
const withoutPlane = () => isMeasured("preference_information") && !isMeasured("complexity");

/** Whether any run has a quantity, for any site, order and reading. */
function isMeasured(quantity) {
  if (quantity === "loss") return RUNS.some((run) => run.losses.some((loss) => loss !== null));
  const share = DATA.units.share.indexOf(quantity);
  if (share >= 0) return isMeasured(DATA.units.log_k[share]) && isMeasured("ceiling");
  return RUNS.some((run) => [...run.index.keys()].some((key) => key.endsWith("/" + quantity)));
}

function keyOf(quantity, site = state.site, reading = state.reading) {
  const scope = DATA.quantities[quantity].scope;
  if (scope === "run") return `ib/${quantity}`;
  if (scope === "site") return `ib/${site}/${quantity}`;
  return `ib${reading === "debiased" ? "" : "_" + reading}/${site}/${state.order}/${quantity}`;
}

/** The lower end of the bracket, in the unit of the value. */
function lowEnd(run, key, i) {
  const part = partOf(key);
  const [low, ceiling] = [read(run, part + "_low", i), part === key ? 1 : read(run, ceilingKey(key), i)];
  return low !== null && ceiling !== null && ceiling >= DATA.smallestCeiling ? low / ceiling : null;
}

/** The upper end of the bracket, which is the plug-in reading. */
const highEnd = (run, quantity, i, site) => (state.reading === "debiased" ? read(run, keyOf(quantity, site, "plugin"), i) : null);

/** The reason not to trust a value that a run has at a point, or null; a share is as doubtful as what it is a share of. */
function doubt(run, key, i) {
  return read(run, key, i) === null ? null : run.notes[i]?.[key] ?? run.notes[i]?.[partOf(key)] ?? null;
}

/** How far the spread between labels stands out of noise; that of a share is that of what it is a share of. */
const noiseOf = (run, key, i) => read(run, partOf(key) + "_z", i);

/** The key of the information that a key is a share of, or the key itself. */
function partOf(key) {
  const cut = key.lastIndexOf("/") + 1;
  const share = DATA.units.share.indexOf(key.slice(cut));
  return share < 0 ? key : key.slice(0, cut) + DATA.units.log_k[share];
}
/** The quantities on the axes of the plane: I(X;Z) and I(Y;Z) in the unit that was chosen, or in another. */
const axes = (unit = state.unit) => DATA.units[unit];
const unitWords = { share: "shares of the ceiling", log_k: "fractions of log K" };

/** The reason why a run has no value at a point. */
const why = (run, key, i) => whyMissing(run.notes[i] ?? {}, run.failures[i], key);

function titleOf(quantity) {
  const { title, unit } = DATA.quantities[quantity];
  return unit ? `${title}, ${unit}` : title;
}

/** The runs that are drawn; of a single layer those of which the page holds layers. */
const isShown = (run) => !state.hidden.has(run.number) && (state.site === "mean" || run.layers);
const shown = () => RUNS.filter(isShown);
const lastIndex = (run, step) => run.steps.findLastIndex((other) => other <= step);
const format = (value, digits = 3) => (value === null || value === undefined ? "—" : value.toFixed(digits));
const whole = (value) => (value === null || value === undefined ? "—" : value.toLocaleString("en"));

function withError(run, quantity, i, site, reading) {
  const key = keyOf(quantity, site, reading);
  const [value, se] = i < 0 ? [null, null] : [read(run, key, i), read(run, key + "_se", i)];
  const z = i < 0 || reading === "plugin" || reading === "null" ? null : noiseOf(run, key, i);
  const noise = z !== null && z < DATA.tellingZ ? " (not told from noise)" : "";
  const mark = i >= 0 && doubt(run, key, i) ? " (in doubt)" : noise;
  return format(value) + (value !== null && se !== null ? ` ± ${(DATA.z95 * se).toFixed(3)}` : "") + mark;
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

const groups = new Map();

function groupsOf(key) {
  if (!groups.has(key)) groups.set(key, groupsBy(key));
  return groups.get(key);
}

function groupsBy(key) {
  const values = key === "group" ? DATA.groups.members.map(({ name }) => name) : [...new Set(RUNS.map((run) => valueOf(key, run)))];
  const numeric = key !== "run" && key !== "group" && values.every((value) => value.trim() !== "" && Number.isFinite(Number(value)));
  if (numeric) values.sort((a, b) => a - b);
  const colour = (i) => (numeric ? ramp(i / Math.max(1, values.length - 1)) : DATA.palette[i % DATA.palette.length]);
  return values.map((value, i) => ({
    value, colour: colour(i), shape: numeric ? "circle" : DATA.shapes[Math.floor(i / DATA.palette.length) % DATA.shapes.length],
  }));
}

function look(run) {
  if (state.colour === "step") return groupsOf("run")[run.number];
  const value = valueOf(state.colour, run);
  return groupsOf(state.colour).find((group) => group.value === value);
}

const faded = (run) => state.focus !== "" && Number(state.focus) !== run.number;

function marks(run) {
  const { colour, shape } = look(run);
  const byStep = state.colour === "step";
  const opacity = faded(run) ? 0.15 : 1;
  return { shape, opacity, colour, line: byStep ? DATA.ink : colour, at: (step) => (byStep ? ramp(symlog(step)) : colour) };
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

// ---- rows of the charts: the columns of ibtrack.report.tables ------------------------------------------------------

function planeRows() {
  const [x, y] = axes().map((quantity) => keyOf(quantity));
  return shown().flatMap((run) => {
    const { line, shape, opacity, at } = marks(run);
    const number = numErrors(run, x, y);
    return run.steps.map((step, i) => {
      const [complexity, expressivity] = [read(run, x, i), read(run, y, i)];
      const missingKey = complexity === null ? x : expressivity === null ? y : null;
      return {
        run: run.label, step, checkpoint: run.checkpoints[i] ?? null, tokens: run.tokens[i], loss: run.losses[i], line, shape, opacity, colour: at(step),
        complexity, expressivity, complexity_se: read(run, x + "_se", i), expressivity_se: read(run, y + "_se", i),
        complexity_band: halfWidth(run, x, i, number), expressivity_band: halfWidth(run, y, i, number),
        complexity_anchor_sd: read(run, x + "_anchor_sd", i), expressivity_anchor_sd: read(run, y + "_anchor_sd", i),
        complexity_low: lowEnd(run, x, i), expressivity_low: lowEnd(run, y, i),
        complexity_high: highEnd(run, axes()[0], i), expressivity_high: highEnd(run, axes()[1], i),
        complexity_z: noiseOf(run, x, i), expressivity_z: noiseOf(run, y, i),
        doubt: doubt(run, x, i) ?? doubt(run, y, i), begins: run.begins[step] ?? null,
        why: missingKey === null ? null : why(run, missingKey, i),
      };
    });
  });
}

function curveRows(quantity = state.quantity, runs = shown(), site = state.site) {
  const key = keyOf(quantity, site);
  const isBounded = axes("log_k").includes(quantity); // a share is a part of the ceiling, so its ceiling would be 1
  const hasNull = isBounded || axes("share").includes(quantity);
  return runs.flatMap((run) => {
    const { colour, shape, opacity } = marks(run);
    const withReferences = state.references && !faded(run);
    const number = numErrors(run, key);
    return run.steps.map((step, i) => {
      const value = quantity === "loss" ? run.losses[i] : read(run, key, i);
      return {
        run: run.label, step, checkpoint: run.checkpoints[i] ?? null, tokens: run.tokens[i], loss: run.losses[i], line: colour, shape, opacity, colour, value,
        se: read(run, key + "_se", i), band: halfWidth(run, key, i, number), anchor_sd: read(run, key + "_anchor_sd", i),
        z: noiseOf(run, key, i), low: lowEnd(run, key, i), high: hasNull ? highEnd(run, quantity, i, site) : null, doubt: doubt(run, key, i),
        null: withReferences && hasNull && state.reading !== "null" ? read(run, keyOf(quantity, site, "null"), i) : null,
        ceiling: withReferences && isBounded ? read(run, keyOf("ceiling", site), i) : null,
        half: withReferences ? read(run, key + "_half", i) : null,
        why: value === null ? why(run, key, i) : null,
      };
    });
  });
}

function heatmapRun() {
  return RUNS[state.focus === "" ? DATA.claims.mean[state.order].ranking[0].run : Number(state.focus)];
}

function heatmapQuantity() {
  return DATA.quantities[state.quantity].scope === "run" ? axes()[0] : state.quantity;
}

const heatmapRows = () => heatmapRowsOf(heatmapRun());

function heatmapRowsOf(run) {
  return run.sites.flatMap((site, depth) => curveRows(heatmapQuantity(), [run], site).map((row) => ({ ...row, band: null, site, depth })));
}

const MOST_SENTENCES = 8; // under a chart

/** A sentence for each run that has points without a value, or no points. */
function missing(rows) {
  return perRun(rows, "why", "points have no value", "without a value", (run) => [`${run.label} has no points yet.`]);
}

/** A sentence for each run that has points whose value is in doubt. */
function doubted(rows) {
  return perRun(rows, "doubt", "points in doubt", "in doubt", () => []);
}

/** A sentence for each run that has points with a reason in a column: how many, and the first; the last says how many more runs there are. */
function perRun(rows, column, words, short, without) {
  const ofRun = new Map(shown().map((run) => [run.label, []]));
  for (const row of rows) ofRun.get(row.run).push(row);
  const sentences = shown().flatMap((run) => {
    const points = ofRun.get(run.label);
    const found = points.filter((row) => row[column] !== null);
    if (!points.length) return without(run);
    if (!found.length) return [];
    const drawn = points.length < run.points ? "drawn " : "";
    return [`${run.label}: ${found.length} of ${points.length} ${drawn}${words}, the first at step ${whole(found[0].step)}: ${found[0][column]}.`];
  });
  const rest = sentences.length - MOST_SENTENCES;
  return rest > 0 ? [...sentences.slice(0, MOST_SENTENCES), `${rest} more runs have points ${short}.`] : sentences;
}

/** The ends of each axis of the plane if they are fitted to the path: what is drawn, with a twentieth of it to spare. */
function fittedDomain(rows, name) {
  const ends = rows.flatMap((row) => {
    const width = row.opacity < 1 ? 0 : drawnWidth(row[name + "_se"], row[name + "_band"]) || 0;
    return row[name] === null ? [] : [row[name] - width, row[name] + width];
  });
  if (!ends.length) return [0, 1];
  const [low, high] = extent(ends);
  const room = (high - low || 0.1) / 20;
  return [low - room, high + room];
}

/** One domain for both axes of the plane, as ibtrack.report.tables.plane_domain chooses it. */
function domain(rows) {
  const ends = [0];
  for (const row of rows) {
    for (const name of ["complexity", "expressivity"]) {
      const [value, width] = [row[name], drawnWidth(row[name + "_se"], row[name + "_band"]) || 0];
      if (value !== null) ends.push(value - width, value + width);
    }
  }
  if (ends.length === 1) return [0, 1];
  const [low, high] = extent(ends);
  return [Math.floor(low * 100) / 100, Math.max(1, Math.ceil(high * 20)) / 20];
}
