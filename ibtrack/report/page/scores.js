// Readings beside scores, where the page has them: as many panels beside each other as there is room for.

const SCORES = $("scores-data") ? JSON.parse($("scores-data").textContent) : {};
const scoreColumns = {};

async function drawScores(name) {
  const panel = 300; // pixels of a panel with its axis and the space between two
  const room = $(name).clientWidth;
  const columns = Math.min(SCORES[name].concat.length, 3, Math.max(1, Math.floor((room + 20) / panel)));
  if (columns === scoreColumns[name]) return;
  scoreColumns[name] = columns;
  const legend = { ...config().legend, orient: "bottom", columns: Math.max(1, Math.floor(room / 140)) };
  const options = { mode: "vega-lite", actions: false, logLevel: 1, renderer: "svg", tooltip: { theme: "custom", disableDefaultStyle: false }, config: { ...config(), legend } };
  if (views[name]) views[name].finalize();
  views[name] = (await vegaEmbed($(name), { ...SCORES[name], columns }, options)).view;
}

for (const name of Object.keys(SCORES)) new ResizeObserver(() => requestAnimationFrame(() => drawScores(name))).observe($(name));
