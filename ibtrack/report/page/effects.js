// What settings do: differences between groups of runs, as ibtrack.analysis.effects finds them.

const SVG = "http://www.w3.org/2000/svg";

function updateEffects() {
  $("settings").hidden = RUNS.length === 1;
  if (RUNS.length === 1) return;
  if (!claims()) {
    $("settings-found").hidden = true;
    $("settings-groups").textContent = `${notClaimed()} For its effects: ibtrack compare FOLDER --site ${state.site} --order ${state.order}`;
    return;
  }
  const every = claims().effects;
  const found = every[state.matched] ?? every.step;
  const isFound = !found.why;
  const elsewhere = Object.values(every).some((other) => !other.why);
  $("settings-found").hidden = !elsewhere;
  for (const name of ["settings-sentences", "contrasts", "means"]) $(name).hidden = !isFound;
  const [groups, ...sentences] = found.sentences ?? [`No effects of settings ${elsewhere ? "here" : "are worked out"}: ${found.why}.`];
  $("settings-groups").textContent = groups;
  $("settings-sentences").replaceChildren(...sentences.map((sentence) => cell("li", sentence)));
  if (isFound) fillEffects(found);
}

/** Fill both tables; where there are only two groups, they stand in the head and not in each row. */
function fillEffects({ contrasts, groups, titles }) {
  const isOnePair = groups.length === 2;
  const heads = ["quantity", ...(isOnePair ? [] : ["groups"]), "", (isOnePair && contrasts[0]?.pair) || "difference"];
  $("contrasts").tHead.replaceChildren(headRow([...heads, "95 % interval, between runs", "1.96 se of the probe alone"]));
  $("contrasts").tBodies[0].replaceChildren(...contrasts.map((each, i) => {
    const isSame = i > 0 && contrasts[i - 1].quantity === each.quantity;
    const name = isSame ? "" : [each.quantity, each.unit].filter(Boolean).join(", ");
    const drawn = picture(each, contrasts.filter((other) => other.quantity === each.quantity));
    const cells = [name, ...(isOnePair ? [] : [each.pair]), drawn, each.difference_text, each.interval_text, each.probe_text];
    const row = cell("tr", ...cells.map((content) => cell("td", content)));
    row.classList.toggle("told", each.told);
    return row;
  }));
  $("means").tHead.replaceChildren(headRow(["group", "runs", ...titles]));
  $("means").tBodies[0].replaceChildren(...groups.map(({ group, runs, cells }) => (
    cell("tr", ...[group, runs, ...cells].map((text) => cell("td", String(text))))
  )));
}

const headRow = (heads) => cell("tr", ...heads.map((head) => Object.assign(cell("th", head), { scope: "col" })));

/** Draw a difference with both of its errors, on a scale that all pairs of its quantity share. */
function picture(each, pairs) {
  const ends = pairs.flatMap(({ difference, low, high, probe }) => [0, difference, low ?? 0, high ?? 0, difference - (probe ?? 0), difference + (probe ?? 0)]);
  const [first, last] = extent(ends);
  const x = (value) => (last > first ? 4 + 142 * ((value - first) / (last - first)) : 75);
  const svg = document.createElementNS(SVG, "svg");
  const add = (tag, attributes) => {
    const part = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    svg.append(part);
  };
  svg.setAttribute("class", "interval");
  svg.setAttribute("viewBox", "0 0 150 20");
  svg.setAttribute("aria-hidden", "true");
  if (each.probe !== null) {
    add("rect", { class: "probe", x: x(each.difference - each.probe), y: 4, width: x(each.difference + each.probe) - x(each.difference - each.probe), height: 12 });
  }
  add("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: 20 });
  if (each.low !== null) add("line", { class: "between", x1: x(each.low), x2: x(each.high), y1: 10, y2: 10 });
  add("circle", { cx: x(each.difference), cy: 10, r: 4 });
  return svg;
}
