/* While topics are being found: how far it is, and the page anew when it is done. */

const told = document.getElementById("progress");
const bar = told.querySelector("progress");

async function look() {
  let held;
  try {
    const answer = await fetch(told.dataset.url, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.statusText);
    held = (await answer.json()).progress;
  } catch {
    setTimeout(look, 5000); // the network comes back
    return;
  }
  if (held === null) {
    location.reload();
    return;
  }
  if (held.of) Object.assign(bar, { max: held.of, value: held.done });
  setTimeout(look, 1000);
}

setTimeout(look, 1000);
