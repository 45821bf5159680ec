// Shows what another share would bring while it is being chosen; nothing is kept before saving.

const form = document.getElementById("target");
const WAIT = 250; // milliseconds after the last key
let timer = 0;
let latest = 0;

async function show(target) {
  const mine = ++latest;
  const url = new URL(location.href);
  url.searchParams.set("target", target);
  const offline = document.getElementById("offline");
  try {
    const response = await fetch(url);
    if (!response.ok) throw new TypeError(String(response.status));
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (mine !== latest) return;
    for (const id of ["preview", "save"]) {
      const made = page.getElementById(id);
      const old = document.getElementById(id);
      if (made && old) old.replaceWith(made); // made and escaped by the server
    }
    history.replaceState(null, "", url);
    offline.hidden = true;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    offline.hidden = false;
    offline.textContent = form.dataset.offline;
  }
}

if (form) {
  document.getElementById("show").hidden = true;
  form.elements.target.addEventListener("input", (event) => {
    clearTimeout(timer);
    document.getElementById("save")?.setAttribute("disabled", ""); // what is saved was seen
    timer = setTimeout(show, WAIT, event.target.value);
  });
}
