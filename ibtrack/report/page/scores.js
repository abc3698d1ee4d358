// Readings beside scores, where the page has them: as many panels beside each other as there is room for.

const SCORES = $("scores-data") && JSON.parse($("scores-data").textContent);
let scoreColumns = 0;

async function drawScores() {
  const panel = 300; // pixels of a panel with its axis and the space between two
  const room = $("scores").clientWidth;
  const columns = Math.min(SCORES.concat.length, 3, Math.max(1, Math.floor((room + 20) / panel)));
  if (columns === scoreColumns) return;
  scoreColumns = columns;
  const legend = { ...config().legend, orient: "bottom", columns: Math.max(1, Math.floor(room / 140)) };
  const options = { mode: "vega-lite", actions: false, logLevel: 1, renderer: "svg", tooltip: { theme: "custom", disableDefaultStyle: false }, config: { ...config(), legend } };
  if (views.scores) views.scores.finalize();
  views.scores = (await vegaEmbed($("scores"), { ...SCORES, columns }, options)).view;
}

if (SCORES) new ResizeObserver(() => requestAnimationFrame(drawScores)).observe($("scores"));
