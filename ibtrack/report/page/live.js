// The page of runs that go on, as ibtrack watch serves it: new numbers take the place of those before, and what the reader
// has chosen stays.

const STATES = { running: "running", finished: "finished", dead: "dead" }; // of others it is said how old their news are
const SECONDS = 15; // between two looks at the clock
let version = DATA.following.version;
let clock = Date.now(); // when the page heard from the server last
let isLost = false;

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

// ---- which runs go on ----------------------------------------------------------------------------------------------

const followed = (run) => DATA.following.runs.find(({ path }) => path === run.path);

/** The state of a run, as a value to sort by. */
function stateOf(run) {
  return followed(run)?.state ?? null;
}

function stateCell(run) {
  const found = followed(run);
  if (!found) return "";
  const state = Object.assign(cell("span", STATES[found.state] ?? ""), { className: `state ${found.state}` });
  const age = Object.assign(cell("span"), { className: "age", title: "since its file has changed" });
  age.dataset.path = run.path;
  return cell("span", state, age);
}

/** How long ago something was, as far as a reader needs to know. */
function ago(seconds) {
  const [size, unit] = seconds < 90 ? [1, "s"] : seconds < 5400 ? [60, "min"] : seconds < 172800 ? [3600, "h"] : [86400, "days"];
  return `${Math.max(0, Math.round(seconds / size))}\u00a0${unit}`;
}

/** Bring what is said of time up to date. */
function updateAges() {
  for (const age of document.querySelectorAll(".age[data-path]")) {
    const { state, changed } = DATA.following.runs.find(({ path }) => path === age.dataset.path);
    const since = ago(DATA.following.now - changed + (Date.now() - clock) / 1000);
    age.textContent = state === "finished" ? "" : state === "unknown" ? `no news for ${since}` : `${since} ago`;
  }
}

/** Say on top what is followed, which runs go on and what is left out. */
function updateFollowing() {
  const { folder, runs, refused, unread, took } = DATA.following;
  const number = (state) => runs.filter((run) => run.state === state).length;
  const counts = [...Object.keys(STATES), "unknown"].filter(number).map((state) => `${number(state)} ${STATES[state] ?? "whose state is not known here"}`);
  const words = [`Follows ${folder}: ${runs.length} ${runs.length === 1 ? "run" : "runs"}, ${counts.join(", ")}.`];
  if (unread) words.push(`${unread} more are still being read.`);
  if (took > 1) words.push(`New points come with a delay: the last ones took ${took.toFixed(1)}\u00a0s to read and work out.`);
  setText($("following-text"), words.join(" "));
  setText($("following-lost"), isLost ? "ibtrack watch does not answer; it may have been ended. Shown is what it said last." : "");
  $("following-lost").hidden = !isLost;
  const left = refused.slice(0, 8).map(({ name, why }) => cell("li", `${name} is left out: ${why}`));
  if (refused.length > left.length) left.push(cell("li", `${refused.length - left.length} more are left out.`));
  $("following-refused").replaceChildren(...left);
  $("following-refused").hidden = !left.length;
  updateAges();
}

/** Change a text only where it is another, as a screen reader reads it out again. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function followingBox() {
  const make = (tag, id, className) => Object.assign(cell(tag), { id, className });
  const [text, lost] = [make("p", "following-text", "small"), make("p", "following-lost", "notice")];
  text.setAttribute("role", "status");
  lost.setAttribute("role", "status");
  const box = cell("div", text, lost, make("ul", "following-refused", "banner"));
  box.id = "following";
  document.querySelector("main").prepend(box);
}

// ---- new numbers ---------------------------------------------------------------------------------------------------

/** Put new texts into the place of those that the server wrote into the page; it has made them harmless. */
function takeTexts({ title, probe, banners, protocol }) {
  const heading = document.querySelector("h1");
  heading.innerHTML = title;
  heading.nextElementSibling.innerHTML = probe;
  document.title = `Information plane: ${heading.textContent}`;
  for (const banner of document.querySelectorAll("main > .banner")) banner.remove();
  $("following").insertAdjacentHTML("afterend", banners);
  const [summary] = $("protocol").children;
  $("protocol").replaceChildren(summary);
  summary.insertAdjacentHTML("afterend", protocol);
}

/** The part of the page that is read: the last one that begins above the middle of the window. */
const partInSight = () => [...document.querySelectorAll("main > *")].filter((part) => part.offsetHeight && part.getBoundingClientRect().top < innerHeight / 2).at(-1);

/** Keep what is read where it is, tables as far as they were scrolled, and the focus, while all of it is made anew. */
async function inPlace(change) {
  const boxes = [...document.querySelectorAll(".tall")].map((box) => [box, box.scrollTop]);
  const charts = [...document.querySelectorAll(".chart")];
  const part = scrollY > 0 ? partInSight() : undefined;
  const top = part?.getBoundingClientRect().top;
  const active = document.activeElement;
  const row = active?.closest?.("#summary tbody tr");
  const name = row && row.querySelector("button").textContent;
  for (const chart of charts) chart.style.minHeight = `${chart.offsetHeight}px`;
  await change();
  for (const chart of charts) chart.style.minHeight = "";
  if (name && !active.isConnected) {
    const same = [...document.querySelectorAll("#summary tbody tr")].find((other) => other.querySelector("button").textContent === name);
    same?.querySelector(active.tagName.toLowerCase())?.focus({ preventScroll: true });
  }
  for (const [box, scrolled] of boxes) box.scrollTop = scrolled;
  if (part) scrollBy({ top: part.getBoundingClientRect().top - top, behavior: "instant" });
}

async function take(news) {
  if (news.is_empty) return location.reload();
  version = news.version;
  clock = Date.now();
  DATA.following = news.following;
  if (news.page) {
    await inPlace(async () => {
      const { drawn } = DATA;
      hold({ ...news.page.data, following: DATA.following });
      takeTexts(news.page.parts);
      offerAll();
      loadDetails();
      if (drawn === DATA.drawn) update();
      else await drawAll();
    });
  } else {
    updateSummary();
  }
  updateFollowing();
}

/** Ask for news; null where there are none so far, undefined where nobody answers. */
async function ask() {
  try {
    const answer = await fetch(`news?after=${version}`);
    if (answer.status === 204) return null;
    return answer.ok ? await answer.json() : undefined;
  } catch {
    return undefined;
  }
}

async function follow() {
  for (;;) {
    const news = await ask();
    if (isLost !== (news === undefined)) {
      isLost = !isLost;
      updateFollowing();
    }
    if (news) await take(news);
    if (isLost) await pause(2);
  }
}

followingBox();
updateFollowing();
const isReady = () => document.documentElement.dataset.ready === "yes";
const begin = setInterval(() => {
  if (!isReady()) return;
  clearInterval(begin);
  setInterval(updateAges, 1000 * SECONDS);
  updateFollowing();
  follow();
}, 20);
