// The tables and sentences beside the charts.

const NAMES = {
  complexity: "I(X;Z)", expressivity: "I(Y;Z)", kept: "I(X;Z)", told: "I(Y;Z)", preference_information: "I(pref;Z)",
};

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

/** The columns of the summary: what a run has in each, as a value to sort by and as text, and why there may be none. */
function columns() {
  const phase = (run) => run.phases[state.order];
  const end = (run) => run.steps.length - 1;
  const last = (run, quantity) => (end(run) < 0 ? null : read(run, keyOf(quantity, "mean", "debiased"), end(run)));
  const final = (quantity) => ({
    id: quantity, label: `final ${NAMES[quantity] ?? quantity}`, value: (run) => last(run, quantity),
    text: (run) => withError(run, quantity, end(run), "mean", "debiased"),
    why: (run) => (end(run) < 0 || last(run, quantity) !== null ? "" : why(run, keyOf(quantity, "mean", "debiased"), end(run))),
  });
  const config = settings().map((key) => ({
    id: "config." + key, className: "setting", label: shortName(key), value: (run) => run.config[key] ?? "—", text: (run) => run.config[key] ?? "—",
  }));
  const fall = (run) => -(phase(run).compression?.change ?? 0);
  const [, largest] = extent(RUNS.map(fall));
  const ranked = DATA.rankings[state.order].filter(({ behind }) => behind !== null).length;
  const uneven = new Set(RUNS.map(points)).size > 1 || RUNS.some((run) => run.failed);
  return [
    { id: "run", label: "run", value: (run) => run.label, text: nameCell },
    ...(DATA.following ? [{ id: "state", label: "state", value: stateOf, text: stateCell }] : []), // see live.js
    { id: "fall", label: "compression: I(X;Z) falls by", value: (run) => (phase(run).compression ? fall(run) : null),
      text: (run) => (phase(run).compression ? format(fall(run)) : withoutCompression(phase(run))),
      bar: (run) => fall(run) / (largest || 1) },
    { id: "num_se", label: "standard errors", value: (run) => phase(run).compression?.num_se ?? null, text: (run) => format(phase(run).compression?.num_se, 1) },
    ...(ranked > 1 ? [{ id: "behind", label: "se behind the first", value: (run) => place(run).behind, text: behind }] : []),
    { id: "since", label: "since step (95\u00a0%)", value: (run) => phase(run).compression?.start ?? null, text: (run) => since(phase(run).compression) },
    ...config,
    { id: "fitting", label: "fitting until", value: (run) => phase(run).fitting?.end ?? null, text: (run) => whole(phase(run).fitting?.end) },
    ...(isMeasured("preference_information") ? [final("preference_information")] : []),
    ...axes(phaseUnit()).map(final), final("optimality"),
    { id: "loss", label: "final loss", value: (run) => run.losses[end(run)] ?? null, text: (run) => format(run.losses[end(run)]) },
    { id: "last", label: "last step", value: (run) => run.steps[end(run)] ?? null, text: (run) => whole(run.steps[end(run)]) },
    ...(uneven ? [{ id: "points", label: "points", value: (run) => run.points, text: points }] : []),
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
const phaseUnit = () => DATA.phaseUnits[state.order];

const place = (run) => DATA.rankings[state.order].find((other) => other.run === run.number);

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
  const active = document.activeElement?.dataset?.column;
  const all = columns();
  const column = all.find((other) => other.id === state.sort.column) ?? all[0];
  $("summary").tHead.replaceChildren(cell("tr", ...all.map((other) => headCell(other, column))));
  $("summary").tBodies[0].replaceChildren(...inOrder().map((run) => {
    const row = cell("tr", ...all.map((other) => {
      const td = Object.assign(cell("td", other.text(run)), { className: other.className ?? "" });
      if (other.why?.(run)) td.title = other.why(run);
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
  const [headline, rest] = DATA.verdicts[state.order];
  $("verdict").textContent = headline;
  $("verdict-rest").textContent = rest;
  $("verdict-of").textContent = state.site === "mean" && state.reading === "debiased" ? "" :
    "These sentences and the table below are of the mean over the layers, debiased reading; the charts are of what is chosen." +
    (state.site === "mean" ? "" : ` Of layer ${state.site} by itself: ibtrack show RUN --site ${state.site}`);
  const thresholds = RUNS.map((run) => run.phases[state.order].threshold).filter((value) => value !== null);
  const needed = thresholds.length ? ` (here ${[...new Set(extent(thresholds).map((value) => value.toFixed(1)))].join(" to ")})` : "";
  const dropped = DATA.differing.length > settings().length ? " Not all settings that differ have a column; choose them under Colour by." : "";
  const begun = RUNS.some((run) => run.phases[state.order].compression?.begins) ? " In brackets after a step: the steps between which the fall begins, with 95 % certainty." : "";
  const tied = DATA.rankings[state.order].some((other) => other.tied && other.behind)
    ? " Tied: noise could make the difference to the first in one of twenty such sets of runs." : "";
  $("summary-note").textContent =
    `Mean over the layers, ${state.order} labels, debiased reading, ${unitWords[phaseUnit()]}. A change counts as a phase when it ` +
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

/** Say under each table that is cut off at the right that it scrolls. */
function updateHints() {
  for (const hint of document.querySelectorAll(".wide + .scrolls")) {
    const box = hint.previousElementSibling;
    hint.hidden = box.scrollWidth <= box.clientWidth;
  }
}

/** Complexity and expressivity of a run at a point, or why they are missing; one reason for both has one cell. */
function planeCells(run, i) {
  const [x, y] = axes();
  const reason = (quantity) => (i < 0 || read(run, keyOf(quantity), i) !== null ? null : why(run, keyOf(quantity), i));
  const reasons = [reason(x), reason(y)];
  if (reasons[0] !== null && reasons[0] === reasons[1]) {
    return [Object.assign(cell("td", reasons[0]), { colSpan: 2, className: "why" })];
  }
  return [x, y].map((quantity, k) => (
    reasons[k] === null ? cell("td", withError(run, quantity, i)) : Object.assign(cell("td", reasons[k]), { className: "why" })
  ));
}

function updateReadout() {
  const step = STEPS[state.at];
  const heads = ["run", "I(X;Z)", "I(Y;Z)", "loss"];
  $("readout").tHead.replaceChildren(cell("tr", ...heads.map((head) => Object.assign(cell("th", head), { scope: "col" }))));
  $("readout").tBodies[0].replaceChildren(...inOrder().filter(isShown).map((run) => {
    const i = step === undefined ? -1 : lastIndex(run, step);
    const late = i >= 0 && run.steps[i] !== step ? ` (step ${whole(run.steps[i])})` : "";
    const name = cell("span", swatch(look(run).colour, look(run).shape), cell("span", run.label + late));
    name.className = "run";
    return cell("tr", cell("td", name), ...planeCells(run, i), cell("td", format(run.losses[i])));
  }));
  $("readout-title").textContent = step === undefined ? "No points yet" : `At step ${whole(step)}`;
  $("step-text").textContent = step === undefined ? "no points" : `step ${whole(step)} of ${whole(STEPS[STEPS.length - 1])}`;
  $("step").setAttribute("aria-valuetext", $("step-text").textContent);
}

/** The means of the groups where all runs are compared. */
function matchedGroups({ groups, titles }) {
  const chosen = ["fall of I(X;Z)", "I(X;Z)", "I(Y;Z)"].map((title) => titles.indexOf(title));
  const heads = ["group", "runs", ...chosen.map((i) => titles[i])].map((head) => Object.assign(cell("th", head), { scope: "col" }));
  const rows = groups.map(({ group, runs, cells }) => {
    const { colour, shape } = groupsOf("group").find(({ value }) => value === group);
    const name = Object.assign(cell("span", swatch(colour, shape), cell("span", group)), { className: "run" });
    return cell("tr", cell("td", name), cell("td", String(runs)), ...chosen.map((i) => cell("td", cells[i])));
  });
  const table = Object.assign(cell("table", cell("thead", cell("tr", ...heads)), cell("tbody", ...rows)), { className: "plain" });
  return [table, Object.assign(cell("p", `Means with the standard deviation between runs; numbers are ${unitWords[phaseUnit()]}, mean over the layers.`), { className: "small" })];
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
  const matched = state.colour === "group" ? DATA.effects[state.order][state.matched] : undefined;
  if (matched && !matched.why) return box.replaceChildren(cell("h3", `By ${DATA.groups.by}, ${matched.where}`), ...matchedGroups(matched));
  const fall = (run) => run.phases[state.order].compression;
  const rows = groupsOf(state.colour).map((group) => {
    const runs = RUNS.filter((run) => valueOf(state.colour, run) === group.value);
    const falls = runs.filter(fall).map((run) => -fall(run).change);
    const mean = falls.reduce((sum, value) => sum + value, 0) / falls.length;
    const spread = Math.sqrt(falls.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (falls.length - 1));
    const name = Object.assign(cell("span", swatch(group.colour, group.shape), cell("span", group.value)), { className: "run" });
    const text = falls.length ? format(mean) + (falls.length > 1 ? `, sd ${format(spread)}` : "") : "—";
    return cell("tr", cell("td", name), cell("td", `${falls.length} of ${runs.length}`), cell("td", text));
  });
  const by = state.colour === "group" ? DATA.groups.by : state.colour;
  const heads = [state.colour === "group" ? "group" : shortName(state.colour), "runs that compress", "mean fall of I(X;Z)"].map((head) => Object.assign(cell("th", head), { scope: "col" }));
  const table = Object.assign(cell("table", cell("thead", cell("tr", ...heads)), cell("tbody", ...rows)), { className: "plain" });
  const note = Object.assign(cell("p", "The sd is over runs: with several seeds per value it says what the standard errors of one run cannot."), { className: "small" });
  box.replaceChildren(cell("h3", `By ${by}`), table, note);
}

function failures(run) {
  if (!run.failed) return "";
  const first = `the first at step ${whole(run.failed.step)}: ${run.failed.why}.`;
  return ` ${run.failed.count} of ${run.points} points were not measured as a whole, ${first}`;
}

function updateSentences() {
  const inPlace = DATA.rankings[state.order].map(({ run }) => RUNS[run]);
  $("sentences").replaceChildren(...inPlace.flatMap((run) => [cell("dt", run.name), cell("dd", run.phases[state.order].sentence, failures(run))]));
}
