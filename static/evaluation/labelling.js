// One item: keys for everything, a draft that survives the page, the original beside it.
import { Drawer } from "../chat/drawer.js";

const root = document.querySelector(".labelling");
const form = document.getElementById("label");
const kept = document.getElementById("kept");
const pane = document.getElementById("original");
const { dataset } = root;

// --- The original, in a pane of the page in the place of a dialog ---------------------
pane.open = true;
pane.showModal = () => {};
pane.close = () => pane.classList.remove("shown");
const drawer = new Drawer(pane);

function show(button) {
  const part = button?.closest("[data-place]");
  if (!part) return;
  for (const old of root.querySelectorAll(".in-sight")) old.classList.remove("in-sight");
  part.classList.add("in-sight");
  pane.classList.add("shown");
  drawer.open(JSON.parse(part.dataset.place));
}

// --- Verdict and marks -------------------------------------------------------------------
const kinds = [...form.querySelectorAll("[name=kind]")];
let touched = dataset.touched === "1"; // passages were marked by hand

// What an answer cites answers the question if the answer is right: no key for that.
function usual() {
  const chosen = kinds.find((one) => one.checked);
  if (touched || !chosen) return;
  for (const passage of root.querySelectorAll("#pool .passage")) {
    const box = passage.querySelector("[name=relevant]");
    box.checked = passage.dataset.cited === "1" && chosen.dataset.grounded === "1";
  }
}

form.addEventListener("change", (event) => {
  if (event.target.name === "kind") usual();
  if (event.target.name === "relevant") touched = true;
  later();
});
form.addEventListener("input", later);

// --- Time and draft ------------------------------------------------------------------------
const IDLE = 60_000;
let last = Date.now();
for (const kind of ["pointermove", "keydown", "scroll", "click"]) {
  addEventListener(kind, () => (last = Date.now()), { passive: true, capture: true });
}
setInterval(() => {
  if (document.visibilityState === "visible" && Date.now() - last < IDLE) {
    form.elements.seconds.value = Number(form.elements.seconds.value) + 1;
  }
}, 1000);

let timer = 0;
let changed = false;
let leaving = false;

function later() {
  changed = true;
  clearTimeout(timer);
  timer = setTimeout(keep, 700);
}

async function keep() {
  if (!changed || leaving) return;
  changed = false;
  const answer = await fetch(dataset.keep, {
    method: "POST", body: new FormData(form), redirect: "manual",
  }).catch(() => null);
  kept.textContent = answer?.ok ? dataset.sayKept : dataset.sayOffline;
  kept.classList.toggle("failed", !answer?.ok);
  changed ||= !answer?.ok;
}

addEventListener("pagehide", () => {
  if (!leaving) navigator.sendBeacon(dataset.keep, new FormData(form));
});

form.addEventListener("submit", (event) => {
  if (leaving) return event.preventDefault(); // Enter twice
  leaving = true;
});
addEventListener("pageshow", () => (leaving = false));

// --- Looking further -----------------------------------------------------------------------
const words = document.getElementById("look-up");
const found = document.getElementById("found");

async function look() {
  const answer = await fetch(`${dataset.search}?q=${encodeURIComponent(words.value)}`).catch(() => null);
  if (answer?.ok) found.innerHTML = await answer.text(); // made and escaped by the server
  else found.textContent = dataset.sayOffline;
  words.scrollIntoView(); // what was found stands below, clear of the verdicts
}

async function add(button) {
  button.disabled = true;
  const body = new FormData();
  body.set("chunk", button.dataset.chunk);
  body.set("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
  const answer = await fetch(dataset.add, { method: "POST", body }).catch(() => null);
  button.disabled = false;
  if (!answer?.ok) return (kept.textContent = dataset.sayOffline);
  const made = document.createElement("template");
  made.innerHTML = await answer.text();
  const passage = made.content.firstElementChild;
  const key = passage.querySelector("[name=relevant]").value;
  const there = root.querySelector(`#pool [name=relevant][value="${key}"]`);
  if (there) there.checked = true;
  else document.getElementById("pool").append(passage);
  button.closest("li").remove();
  touched = true;
  later();
}

document.getElementById("look").addEventListener("click", look);
words.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  look();
});

// --- Going along -----------------------------------------------------------------------------
const steps = () => [...root.querySelectorAll(".step")];

function step(by) {
  const all = steps();
  const at = all.indexOf(document.activeElement.closest(".step"));
  const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

const here = () => document.activeElement.closest(".step");

const keys = {
  j: () => step(1),
  k: () => step(-1),
  x: () => here()?.querySelector("[type=checkbox]")?.click(),
  r: () => here()?.querySelector("[name=again]")?.click(),
  o: () => show(here()?.matches("[data-place]") ? here() : root.querySelector("[data-place]")),
  n: () => form.elements.note.focus(),
  g: () => form.elements.golden?.click(),
  "/": () => words.focus(),
  s: () => document.getElementById("pass").click(),
  u: () => document.querySelector("#undo")?.requestSubmit(),
  "?": () => document.getElementById("help").showModal(),
};

function check(passage) {
  passage.querySelector("[name=relevant]").click();
  passage.scrollIntoView({ block: "nearest" });
}

function choose(kind) {
  if (document.activeElement.matches("button, a")) document.activeElement.blur(); // Enter saves now
  kind.click();
}

function save() {
  if (kinds.some((one) => one.checked)) return form.requestSubmit(document.getElementById("save"));
  kept.textContent = dataset.sayChoose;
  kept.classList.add("failed");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("dialog")) return;
  const typing = event.target.matches("input:not([type=radio]):not([type=checkbox]), textarea, select");
  if (event.key === "Escape" && typing) return event.target.blur();
  if (event.key === "Enter" && (event.target === form.elements.note || (!typing && !event.target.matches("button, a")))) {
    event.preventDefault();
    return save();
  }
  if (typing) return;
  const digit = Number(event.code.match(/^Digit([1-9])$/)?.[1] ?? event.key) - 1;
  const passage = event.shiftKey && root.querySelectorAll("#pool .passage")[digit];
  const chosen = !event.shiftKey && kinds[digit];
  const deed = passage ? () => check(passage) : chosen ? () => choose(chosen) : keys[event.key];
  if (!deed) return;
  event.preventDefault();
  deed();
});

root.addEventListener("click", (event) => {
  // A button that was clicked by hand does not keep Enter from saving; keys go on from its passage.
  const clicked = event.detail && event.target.closest("[type=button], .step");
  if (clicked) (clicked.closest(".step") ?? pane.querySelector(".sheet")).focus({ preventScroll: true });
  const button = event.target.closest(".open-original");
  if (button) return show(button);
  const more = event.target.closest("#found [data-chunk]");
  if (more) return add(more);
  const text = event.target.closest(".clamped");
  if (text && !getSelection().toString()) text.classList.toggle("whole");
});
document.getElementById("help-button").addEventListener("click", keys["?"]);

usual();
if (matchMedia("(min-width: 1024px)").matches) {
  show(root.querySelector(".cited [data-place]") ?? root.querySelector("#pool [data-place]"));
}
root.dataset.ready = "1"; // keys are heard from now on
