// Keeps the list of handoffs current, and says that its reader is there.
const queue = document.getElementById("queue");
const EVERY = 5000;

async function look() {
  try {
    const response = await fetch(queue.dataset.pulseUrl, { headers: { Accept: "application/json" } });
    if (response.ok && (await response.json()).pulse !== queue.dataset.pulse) {
      location.reload();
      return;
    }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // the network is away: look again
  }
  setTimeout(look, EVERY);
}

setTimeout(look, EVERY);
