// Appends what is said while the page is open, and tells when the conversation changed hands.
const transcript = document.getElementById("transcript");
const summary = document.getElementById("summary");
const text = document.getElementById("text");
const EVERY = 2000;

function lastSeq() {
  return transcript.querySelector(".message:last-of-type")?.dataset.seq ?? 0;
}

async function look() {
  try {
    const response = await fetch(`${transcript.dataset.url}?after=${lastSeq()}`);
    if (response.ok) show(await response.json());
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // the network is away: look again
  }
  setTimeout(look, EVERY);
}

function show({ html, epoch, summary: written }) {
  if (html.trim()) {
    transcript.insertAdjacentHTML("beforeend", html);
    transcript.lastElementChild.scrollIntoView({ block: "nearest" });
  }
  if (summary && summary.textContent !== written) summary.textContent = written;
  document.getElementById("moved").hidden = String(epoch) === transcript.dataset.epoch;
}

text?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
    document.querySelector("#reply button").click();
  }
});

transcript.lastElementChild?.scrollIntoView({ block: "nearest" });
setTimeout(look, EVERY);
