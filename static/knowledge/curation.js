// Passages beside the page they are from: turning pages, showing which is where, and editing
// in place. Without this module the links lead to pages that do the same.

import { editing, Failure, keep, post } from "./editing.js";

const root = document.getElementById("curation");
const frame = document.getElementById("leaf");
const edits = document.getElementById("edits");
const toast = document.getElementById("toast");
const { dataset } = root;
let asked = 0;

const leaf = () => frame.querySelector(".leaf");
const here = () => Number(leaf()?.dataset.page ?? 1);
const card = (id) => document.getElementById(`chunk-${id}`);

// --- Turning pages ---------------------------------------------------------------
async function load(page, from = 0) {
  const mine = ++asked;
  if (leaf()) leaf().ariaBusy = true;
  const url = `${dataset.leaf.replace("/0/", `/${page}/`)}?from=${from}`;
  const answer = await fetch(url, { redirect: "manual" }).catch(() => null);
  if (mine !== asked) return; // another page was asked for meanwhile
  if (!answer?.ok) {
    if (leaf()) leaf().ariaBusy = false;
    return say(answer?.type === "opaqueredirect" ? dataset.saySignedOut : dataset.sayOffline);
  }
  const open = editing();
  frame.innerHTML = await answer.text(); // made and escaped by the server
  for (const [id, old] of open) card(id)?.replaceWith(old);
  arrange();
  history.replaceState(null, "", `?page=${here()}${from ? `&from=${from}` : ""}`);
}

async function turn(page, from = 0) {
  const { of } = leaf().dataset;
  const wanted = Math.min(Math.max(page, 1), Number(of));
  if ((wanted !== here() || from !== Number(leaf().dataset.from)) && mayLeave()) {
    for (const [, old] of editing()) old.remove();
    await load(wanted, from);
    frame.querySelector(".original").scrollTop = 0;
    if (frame.getBoundingClientRect().top < 0) frame.scrollIntoView();
  }
}

const mayLeave = () => !editing().some(([, one]) => one.dirty) || confirm(dataset.sayLeave);
const again = () => load(here(), Number(leaf()?.dataset.from ?? 0));

// --- Which is where ----------------------------------------------------------------
function arrange() {
  for (const part of root.querySelectorAll(".script, .history")) part.hidden = false;
  const image = frame.querySelector(".paper > img");
  image?.addEventListener("error", () => {
    image.hidden = true;
    image.nextElementSibling.hidden = false;
  });
  for (const one of frame.querySelectorAll(".card")) {
    for (const part of blocks(one)) part.dataset.chunk ||= one.dataset.chunk;
  }
  for (const item of frame.querySelectorAll("li[data-left]")) {
    const block = frame.querySelector(`#block-${item.dataset.left}`);
    if (!block) continue;
    block.classList.add("missed");
    block.dataset.left = item.dataset.left;
  }
}

function blocks(one) {
  return JSON.parse(one.dataset.marks ?? "[]").flatMap(({ block, rows }) => {
    const element = frame.querySelector(`#block-${block}`);
    if (!element || !rows) return element ?? [];
    const within = ({ dataset: { row } }) => row >= rows[0] && row <= rows[1];
    return [...element.querySelectorAll("[data-row]")].filter(within);
  });
}

function mark(target, scroll) {
  for (const old of frame.querySelectorAll(".on")) old.classList.remove("on");
  const part = target?.closest?.("[data-chunk], [data-left]");
  if (!part || !frame.contains(part)) return;
  const { chunk, left } = part.dataset;
  const parts = chunk
    ? [card(chunk), ...frame.querySelectorAll(`rect[data-chunk="${chunk}"]`), ...marked(chunk)]
    : frame.querySelectorAll(`[data-left="${left}"]`);
  for (const one of parts) one?.classList.add("on");
  if (scroll) reveal([...parts].find((one) => one?.closest(".paper")));
}

const marked = (chunk) => (card(chunk) ? blocks(card(chunk)) : []);

function reveal(part) {
  const pane = frame.querySelector(".original");
  if (!part) return;
  const [inner, outer] = [part.getBoundingClientRect(), pane.getBoundingClientRect()];
  if (inner.top < outer.top || inner.bottom > outer.bottom) {
    pane.scrollTop += inner.top - outer.top - outer.height / 4;
  }
}

frame.addEventListener("mouseover", (event) => mark(event.target, !event.target.closest(".paper")));
frame.addEventListener("mouseleave", () => mark(document.activeElement, false));
frame.addEventListener("focusin", (event) => mark(event.target, true));

// --- What is done --------------------------------------------------------------------
const deeds = {
  edit: (one) => open(one),
  up: (one) => merge(one.previousElementSibling, one),
  down: (one) => merge(one, one.nextElementSibling),
  switch: (one, button) => act(`${one.dataset.chunk}/enabled/`, { enabled: button.dataset.enabled }),
  history: (one) => show(one?.dataset.chunk),
};

