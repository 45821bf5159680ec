// An import's page: a changed mapping is previewed at once, a running import is watched.

const EVERY = 1000; // milliseconds
const AT_MOST = 15000;

const mapping = document.getElementById("mapping");
mapping?.addEventListener("change", (event) => {
  if (event.target.name !== "publish") mapping.requestSubmit(mapping.elements._preview);
});

const state = document.getElementById("import-state");
const live = document.getElementById("live");
let wait = EVERY;

async function refresh() {
  try {
    const response = await fetch(state.dataset.url);
    if (!response.ok) throw new TypeError(String(response.status));
    const now = await response.json();
    state.innerHTML = now.html; // made and escaped by the server
    live.hidden = true;
    wait = EVERY;
    if (!now.pending) {
      if (state.querySelector(".state-failed:first-child")) location.reload();
      return;
    }
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    live.hidden = false;
    wait = Math.min(wait * 2, AT_MOST);
  }
  setTimeout(refresh, wait);
}

if (state?.querySelector("progress")) setTimeout(refresh, wait);
