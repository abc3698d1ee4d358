// What the reader can move. The page starts here, by `render`, which takes a new payload at any time.

function update() {
  updateSummary();
  updateReadout();
  updateGroups();
  updateSentences();
  updateEffects();
  updatePlane();
  updateCurves();
  updateHeatmap();
  updateMultiples();
  updateHints();
}

function setFocus(value) {
  state.focus = value;
  $("focus").value = value;
  loadDetails();
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

/** What a list offers; one that offers it already stays as it is, as it may be open. What is chosen is in `state`. */
function offer(id, options, name = id) {
  const offered = [...$(id).options].map(({ value, text }) => [value, text]);
  if (JSON.stringify(offered) !== JSON.stringify(options)) $(id).replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  $(id).value = state[name];
}

const SPREADS = { sd: "spread of runs (± 1 sd)", mean: "mean of runs (95 %)", none: "none" };
const BANDS = { pointwise: "each point (95 %)", simultaneous: "all points together (95 %)", none: "none" };

/** What is drawn as bars and bands: of groups how their runs differ, of single runs what the probe leaves open. */
function errorChoices() {
  offer("band", Object.entries(isGrouped() ? SPREADS : BANDS), isGrouped() ? "spread" : "band");
}

/** Fill the lists with what there is to choose from in the runs. */
function offerAll() {
  const pairs = (names) => names.map((name) => [name, name]);
  offer("order", pairs(DATA.orders));
  siteChoices();
  offer("reading", DATA.readings.map((reading) => [reading, { null: "null (shuffled)", plugin: "plug-in" }[reading] ?? reading]));
  offer("unit", Object.entries({ share: "share of ceiling", log_k: "fraction of log K" }));
  errorChoices();
  offer("view", [["groups", "groups"], ["runs", "single runs"]]);
  $("view").closest("label").hidden = !DATA.groups;
  offer("colour", [...(DATA.groups ? [["group", `group (${byName()})`]] : []), ...pairs(["run", "step", ...DATA.differing])]);
  offer("focus", [["", "none"], ...RUNS.map((run) => [String(run.number), run.label])]);
  const measured = Object.entries(DATA.quantities).filter(([name]) => isMeasured(name) || name === state.quantity);
  const titles = measured.map(([name, { title }]) => [name, title]);
  offer("quantity", titles);
  offer("below", [["", "nothing"], ...titles]);
  offer("matched", pairs(["step", "tokens", "loss"]));
  $("x").value = state.x;
  $("references").checked = state.references;
  $("bracket").checked = state.bracket;
  $("bracket").closest("label").hidden = !isMeasured("complexity_low");
  $("fitted").checked = state.fitted;
  $("plane").closest("figure").hidden = withoutPlane();
  $("step").max = Math.max(0, STEPS.length - 1);
  $("step").value = state.at;
  $("step").disabled = $("play").disabled = STEPS.length < 2;
  $("summary").parentElement.classList.toggle("tall", RUNS.length > DATA.palette.length * DATA.shapes.length);
}

/** Let a choice set what is in `state`, and then draw. */
function choose(id, then = update) {
  $(id).addEventListener("change", () => {
    state[id] = $(id).type === "checkbox" ? $(id).checked : $(id).value;
    then();
  });
}

const drawn = (draw) => async () => {
  await draw();
  fit();
  update();
};

/** Listen to the controls, once. */
function listen() {
  for (const id of ["order", "site", "reading", "colour", "quantity"]) choose(id);
  choose("fitted", updatePlane);
  choose("unit", drawn(drawPlane));
  choose("below", drawn(drawCurves));
  choose("x", drawn(drawCurves));
  choose("focus", () => setFocus(state.focus));
  choose("references", updateCurves);
  choose("bracket", updateCurves);
  choose("view", () => {
    state.colour = isGrouped() ? "group" : DATA.colour;
    $("colour").value = state.colour;
    $("single").open = !isGrouped();
    errorChoices();
    update();
  });
  $("band").addEventListener("change", () => {
    state[isGrouped() ? "spread" : "band"] = $("band").value;
    updatePlane();
    updateCurves();
  });
  choose("matched", () => {
    updateEffects();
    updateHints();
  });
  $("step").addEventListener("input", () => {
    stop();
    setStep(Number($("step").value));
  });
  $("play").addEventListener("click", play);
  for (const id of ["multiples", "single"]) $(id).addEventListener("toggle", () => { updateMultiples(); updateHints(); });
  const themes = ["", "light", "dark"];
  $("theme").addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    $("theme").textContent = `Theme: ${next || "as the system"}`;
    repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
}

/** Show a payload; what the reader has chosen stays, as far as it still exists. */
async function render(payload) {
  const isFirst = DATA === undefined;
  hold(payload);
  offerAll();
  if (isFirst) {
    listen();
    $("single").open = !isGrouped() || Boolean(DATA.following); // of runs that go on it says which do
    $("phases").open = RUNS.length <= DATA.palette.length;
  }
  loadDetails();
  await drawAll();
}

async function start() {
  await render(JSON.parse($("data").textContent));
  new ResizeObserver(() => requestAnimationFrame(() => {
    fit();
    updateHints();
  })).observe(document.querySelector("main"));
  document.documentElement.dataset.ready = "yes";
}

window.ibtrackRender = render; // for other scripts and tests
start();
