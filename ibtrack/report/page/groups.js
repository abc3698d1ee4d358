// Runs that differ in their seeds alone are drawn as one: the mean of each group, the spread between its runs, and these
// faint behind it.

/** How strongly the runs behind the means are drawn: of very many each one less. */
const faint = () => Math.min(0.18, 3 / extent(DATA.groups.members.map(({ runs }) => runs.length))[1]);
const isGrouped = () => DATA.groups !== null && state.view === "groups";

/** The value by which a run is coloured. */
function valueOf(key, run) {
  if (key === "run") return run.label;
  if (key === "group") return DATA.groups.members.find(({ runs }) => runs.includes(run.number)).name;
  return run.config[key] ?? "—";
}

/** Rows of a chart, with those of the groups after those of their runs; `columns` are the numbers that are drawn. */
function inGroups(rows, columns) {
  if (!isGrouped()) return markShared(rows, columns);
  const ofRun = new Map(shown().map((run) => [run.label, []]));
  for (const row of rows) ofRun.get(row.run).push(row);
  const means = withErrors(DATA.groups.members.flatMap((group) => groupRows(group, ofRun, columns)), columns);
  const without = Object.fromEntries(columns.flatMap(errorColumns).map((name) => [name, null]));
  const behind = faint();
  const asFaint = (row) => ({ ...row, ...without, null: null, ceiling: null, half: null, low: null, opacity: isFocused(row.run) ? 1 : behind });
  return [...rows.map(asFaint), ...markShared(means, columns)];
}

const errorColumns = (column) => (column === "value" ? ["se", "band"] : [column + "_se", column + "_band"]);
const isFocused = (label) => state.focus !== "" && RUNS[Number(state.focus)].label === label;

/** The mean of a group at each step at which all of its runs have a value, with what its runs have there in `members`. */
function groupRows(group, ofRun, columns) {
  const runs = group.runs.map((number) => RUNS[number]).filter(isShown).map((run) => ofRun.get(run.label));
  if (!runs.length) return [];
  const tables = runs.map((rows) => new Map(rows.map((row) => [row.step, row])));
  return [...tables[0].keys()].flatMap((step) => {
    const together = tables.map((table) => table.get(step));
    if (together.some((row) => !row || columns.some((column) => row[column] === null))) return [];
    const row = { ...together[0], run: groupLabel(group, runs.length), opacity: state.focus === "" ? 1 : 2 * faint() };
    for (const column of ["tokens", "loss", "null", "ceiling", ...columns]) {
      const values = together.map((each) => each[column] ?? null);
      row[column] = values.includes(null) ? null : mean(values);
    }
    for (const name of Object.keys(row)) if (/_sd$|_low$|_high$|(^|_)z$|^(low|high|half|doubt|why|checkpoint)$/.test(name)) row[name] = null;
    return [{ ...row, members: Object.fromEntries(columns.map((column) => [column, together.map((each) => each[column])])) }];
  });
}

/** Give the means their errors: the spread between the runs of each, or the 95 % interval of the mean. For that the
 * spreads of all groups at a step are pooled, as ibtrack.analysis.effects does. */
function withErrors(means, columns) {
  const atStep = new Map();
  for (const row of means) atStep.set(row.step, [...(atStep.get(row.step) ?? []), row]);
  return means.map(({ members, ...row }) => {
    for (const column of columns) {
      const all = atStep.get(row.step).map((other) => other.members[column]);
      const [se, band] = errorColumns(column);
      const width = state.spread === "mean" ? halfOfMean(members[column].length, all) : deviation(members[column]);
      row[se] = width === null ? null : width / DATA.z95; // what is drawn is z95 of it
      row[band] = null;
    }
    return row;
  });
}

/** Half of the 95 % interval of a mean of so many runs, by the spread within all groups; null where nothing tells it. */
function halfOfMean(number, groupsOfValues) {
  const free = groupsOfValues.reduce((sum, values) => sum + values.length - 1, 0);
  if (free === 0) return null;
  const squares = groupsOfValues.reduce((sum, values) => sum + values.reduce((own, value) => own + (value - mean(values)) ** 2, 0), 0);
  return (DATA.t95[Math.min(free, DATA.t95.length) - 1] * Math.sqrt(squares / free)) / Math.sqrt(number);
}

const SPREAD_WORDS = { sd: "± sd between them", mean: "± 95 % of the mean", none: "± sd between them" };

const groupLabel = (group, number) => (number > 1 ? `${group.name}: mean of ${number} runs, ${SPREAD_WORDS[state.spread]}` : `${group.name}: one run`);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function deviation(values) {
  const middle = mean(values);
  return values.length < 2 ? null : Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

/** What is drawn of groups. */
function groupWords(mark) {
  const errors = {
    sd: `, ${mark} ± 1 standard deviation between its runs`,
    mean: `, ${mark} its 95 % interval at each point, from the spread of runs within all groups`,
    none: "",
  }[state.spread];
  return `Full: the mean of each group${errors}. Faint: its runs.`;
}

// ---- lines that lie on one another ---------------------------------------------------------------------------------

const CLOSE = 0.004;
const MOST_MARKED = 24; // runs that look different

/** Count the lines over each point, as ibtrack.report.shared_paths does. */
function markShared(rows, columns) {
  const names = [...new Set(rows.map((row) => row.run))];
  if (names.length > MOST_MARKED) return rows.map((row) => ({ ...row, shared: 0, stretch: 0 }));
  const place = new Map(names.map((name, i) => [name, i]));
  const spans = columns.map((column) => {
    const [low, high] = extent(rows.map((row) => row[column]).filter((value) => value !== null));
    return high > low ? high - low : 0;
  });
  const atStep = new Map();
  for (const row of rows) atStep.set(row.step, [...(atStep.get(row.step) ?? []), row]);
  const isClose = (one, other) => columns.every((column, i) => one[column] !== null && other[column] !== null && Math.abs(one[column] - other[column]) <= CLOSE * spans[i]);
  let before = null;
  return rows.map((row) => {
    const over = atStep.get(row.step).filter((other) => place.get(other.run) > place.get(row.run));
    const shared = over.filter((other) => isClose(row, other)).length;
    const goesOn = before !== null && before.run === row.run;
    before = { ...row, shared, stretch: goesOn ? before.stretch + (before.shared !== shared ? 1 : 0) : 0 };
    return before;
  });
}

const sharedWords = (rows) => (rows.some((row) => row.shared > 0) ? "Where lines lie on one another, the lower ones are drawn wider." : "");
