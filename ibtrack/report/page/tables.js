// The tables and sentences beside the charts.

function cell(tag, ...content) {
  const element = document.createElement(tag);
  element.append(...content);
  return element;
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

/** What the colours of the charts mean, and how the runs of each value of a setting compress. */
function updateGroups() {
  const box = $("groups");
  if (state.colour === "run") return box.replaceChildren();
  if (state.colour === "step") {
    const bar = Object.assign(cell("div"), { className: "ramp" });
    bar.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(ramp).join(", ")})`;
    const ends = Object.assign(cell("div", cell("span", "step 0"), cell("span", `step ${whole(STEPS[STEPS.length - 1])}, log scale`)), { className: "ends" });
    return box.replaceChildren(cell("h3", "Colour: step"), bar, ends);
  }
  if (state.colour === "group" && !claims()?.effects.step?.why) {
    const names = groupsOf("group").map(({ value, colour, shape }) => Object.assign(cell("span", swatch(colour, shape), cell("span", value)), { className: "run" }));
    return box.replaceChildren(cell("h3", `Colour: ${byName()}`), Object.assign(cell("div", ...names), { className: "legend" }));
  }
  if (!claims()) return box.replaceChildren();
  const heads = [state.colour === "group" ? "group" : shortName(state.colour), "runs that compress", "mean fall of I(X;Z)"].map((head) => Object.assign(cell("th", head), { scope: "col" }));
  const table = Object.assign(cell("table", cell("thead", cell("tr", ...heads)), cell("tbody", ...compressingRows(state.colour))), { className: "plain" });
  const note = Object.assign(cell("p", "The sd is over runs: with several seeds per value it says what the standard errors of one run cannot."), { className: "small" });
  box.replaceChildren(cell("h3", `By ${state.colour === "group" ? byName() : state.colour}`), table, note);
}

/** A row for each value of a setting: how many of its runs compress, and by how much. */
function compressingRows(key) {
  const fall = (run) => phasesOf(run).compression;
  return groupsOf(key).map((group) => {
    const runs = RUNS.filter((run) => valueOf(key, run) === group.value);
    const falls = runs.filter(fall).map((run) => -fall(run).change);
    const spread = deviation(falls);
    const text = falls.length ? format(mean(falls)) + (spread === null ? "" : `, sd ${format(spread)}`) : "—";
    return cell("tr", cell("td", namedSwatch(group)), cell("td", `${falls.length} of ${runs.length}`), cell("td", text));
  });
}

const namedSwatch = ({ colour, shape, value }) => Object.assign(cell("span", swatch(colour, shape), cell("span", value)), { className: "run" });

function failures(run) {
  if (!run.failed) return "";
  const first = `the first at step ${whole(run.failed.step)}: ${run.failed.why}.`;
  return ` ${run.failed.count} of ${run.points} points were not measured as a whole, ${first}`;
}

function updateSentences() {
  const said = claims();
  $("phases").parentElement.hidden = RUNS.length === 1 || !said; // of one run its phases are the sentence on top
  if (!said) return;
  $("sentences").replaceChildren(...said.ranking.map(({ run }) => RUNS[run]).flatMap((run) => (
    [Object.assign(cell("dt", run.label), { title: run.name }), cell("dd", phasesOf(run).sentence, failures(run))]
  )));
}
