// The details of a run, all of its points and layers: a script beside the page, loaded when the run is highlighted.

const asked = new Set();

/** Whether the page holds less of a run than there is, and has a folder with the rest. */
const hasMore = (run) => DATA.folder !== "" && !asked.has(run.number) && (!run.layers || run.steps.length < run.points);

/** Load the details of the run that is highlighted, once. */
function loadDetails() {
  const run = RUNS[state.focus === "" ? -1 : Number(state.focus)];
  if (!run || !hasMore(run)) return;
  asked.add(run.number);
  const script = document.createElement("script");
  script.src = `${encodeURIComponent(DATA.folder)}/run${String(run.number).padStart(3, "0")}.js`;
  script.addEventListener("error", () => sayDetails(`The details of ${run.label} are not beside the page: the folder ${DATA.folder} belongs to it. Shown is what the page itself holds.`));
  sayDetails(`Loading the details of ${run.label} …`);
  document.head.append(script);
}

/** Take the details of a run: what its script calls. */
window.ibtrackDetails = async (number, found) => {
  const run = RUNS[number];
  if (!run || run.name !== found.name || run.points !== found.points || (run.last ?? run.steps.at(-1) ?? null) !== found.last) {
    return sayDetails(`The folder ${DATA.folder} is that of another report. Write both again; shown is what the page itself holds.`);
  }
  const { keys, notes, failures, ...columns } = found;
  Object.assign(run, columns, { table: floats(found.values), index: new Map(keys.map((key, i) => [key, i])), notes, failures });
  measureSteps();
  siteChoices();
  sayDetails("");
  await drawAll();
};

function sayDetails(text) {
  $("details-note").textContent = text;
  $("details-note").hidden = text === "";
}

/** Take in the steps of runs whose details have come, and keep the slider where it was. */
function measureSteps() {
  const [step, isLast] = [STEPS[state.at], state.at === STEPS.length - 1];
  STEPS = [...new Set(RUNS.flatMap((run) => run.steps))].sort((a, b) => a - b);
  state.at = isLast ? STEPS.length - 1 : STEPS.indexOf(step);
  $("step").max = Math.max(0, STEPS.length - 1);
  $("step").value = state.at;
}

/** List the layers that the page holds of any run. */
function siteChoices() {
  offer("site", sites().map((site) => [site, site === "mean" ? "mean of layers" : site]));
}
