// Keeps the states of the embedding indexes on this page fresh while one of them is being built.

const EVERY = 1500; // milliseconds
const AT_MOST = 15000;
const { url, reload } = document.getElementById("indexes").dataset;
let wait = EVERY;

const pending = () => document.querySelector("[data-index] .state-building") !== null;

async function refresh() {
  try {
    const response = await fetch(url);
    if (!response.ok) throw new TypeError(String(response.status));
    const { states } = await response.json();
    for (const cell of document.querySelectorAll("[data-index]")) {
      const html = states[cell.dataset.index];
      if (html !== undefined && cell.innerHTML !== html) cell.innerHTML = html; // escaped by the server
    }
    wait = EVERY;
    if (reload !== undefined && !pending()) location.reload(); // what is complete can be chosen
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    wait = Math.min(wait * 2, AT_MOST);
  }
  watch();
}

function watch() {
  if (pending()) setTimeout(refresh, wait);
}

watch();
