// What the reader can move; the page starts here.

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

/** What a list offers; one that offers it already stays as it is, as it may be open. */
function offer(id, options) {
  const select = $(id);
  const offered = [...select.options].map(({ value, text }) => [value, text]);
  if (JSON.stringify(offered) !== JSON.stringify(options)) select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  select.value = state[id];
}

/** Fill the lists with what there is to choose from in the runs. */
function offerAll() {
  offer("order", DATA.orders.map((order) => [order, order]));
  siteChoices();
  offer("reading", DATA.readings.map((reading) => [reading, { null: "null (shuffled)", plugin: "plug-in" }[reading] ?? reading]));
  offer("unit", [["share", "share of ceiling"], ["log_k", "fraction of log K"]]);
  offer("band", [["pointwise", "each point (95 %)"], ["simultaneous", "all points together (95 %)"]]);
  offer("view", [["groups", "groups"], ["runs", "single runs"]]);
  $("view").closest("label").hidden = !DATA.groups;
  const byGroup = DATA.groups ? [["group", `group (${DATA.groups.by})`]] : [];
  offer("colour", [...byGroup, ["run", "run"], ["step", "step"], ...DATA.differing.map((key) => [key, key])]);
  offer("focus", [["", "none"], ...RUNS.map((run) => [String(run.number), run.label])]);
  const measured = Object.entries(DATA.quantities).filter(([name]) => isMeasured(name) || name === state.quantity);
  const titles = measured.map(([name, { title }]) => [name, title]);
  offer("quantity", titles);
  offer("below", [["", "nothing"], ...titles]);
  offer("matched", ["step", "tokens", "loss"].map((way) => [way, way]));
  $("plane").closest("section").hidden = withoutPlane();
  $("bracket").closest("label").hidden = !isMeasured("complexity_low");
  $("step").max = Math.max(0, STEPS.length - 1);
  $("step").value = state.at;
  $("step").disabled = $("play").disabled = STEPS.length < 2;
  $("phases").parentElement.hidden = RUNS.length === 1; // its phases are the sentence on top
  $("summary").parentElement.classList.toggle("tall", RUNS.length > DATA.palette.length * DATA.shapes.length);
}

function choose(id, then = update) {
  $(id).addEventListener("change", () => {
    state[id] = $(id).value;
    then();
  });
}

/** Choose at first what the runs have. */
function firstChoices() {
  if (!isMeasured("kept")) state.unit = "log_k";
  state.quantity = withoutPlane() ? "preference_information" : axes()[0];
  state.below = isMeasured("rankme") ? "rankme" : "";
}

function controls() {
  firstChoices();
  offerAll();
  for (const id of ["order", "site", "reading", "colour", "quantity"]) choose(id);
  choose("unit", async () => {
    await drawPlane();
    fit();
    update();
  });
  choose("band", () => {
    updatePlane();
    updateCurves();
  });
  choose("view", () => {
    state.colour = isGrouped() ? "group" : DATA.colour;
    $("colour").value = state.colour;
    update();
  });
  choose("focus", () => setFocus(state.focus));
  choose("below", async () => {
    await drawCurves();
    update();
  });
  choose("matched", () => {
    updateEffects();
    updateGroups();
    updateHints();
  });
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
  $("bracket").checked = state.bracket;
  $("bracket").addEventListener("change", () => {
    state.bracket = $("bracket").checked;
    updateCurves();
  });
  $("step").addEventListener("input", () => {
    stop();
    setStep(Number($("step").value));
  });
  $("play").addEventListener("click", play);
  $("multiples").addEventListener("toggle", updateMultiples);
  const themes = ["", "light", "dark"];
  $("theme").addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    $("theme").textContent = `Theme: ${next || "as the system"}`;
    repaint();
  });
  $("phases").open = RUNS.length <= DATA.palette.length;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
}

async function start() {
  controls();
  await drawAll();
  new ResizeObserver(() => requestAnimationFrame(() => {
    fit();
    updateHints();
  })).observe(document.querySelector("main"));
  document.documentElement.dataset.ready = "yes";
}

start();
