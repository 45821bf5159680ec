// Keeps the states of the documents on this page fresh for as long as one of them is pending.

const live = document.getElementById("live");
const EVERY = 1000; // milliseconds
const AT_MOST = 15000;
const AT_ONCE = 200;
let wait = EVERY;
let timer = 0;

const cells = () => [...document.querySelectorAll("[data-document]")];
const pending = () => cells().filter((cell) => cell.querySelector("progress"));

function say(text) {
  live.hidden = !text;
  live.textContent = text;
}

async function refresh() {
  timer = 0;
  const waiting = pending().slice(0, AT_ONCE);
  if (!waiting.length) return;
  const ids = waiting.map((cell) => cell.dataset.document);
  try {
    const response = await fetch(`${live.dataset.url}?ids=${ids.join(",")}`);
    if (!response.ok) throw new TypeError(String(response.status));
    show(waiting, (await response.json()).documents);
    if (!pending().length && readAtLast()) return location.reload();
    wait = EVERY;
    say("");
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    wait = Math.min(wait * 2, AT_MOST);
    say(live.dataset.offline);
  }
  watch();
}

function show(waiting, states) {
  for (const cell of waiting) {
    const id = cell.dataset.document;
    const state = states[id];
    if (!state) {
      cell.textContent = live.dataset.gone;
    } else if (cell.innerHTML !== state.html) {
      cell.innerHTML = state.html; // made and escaped by the server
    }
    const chunks = document.querySelector(`[data-chunks="${id}"]`);
    if (chunks && state) chunks.textContent = state.chunks;
  }
}

// The page of a document that had nothing to show: its passages, or the way out of an error.
function readAtLast() {
  const empty = document.querySelector("#leaf > .empty");
  return empty && !document.querySelector("#properties[open]");
}

export function watch() {
  if (!timer && pending().length) timer = setTimeout(refresh, wait);
}

window.addEventListener("online", () => {
  clearTimeout(timer);
  wait = EVERY;
  refresh();
});
watch();