function open(one, values) {
  return keep(one, values, { root, done, say, reload: again });
}

function merge(...pair) {
  if (pair.some((one) => !one?.dataset.chunk)) return mergeAcross(pair);
  if (pair.some((one) => one.dirty)) return say(dataset.sayLeave);
  return act("merge/", {
    chunk: pair.map((one) => one.dataset.chunk),
    seen: pair.map((one) => one.dataset.seen),
  });
}

// The neighbour stands on another page: the server knows it.
function mergeAcross([before, after]) {
  const one = before ?? after;
  return act("merge/", { chunk: one.dataset.chunk, beside: before ? "next" : "previous" });
}

async function act(path, fields, base = dataset.chunks) {
  try {
    await done(await (await post(root, base + path, fields)).json());
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say(error.message);
    if (error.status === 409) await again();
  }
}

async function done(answer, focus) {
  await again();
  say(answer.said ?? "", answer.edit);
  card(focus)?.focus();
}

frame.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  const one = event.target.closest(".card");
  if (button && !button.closest("form")) {
    event.preventDefault();
    return deeds[button.dataset.do]?.(one, button);
  }
  const link = event.target.closest("a.turn, .more a");
  if (link && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    const step = { prev: -1, next: 1 }[link.rel] ?? 0;
    return turn(here() + step, Number(link.dataset.from ?? 0));
  }
  const part = event.target.closest(".paper [data-chunk]");
  if (part) card(part.dataset.chunk)?.focus();
});

frame.addEventListener("submit", (event) => {
  if (!event.target.matches(".jump")) return;
  event.preventDefault();
  turn(Number(event.target.elements.page.value));
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && leaf()) turn(here() + step);
  const one = event.target.closest(".card");
  if (event.key === "e" && one) {
    event.preventDefault();
    one.querySelector("[data-do=edit]")?.click();
  }
});

window.addEventListener("beforeunload", (event) => {
  if (editing().some(([, one]) => one.dirty)) event.preventDefault();
});

// --- The history, and what was not carried over --------------------------------------
async function show(chunk, page = 1) {
  const url = `${dataset.edits}?page=${page}${chunk ? `&chunk=${chunk}` : ""}`;
  const answer = await fetch(url, { redirect: "manual" }).catch(() => null);
  if (!answer?.ok) return say(answer?.type === "opaqueredirect" ? dataset.saySignedOut : dataset.sayOffline);
  edits.dataset.chunk = chunk ?? "";
  edits.querySelector(".dialog-body").innerHTML = await answer.text();
  if (!edits.open) edits.showModal();
}

edits.addEventListener("click", async (event) => {
  if (event.target === edits || event.target.closest(".close")) return edits.close();
  const button = event.target.closest("[data-edit]");
  const link = event.target.closest("[data-edits-page]");
  if (link) event.preventDefault();
  if (link) await show(edits.dataset.chunk, link.dataset.editsPage);
  if (button) {
    await act(`${button.dataset.edit}/${button.dataset.do}/`, {}, dataset.changes);
    await show(edits.dataset.chunk);
  }
});

for (const part of document.querySelectorAll("[data-lost]")) {
  const answers = part.querySelector(".deeds");
  if (!answers) continue;
  answers.hidden = false;
  answers.addEventListener("click", ({ target }) => settle(part, target.dataset.do));
}

async function settle(part, deed) {
  const { lost } = part.dataset;
  if (deed === "copy") {
    await navigator.clipboard?.writeText(part.querySelector(".words").textContent);
    return say(dataset.sayCopied);
  }
  if (deed === "dismiss") {
    await act(`${lost}/dismiss/`, {}, dataset.changes);
    return part.remove();
  }
  if (deed !== "apply") return;
  const answer = await fetch(`${dataset.changes}${lost}/likely/`, { redirect: "manual" }).catch(() => null);
  if (!answer?.ok) return say(dataset.sayFailed);
  const found = await answer.json();
  if (!found.chunk) return say(dataset.sayNowhere);
  if (found.page !== here() || !card(found.chunk)) await load(found.page, found.from);
  const one = card(found.chunk);
  open(one, { text: found.text, questions: found.questions.join("\n"), lost });
  one.scrollIntoView({ block: "center" });
}

// --- What is said --------------------------------------------------------------------
let timer = 0;

function say(text, edit) {
  clearTimeout(timer);
  toast.hidden = !text;
  toast.querySelector("span").textContent = text;
  const button = toast.querySelector("button");
  button.hidden = !edit;
  button.onclick = () => act(`${edit}/undo/`, {}, dataset.changes).then(() => say(dataset.sayUndone));
  if (text) timer = setTimeout(() => (toast.hidden = true), 12_000);
}

arrange();
const wanted = new URLSearchParams(location.search).get("chunk");
if (wanted && card(wanted)) card(wanted).focus();
