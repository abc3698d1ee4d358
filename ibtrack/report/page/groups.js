// Runs that differ in their seeds alone are drawn as one: the mean of each group, the spread between its runs, and these
// faint behind it.

const FAINT = 0.18;
const isGrouped = () => DATA.groups !== null && state.view === "groups";

/** The value by which a run is coloured. */
function valueOf(key, run) {
  if (key === "run") return run.label;
  if (key === "group") return DATA.groups.members.find(({ runs }) => runs.includes(run.number)).name;
  return run.config[key] ?? "—";
}

/** Rows of a chart, with those of the groups after those of their runs; `columns` are the numbers that are drawn. */
function inGroups(rows, columns) {
  if (!isGrouped()) return rows;
  const ofRun = new Map(shown().map((run) => [run.label, []]));
  for (const row of rows) ofRun.get(row.run).push(row);
  const means = DATA.groups.members.flatMap((group) => groupRows(group, ofRun, columns));
  const without = Object.fromEntries(columns.flatMap(errorColumns).map((name) => [name, null]));
  const faint = (row) => ({ ...row, ...without, null: null, ceiling: null, half: null, low: null, opacity: isFocused(row.run) ? 1 : FAINT });
  return [...rows.map(faint), ...means];
}

const errorColumns = (column) => (column === "value" ? ["se", "band"] : [column + "_se", column + "_band"]);
const isFocused = (label) => state.focus !== "" && RUNS[Number(state.focus)].label === label;

/** The mean of a group at each step at which all of its runs have a value; the error columns are the spread between them. */
function groupRows(group, ofRun, columns) {
  const runs = group.runs.map((number) => RUNS[number]).filter(isShown).map((run) => ofRun.get(run.label));
  if (!runs.length) return [];
  const tables = runs.map((rows) => new Map(rows.map((row) => [row.step, row])));
  return [...tables[0].keys()].flatMap((step) => {
    const together = tables.map((table) => table.get(step));
    if (together.some((row) => !row || columns.some((column) => row[column] === null))) return [];
    const row = { ...together[0], run: groupLabel(group, runs.length), opacity: state.focus === "" ? 1 : 2 * FAINT };
    for (const column of ["tokens", "loss", "null", "ceiling", ...columns]) {
      const values = together.map((each) => each[column] ?? null);
      row[column] = values.includes(null) ? null : mean(values);
    }
    for (const column of columns) {
      const spread = deviation(together.map((each) => each[column]));
      const [se, band] = errorColumns(column);
      row[se] = spread === null ? null : spread / DATA.z95; // what is drawn is z95 of it
      row[band] = state.band === "simultaneous" ? spread : null;
    }
    for (const name of Object.keys(row)) if (/_sd$|_low$|_high$|(^|_)z$|^(low|high|half|doubt|why)$/.test(name)) row[name] = null;
    return [row];
  });
}

const groupLabel = (group, number) => (number > 1 ? `${group.name}: mean of ${number} runs, ± sd between them` : `${group.name}: one run`);
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function deviation(values) {
  const middle = mean(values);
  return values.length < 2 ? null : Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

const groupWords = (mark) => `Full: the mean of each group, ${mark} ± 1 standard deviation between its runs. Faint: its runs.`;
