// Keeps the states of the sources on this page fresh for as long as one of them is busy.

const live = document.getElementById("live");
const EVERY = 1000; // milliseconds
const AT_MOST = 15000;
let wait = EVERY;
let timer = 0;

const busy = () =>
  [...document.querySelectorAll("[data-source]")].filter((cell) => cell.querySelector("progress"));

function say(text) {
  live.hidden = !text;
  live.textContent = text;
}

async function refresh() {
  timer = 0;
  const cells = busy();
  const ids = cells.map((cell) => cell.dataset.source);
  try {
    const response = await fetch(`${live.dataset.url}?ids=${ids.join(",")}`);
    if (!response.ok) throw new TypeError(String(response.status));
    const states = (await response.json()).sources;
    for (const cell of cells) {
      const html = states[cell.dataset.source];
      if (html && html !== cell.innerHTML) cell.innerHTML = html; // made and escaped by the server
    }
    wait = EVERY;
    say("");
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    wait = Math.min(wait * 2, AT_MOST);
    say(live.dataset.offline);
  }
  watch();
}

function watch() {
  if (busy().length) {
    if (!timer) timer = setTimeout(refresh, wait);
  } else if (document.querySelector("[data-reload]") && !document.querySelector("details[open]")) {
    location.reload(); // what it brought is on the page
  }
}

watch();
