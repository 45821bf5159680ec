// Sends each chosen or dropped file in a request of its own, with its progress and its result.
// Without this module the form does the same in one request.

import { watch } from "./states.js";

const form = document.getElementById("upload");
const list = document.getElementById("uploaded");
const { files: input, knowledge_base: base, new_base: named } = form.elements;
const zone = form.querySelector(".drop");
zone.querySelector(".drop-hint").hidden = false;

function row(name) {
  const item = document.createElement("li");
  const title = document.createElement("strong");
  title.textContent = name;
  const state = document.createElement("div");
  item.append(title, state);
  list.append(item);
  return { item, state };
}

function sending(state) {
  const bar = document.createElement("progress");
  bar.max = 1;
  bar.setAttribute("aria-label", form.dataset.sending);
  state.replaceChildren(bar);
  return bar;
}

function post(file, onProgress) {
  const body = new FormData(form);
  body.delete("files");
  body.append("files", file);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", location.href);
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onload = () => resolve(request.response ?? {});
    request.onerror = reject;
    request.send(body);
  });
}

async function send(file, { item, state }) {
  const bar = sending(state);
  const answer = await post(file, (share) => (bar.value = share)).catch(() => ({}));
  if (!answer.results) {
    const errors = Object.values(answer.errors ?? {}).flat();
    problem(state, errors.map((error) => error.message).join(" ") || form.dataset.failed);
    return;
  }
  for (const result of answer.results) show(result, row(result.name));
  item.remove();
  watch();
}

function problem(state, text) {
  const line = document.createElement("p");
  line.className = "state-error";
  line.textContent = text;
  state.replaceChildren(line);
}

function show(result, { item, state }) {
  if (!result.url) {
    problem(state, result.text);
    return;
  }
  const link = document.createElement("a");
  link.href = result.url;
  link.textContent = result.name;
  item.querySelector("strong").replaceChildren(link);
  const text = document.createElement("span");
  text.className = "quiet";
  text.textContent = result.failed ? "" : result.text;
  item.querySelector("strong").after(" ", text);
  state.dataset.document = result.document;
  state.innerHTML = result.html; // made and escaped by the server
}

// Said at its field before anything is sent: each file would be sent in vain, and be gone from the form.
function based() {
  const one = Boolean(base.value) !== Boolean(named?.value.trim());
  base.setCustomValidity(one ? "" : form.dataset.base);
  return base.reportValidity();
}

async function sendAll(files) {
  const queue = [...files].map((file) => [file, row(file.name)]);
  for (const [file, place] of queue) await send(file, place);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!based() || !form.reportValidity() || !input.files.length) return;
  sendAll(input.files);
  input.value = "";
});

form.addEventListener("input", () => base.setCustomValidity(""));

for (const name of ["dragenter", "dragover"]) {
  zone.addEventListener(name, (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) {
  zone.addEventListener(name, () => zone.classList.remove("over"));
}
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  if (based()) sendAll(event.dataTransfer.files);
});
