// The fields of a topic as rows that anybody can edit, in step with the JSON Schema below them;
// and the box to try them in. Without this module the JSON Schema itself is edited.

import { apart, choices, kindOf, ordered, put, take, together } from "./topic_schema.js";

const form = document.getElementById("topic_form");
const raw = document.getElementById("id_schema");
const rows = document.getElementById("rows");
const unread = document.getElementById("unread");
const undo = document.getElementById("undo");
const undone = document.getElementById("undone");
let schema = {};
let deleted = [];

// --- Fields ----------------------------------------------------------------------
function read() {
  let made;
  try {
    made = JSON.parse(raw.value);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return wrong(unread.dataset.json);
  }
  const isObject = (one) => one !== null && typeof one === "object" && !Array.isArray(one);
  const properties = isObject(made) ? (made.properties ?? {}) : null;
  if (!isObject(properties) || !Object.values(properties).every(isObject)) {
    return wrong(unread.dataset.shape);
  }
  wrong("");
  schema = { ...made, properties };
  deleted = [];
  show();
}

function wrong(text) {
  unread.hidden = !text;
  unread.textContent = text;
}

function show() {
  rows.replaceChildren(...ordered(schema).map(row));
  arrange();
}

function arrange() {
  const all = [...rows.children];
  all.forEach((one, place) => {
    one.querySelector("[data-do=up]").disabled = place === 0;
    one.querySelector("[data-do=down]").disabled = place === all.length - 1;
  });
  document.getElementById("none").hidden = all.length > 0;
  const last = deleted.at(-1);
  undo.hidden = !last;
  undone.textContent = last ? last.said : "";
}

function row(name) {
  const made = document.getElementById("row").content.firstElementChild.cloneNode(true);
  const field = schema.properties[name];
  made.dataset.name = name;
  made.querySelector("[data-key]").textContent = name;
  const values = {
    ...field,
    kind: kindOf(field),
    required: (schema.required ?? []).includes(name),
    choices: together(field),
    examples: (field.examples ?? []).join(", "),
    "x-search": field["x-search"] !== false,
  };
  for (const input of made.querySelectorAll("[data-of]")) {
    const value = values[input.dataset.of];
    if (input.type === "checkbox") input.checked = Boolean(value);
    else input.value = value ?? "";
  }
  fit(made);
  return made;
}

// Shows what belongs to the kind of a row.
function fit(made) {
  const kind = made.querySelector("[data-of=kind]").value;
  for (const part of made.querySelectorAll("[data-for]")) {
    part.hidden = !part.dataset.for.split(" ").includes(kind);
  }
}

function write() {
  const names = [...rows.children].map((one) => one.dataset.name);
  const required = names.filter((name) =>
    rows.querySelector(`[data-name="${CSS.escape(name)}"] [data-of=required]`).checked);
  const properties = Object.fromEntries(names.map((name) => [name, schema.properties[name]]));
  schema = { ...schema, type: "object", properties, required, "x-order": names };
  raw.value = JSON.stringify(schema, null, 2);
  wrong("");
  arrange();
  later();
}

rows.addEventListener("input", ({ target }) => {
  const made = target.closest(".row");
  const { of } = target.dataset;
  const field = schema.properties[made.dataset.name];
  if (of === "kind") {
    put(field, target.value, made);
    fit(made);
  } else if (of === "choices") {
    Object.assign(field, choices(target.value));
  } else if (of === "examples") {
    take(field, "examples", apart(target.value));
  } else if (of === "x-search") {
    take(field, "x-search", target.checked ? undefined : false);
  } else if (of !== "required") {
    take(field, of, target.value);
  }
  write();
});

rows.addEventListener("click", ({ target }) => {
  const made = target.closest(".row");
  const does = target.dataset.do;
  if (does === "up") made.previousElementSibling?.before(made);
  else if (does === "down") made.nextElementSibling?.after(made);
  else if (does === "delete") remove(made);
  else return;
  write();
  if (does !== "delete") target.disabled ? made.querySelector("input").focus() : target.focus();
});

function remove(made) {
  const { name } = made.dataset;
  const required = made.querySelector("[data-of=required]").checked;
  const label = made.querySelector("[data-of=title]").value || name;
  const place = [...rows.children].indexOf(made);
  deleted.push({ name, field: schema.properties[name], required, place, said: `✕ ${label}` });
  made.remove();
}

undo.addEventListener("click", () => {
  const { name, field, required, place } = deleted.pop();
  schema.properties[name] = field;
  const made = row(name);
  made.querySelector("[data-of=required]").checked = required;
  rows.insertBefore(made, rows.children[place] ?? null);
  write();
});

document.getElementById("add").addEventListener("click", () => {
  const taken = [...Object.keys(schema.properties), ...deleted.map(({ name }) => name)];
  let number = taken.length + 1;
  while (taken.includes(`field${number}`)) number += 1;
  const name = `field${number}`;
  schema.properties[name] = { title: "", type: "string" };
  const made = row(name);
  made.querySelector("[data-of=required]").checked = true;
  rows.append(made);
  write();
  made.querySelector("[data-of=title]").focus();
});

raw.addEventListener("input", () => {
  read();
  later();
});

// --- Trial -----------------------------------------------------------------------
const trial = document.getElementById("trial");
const played = document.getElementById("played");
const errors = document.getElementById("wrong");
const say = document.getElementById("say");
const anew = document.getElementById("anew");
const said = [];
let timer = 0;
let asked = 0;

// What was said is played again once the fields stay as they are for a moment.
function later() {
  clearTimeout(timer);
  if (said.length) timer = setTimeout(play, 600);
}

async function play() {
  clearTimeout(timer);
  const mine = ++asked;
  const data = new FormData(form);
  data.set("topic", trial.dataset.topic);
  for (const one of said) data.append("said", one);
  played.ariaBusy = true;
  const answer = await fetch(trial.dataset.url, { method: "POST", body: data, redirect: "manual" })
    .catch(() => null);
  const made = answer?.headers.get("content-type")?.startsWith("application/json")
    ? await answer.json() : {};
  if (mine !== asked) return; // something was changed or said meanwhile
  played.ariaBusy = false;
  if (made.html !== undefined) played.innerHTML = made.html; // made and escaped by the server
  tell(made.errors ?? (made.html !== undefined ? []
    : [answer ? trial.dataset.failed : trial.dataset.offline]));
}

function tell(texts) {
  errors.hidden = !texts.length;
  errors.replaceChildren(...texts.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
}

function send(text) {
  if (!text.trim()) return;
  said.push(text);
  anew.hidden = false;
  play();
}

document.getElementById("send").addEventListener("click", () => {
  send(say.value);
  say.value = "";
  say.focus();
});
say.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault(); // it would save the topic
  send(say.value);
  say.value = "";
});
played.addEventListener("click", ({ target }) => {
  if (target.dataset.say) send(target.dataset.say);
});
anew.addEventListener("click", () => {
  asked += 1;
  said.length = 0;
  played.replaceChildren();
  played.ariaBusy = false;
  tell([]);
  anew.hidden = true;
  say.focus();
});
form.addEventListener("input", ({ target }) => {
  if (!rows.contains(target) && target !== raw && target !== say) later();
});

document.getElementById("add").hidden = false;
read();
