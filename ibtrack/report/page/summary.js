// The answer on top of the page: the sentence, the table of groups, and the table of single runs.

const NAMES = {
  complexity: "I(X;Z)", expressivity: "I(Y;Z)", kept: "I(X;Z)", told: "I(Y;Z)", preference_information: "I(pref;Z)",
};

function shortName(key) {
  const last = key.split(".").pop();
  return DATA.differing.filter((other) => other.split(".").pop() === last).length > 1 ? key : last;
}

/** One setting for each way in which settings part the runs, as many as a table has room for, less those in every label. */
function settings() {
  const parts = new Map();
  for (const key of DATA.differing) {
    const values = RUNS.map((run) => run.config[key]);
    const way = values.map((value) => values.indexOf(value)).join();
    if (!parts.has(way)) parts.set(way, key);
  }
  const isNamed = (key) => RUNS.every((run) => run.label.split(" ").includes(`${shortName(key)}=${run.config[key]}`));
  return [...parts.values()].filter((key) => !isNamed(key)).slice(0, 4);
}

/** The columns of single runs: what a run has in each, as a value to sort by and as text, and why there may be none. */
function columns() {
  const end = (run) => run.steps.length - 1;
  const last = (run, quantity) => (end(run) < 0 ? null : read(run, keyOf(quantity, state.site, "debiased"), end(run)));
  const final = (quantity) => ({
    id: quantity, label: `final ${NAMES[quantity] ?? quantity}`, value: (run) => last(run, quantity),
    text: (run) => withError(run, quantity, end(run), state.site, "debiased"),
    why: (run) => (end(run) < 0 || last(run, quantity) !== null ? "" : why(run, keyOf(quantity, state.site, "debiased"), end(run))),
  });
  const config = settings().map((key) => ({
    id: "config." + key, className: "setting", label: shortName(key), value: (run) => run.config[key] ?? "—", text: (run) => run.config[key] ?? "—",
  }));
  const uneven = new Set(RUNS.map(points)).size > 1 || RUNS.some((run) => run.failed);
  return [
    { id: "run", label: "run", value: (run) => run.label, text: nameCell },
    ...(DATA.following ? [{ id: "state", label: "state", value: stateOf, text: stateCell }] : []), // see live.js
    ...(claims() ? phaseColumns() : []), ...config,
    ...(isMeasured("preference_information") ? [final("preference_information")] : []),
    ...axes(phaseUnit()).map(final), final("optimality"),
    { id: "loss", label: "final loss", value: (run) => run.losses[end(run)] ?? null, text: (run) => format(run.losses[end(run)]) },
    { id: "last", label: "last step", value: (run) => run.steps[end(run)] ?? null, text: (run) => whole(run.steps[end(run)]) },
    ...(uneven ? [{ id: "points", label: "points", value: (run) => run.points, text: points }] : []),
  ];
}

/** The columns of what is said of the runs. */
function phaseColumns() {
  const fall = (run) => -(phasesOf(run).compression?.change ?? 0);
  const [, largest] = extent(RUNS.map(fall));
  const isRanked = claims().ranking.filter(({ behind }) => behind !== null).length > 1;
  return [
    { id: "fall", label: "compression: I(X;Z) falls by", value: (run) => (phasesOf(run).compression ? fall(run) : null),
      text: (run) => (phasesOf(run).compression ? format(fall(run)) : withoutCompression(phasesOf(run))),
      bar: (run) => fall(run) / (largest || 1) },
    { id: "num_se", label: "standard errors", value: (run) => phasesOf(run).compression?.num_se ?? null, text: (run) => format(phasesOf(run).compression?.num_se, 1) },
    ...(isRanked ? [{ id: "behind", label: "se behind the first", value: (run) => place(run).behind, text: behind }] : []),
    { id: "since", label: "since step (95\u00a0%)", value: (run) => phasesOf(run).compression?.start ?? null, text: (run) => since(phasesOf(run).compression) },
    { id: "fitting", label: "fitting until", value: (run) => phasesOf(run).fitting?.end ?? null, text: (run) => whole(phasesOf(run).fitting?.end) },
  ];
}

/** Why there is no compression: nothing beyond noise, or a fall of what had never been gained. */
function withoutCompression({ decided, collapse }) {
  if (!decided) return "not known";
  return collapse ? `none; a collapse by ${format(-collapse.change)}` : "none beyond noise";
}

