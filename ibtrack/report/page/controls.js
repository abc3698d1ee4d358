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
  if (!isMeasured("kept")) state.unit = "log_k";
  state.quantity = withoutPlane() ? "preference_information" : axes()[0];
  $("plane").closest("section").hidden = withoutPlane();
  choices("order", DATA.orders.map((order) => [order, order]));
  choices("site", []);
  siteChoices();
  choices("reading", DATA.readings.map((reading) => [reading, { null: "null (shuffled)", plugin: "plug-in" }[reading] ?? reading]));
  choices("unit", Object.entries({ share: "share of ceiling", log_k: "fraction of log K" }), async () => {
    await drawPlane();
    fit();
    update();
  });
  const bands = { pointwise: "each point (95 %)", simultaneous: "all points together (95 %)" };
  choices("band", Object.entries(bands), () => {
    updatePlane();
    updateCurves();
  });
  const byGroup = DATA.groups ? [["group", `group (${DATA.groups.by})`]] : [];
  choices("view", [["groups", "groups"], ["runs", "single runs"]], () => {
    state.colour = isGrouped() ? "group" : DATA.colour;
    $("colour").value = state.colour;
    update();
  });
  $("view").closest("label").hidden = !DATA.groups;
  choices("colour", [...byGroup, ["run", "run"], ["step", "step"], ...DATA.differing.map((key) => [key, key])]);
  choices("focus", [["", "none"], ...RUNS.map((run) => [String(run.number), run.label])], () => setFocus(state.focus));
  const measured = Object.entries(DATA.quantities).filter(([name]) => isMeasured(name) || name === state.quantity);
  const titles = measured.map(([name, { title }]) => [name, title]);
  choices("quantity", titles);
  state.below = isMeasured("rankme") ? "rankme" : "";
  choices("below", [["", "nothing"], ...titles], async () => {
    await drawCurves();
    update();
  });
  choices("matched", ["step", "tokens", "loss"].map((way) => [way, way]), () => {
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
  $("bracket").closest("label").hidden = !isMeasured("complexity_low");
  $("bracket").addEventListener("change", () => {
    state.bracket = $("bracket").checked;
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
  $("multiples").addEventListener("toggle", updateMultiples);
  const themes = ["", "light", "dark"];
  $("theme").addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "") + 1) % 3];
    if (next) document.documentElement.dataset.theme = next;
    else delete document.documentElement.dataset.theme;
    $("theme").textContent = `Theme: ${next || "as the system"}`;
    repaint();
  });
  $("phases").parentElement.hidden = RUNS.length === 1; // its phases are the sentence on top
  $("phases").open = RUNS.length <= DATA.palette.length;
  $("summary").parentElement.classList.toggle("tall", RUNS.length > DATA.palette.length * DATA.shapes.length);
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