/** The step at which a fall begins, and the steps between which it does with 95 % certainty. */
function since(fall) {
  const steps = fall?.begins ? ` (${fall.begins.map(whole).join("–")})` : "";
  return cell("span", whole(fall?.start), Object.assign(cell("span", steps), { className: "begins" }));
}

/** The unit in which runs are compared, whatever the plane is drawn in. */
const phaseUnit = () => (claims() ?? DATA.claims.mean[state.order]).unit;

const place = (run) => claims().ranking.find((other) => other.run === run.number);

function behind(run) {
  const { behind, tied } = place(run);
  if (behind === null) return "—";
  return behind === 0 ? "first" : format(behind, 1) + (tied ? ", tied" : "");
}

function points(run) {
  return run.points + (run.failed ? `, ${run.failed.count} failed` : "");
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
    if (a === null || b === null) return (a === null) - (b === null); // runs without a value come last either way
    return (state.sort.down ? -1 : 1) * order(a, b);
  });
}

function updateSummary() {
  updateVerdict();
  updateGroupSummary();
  const active = document.activeElement?.dataset?.column;
  const all = columns();
  const column = all.find((other) => other.id === state.sort.column) ?? all[0];
  $("summary").tHead.replaceChildren(cell("tr", ...all.map((other) => headCell(other, column))));
  $("summary").tBodies[0].replaceChildren(...inOrder().map((run) => {
    const row = cell("tr", ...all.map((other) => {
      const td = Object.assign(cell("td", other.text(run)), { className: other.className ?? "" });
      if (other.why?.(run)) td.title = other.why(run);
      if (other.bar && other.value(run) !== null && RUNS.length > 1) td.append(bar(other.bar(run)));
      return td;
    }));
    row.classList.toggle("off", state.hidden.has(run.number));
    row.classList.toggle("most", state.focus === String(run.number));
    return row;
  }));
  if (active) $("summary").querySelector(`[data-column="${CSS.escape(active)}"]`)?.focus();
  $("summary-note").textContent = claims() ? summaryWords() : "";
}

function bar(share) {
  const track = Object.assign(cell("span", cell("span")), { className: "bar" });
  track.firstElementChild.style.width = `${Math.round(100 * Math.max(0, share))}%`;
  return track;
}

const notClaimed = () => `Phases, ranking and effects of ${where()} are not worked out on this page.`;

/** The first sentences, and of what they are: always of the layer and the labels that are chosen. */
function updateVerdict() {
  const [headline, rest] = claims()?.verdict ?? [notClaimed(), `They take long for so many points and layers. For one run: ibtrack show RUN --site ${state.site} --order ${state.order}`];
  $("verdict").textContent = headline;
  $("verdict-rest").textContent = rest;
  const isUsual = state.site === "mean" && state.order === DATA.orders[0];
  const of = isUsual ? "" : `Of the ${where()}, ${state.order} labels.`.replace("Of the layer", "Of layer");
  const reading = state.reading === "debiased" || !claims() ? "" : `Sentences and tables are of the debiased reading; the charts show the ${state.reading === "null" ? "null" : "plug-in"}.`;
  $("verdict-of").textContent = [of, reading].filter(Boolean).join(" ");
}

/** What the numbers in the table of single runs are, and what its words mean. */
function summaryWords() {
  const { phases, ranking } = claims();
  const thresholds = phases.map((each) => each.threshold).filter((value) => value !== null);
  const needed = thresholds.length ? ` (here ${[...new Set(extent(thresholds).map((value) => value.toFixed(1)))].join(" to ")})` : "";
  const dropped = DATA.differing.length > 4 ? " Not all settings that differ have a column; choose them under Colour by." : "";
  const begun = phases.some((each) => each.compression?.begins) ? " In brackets after a step: the steps between which the fall begins, with 95 % certainty." : "";
  const tied = ranking.some((other) => other.tied && other.behind)
    ? " Tied: noise could make the difference to the first in one of twenty such sets of runs." : "";
  return `${where()[0].toUpperCase() + where().slice(1)}, ${state.order} labels, debiased reading, ${unitWords[phaseUnit()]}. A change counts as a phase when it ` +
    `is more standard errors than noise would reach anywhere in a run${needed}, at 5 % for the whole run. The standard errors (se) are over the probe's ` +
    `documents, not over training seeds. A fall of what had not been gained before is a collapse, and a fall of the fraction of log K alone is a narrowing: neither is counted as compression.${begun}${tied}${dropped}`;
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

// ---- groups --------------------------------------------------------------------------------------------------------

/** One row for each group of seeds, at the step of the first sentence; of two groups a row with their difference. */
function updateGroupSummary() {
  const found = isGrouped() ? claims()?.effects.step : undefined;
  const isShownHere = Boolean(found) && !found.why;
  $("group-part").hidden = !isShownHere;
  $("single-title").parentElement.hidden = !isGrouped();
  if (!isGrouped()) $("single").open = true;
  if (!isShownHere) return;
  const at = found.titles.map((title, i) => i).sort((a, b) => rank(found.titles[a]) - rank(found.titles[b]));
  const heads = [byName(), found.titles[at[0]], "runs", "compression in", "since step", ...at.slice(1).map((i) => found.titles[i])];
  const largest = extent(found.groups.map(({ means }) => means[at[0]] ?? 0))[1];
  const rows = found.groups.map((group) => groupSummaryRow(group, at, largest));
  $("group-summary").tHead.replaceChildren(headRow(heads));
  $("group-summary").tBodies[0].replaceChildren(...rows, ...(found.groups.length === 2 ? [differenceRow(found, at)] : []));
  $("group-note").textContent = `Means over the runs of each group ${found.where}, with the standard deviation between them (sd): ${where()}, ${state.order} labels, ${unitWords[phaseUnit()]}. ` +
    "Compression is a fall of I(X;Z), how much of the tokens just read is kept, counted from the top of its largest rise; I(Y;Z) is how much is told of the tokens to come. " +
    (found.groups.length === 2 ? "In square brackets, and drawn as a line: the 95 % interval of the difference, from the spread between runs; where 0, the dashed line, lies inside, chance in training could have made it. The grey box is the error of the probe alone." : "Differences between the groups with their intervals: What settings do, below.");
}

/** The settings that make the groups, by their short names. */
const byName = () => DATA.groups.by.split(", ").map(shortName).join(", ");

function twoLines(first, second) {
  return cell("td", first, Object.assign(cell("span", second), { className: "begins" }));
}

/** A mean, and below it the standard deviation between runs. */
function inCell(text) {
  const [value, spread] = text.split(" (");
  return twoLines(value, spread ? `(${spread}` : "");
}

/** The fall comes first: it is what the first sentence is about. */
const rank = (title) => (title === "fall of I(X;Z)" ? -1 : 0);

function groupSummaryRow({ group, runs, cells, means }, at, largest) {
  const { members } = DATA.groups;
  const own = members.find(({ name }) => name === group);
  const falls = own.runs.map((number) => phasesOf(RUNS[number]).compression).filter(Boolean);
  const [first, last] = extent(falls.map(({ start }) => start));
  const steps = falls.length ? [...new Set([first, last])].map(whole).join(" to ") : "—";
  const name = namedSwatch(groupsOf("group").find(({ value }) => value === group));
  const fall = inCell(cells[at[0]]);
  fall.firstChild.after(bar(largest > 0 ? (means[at[0]] ?? 0) / largest : 0));
  const [head, ...rest] = [
    cell("th", name), fall, twoLines(String(runs), own.seeds),
    cell("td", `${falls.length} of ${own.runs.length} runs`), cell("td", steps), ...at.slice(1).map((i) => inCell(cells[i])),
  ];
  head.scope = "row";
  return cell("tr", head, ...rest);
}

/** The difference of two groups in each quantity. */
function differenceRow({ contrasts, titles }, at) {
  const of = (i) => contrasts.find(({ quantity }) => quantity === titles[i]);
  const text = (each) => {
    if (!each) return cell("td", "—");
    const interval = Object.assign(cell("span", each.low === null ? "" : `[${each.interval_text}]`), { className: "begins" });
    const td = cell("td", each.difference_text, interval);
    td.classList.toggle("told", each.told);
    return td;
  };
  const fall = text(of(at[0]));
  if (of(at[0])) fall.append(picture(of(at[0]), [of(at[0])]));
  const head = Object.assign(cell("th", contrasts[0]?.pair ?? "difference"), { scope: "row" });
  return Object.assign(cell("tr", head, fall, cell("td"), cell("td"), cell("td"), ...at.slice(1).map((i) => text(of(i)))), { className: "difference" });
}
