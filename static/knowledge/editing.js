// The form of a passage in place of its words. What was typed stays until it is saved or
// given up: a failed save, a lost session and somebody else's change only say so.

const LIMIT = 2000; // characters, as the server has it
const open = new Map();

export class Failure extends Error {
  constructor(status, errors) {
    super(Object.values(errors).flat().join(" "));
    this.status = status;
    this.errors = errors;
  }
}

// The cards with a form in them, by the id of their passage.
export const editing = () => [...open].filter(([, one]) => one.querySelector(".chunk-form"));

// The server's answer; a Failure says in the user's language what is wrong.
export async function post(root, url, fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of [value].flat()) body.append(name, one);
  }
  const token = root.querySelector("[name=csrfmiddlewaretoken]");
  const send = () =>
    fetch(url, {
      method: "POST",
      body,
      headers: { "X-CSRFToken": token.value, Accept: "application/json" },
      redirect: "manual",
    }).catch(() => null);
  let answer = await send();
  // Who signed in again in another tab has another token.
  if (answer?.status === 403 && (await renew(token))) answer = await send();
  if (answer?.ok) return answer;
  const { dataset } = root;
  if (!answer) throw new Failure(0, { "": dataset.sayOffline });
  if (answer.type === "opaqueredirect") throw new Failure(401, { "": dataset.saySignedOut });
  if (answer.status === 403) throw new Failure(403, { "": dataset.sayForbidden });
  const told = await answer.json().catch(() => null);
  throw new Failure(answer.status, told?.errors ?? { "": dataset.sayFailed });
}

async function renew(token) {
  const answer = await fetch(location.href, { redirect: "manual" }).catch(() => null);
  if (!answer?.ok) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("#curation [name=csrfmiddlewaretoken]")?.value;
  if (fresh) token.value = fresh;
  return Boolean(fresh);
}

export function keep(one, values, page) {
  if (one.querySelector(".chunk-form")) return;
  const form = page.root.querySelector("#chunk-form").content.firstElementChild.cloneNode(true);
  const { elements } = form;
  const source = read(one);
  for (const name of ["text", "question", "questions"]) elements[name].value = source[name];
  elements.headings.value = one.dataset.headings;
  form.querySelector(".for-question").hidden = one.dataset.kind !== "qa" && !source.question;
  const before = value(form);
  Object.assign(elements.text, { value: values?.text ?? source.text });
  if (values?.questions) elements.questions.value = values.questions;
  const body = one.querySelector(".body");
  body.hidden = true;
  body.after(form);
  open.set(one.dataset.chunk, one);
  Object.defineProperty(one, "dirty", { configurable: true, get: () => value(form) !== before });

  const count = () => {
    const { length } = [...elements.text.value];
    form.querySelector(".length").textContent = `${length} / ${LIMIT}`;
    form.querySelector(".length").classList.toggle("over", length > LIMIT);
  };
  const close = () => {
    form.remove();
    body.hidden = false;
    open.delete(one.dataset.chunk);
    Object.defineProperty(one, "dirty", { configurable: true, value: false });
  };
  const send = (path, fields) => submit(form, one, path, fields, { ...page, close });

  form.addEventListener("input", count);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(form));
    if (values?.lost) fields.lost = values.lost;
    send("edit/", fields);
  });
  form.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    if (event.key === "Escape" && !one.dirty) close();
  });
  form.addEventListener("click", async ({ target }) => {
    const deed = target.dataset.do;
    if (deed === "cancel" && (!one.dirty || confirm(page.root.dataset.sayLeave))) close();
    if (deed === "preview") preview(form, page);
    if (deed === "split") cut(form, page, send);
  });
  count();
  elements.text.focus();
  elements.text.setSelectionRange(0, 0);
}

function read(one) {
  const source = { text: "", question: "", questions: "" };
  const parts = one.querySelector("template.source").content.children;
  for (const { dataset, textContent } of parts) {
    source[dataset.name] += (source[dataset.name] && "\n") + textContent;
  }
  return source;
}

const value = (form) => JSON.stringify([...new FormData(form)]);

function cut(form, page, send) {
  const { text } = form.elements;
  const parts = [text.value.slice(0, text.selectionStart), text.value.slice(text.selectionStart)];
  if (parts.some((part) => !part.trim())) {
    tell(form, { text: page.root.dataset.sayPlace });
    return text.focus();
  }
  return send("split/", { text: parts });
}

async function preview(form, page) {
  const shown = form.querySelector(".preview");
  const button = form.querySelector("[data-do=preview]");
  shown.hidden = !shown.hidden;
  button.ariaPressed = String(!shown.hidden);
  if (shown.hidden) return;
  try {
    const answer = await post(page.root, `${page.root.dataset.chunks}preview/`, { text: form.elements.text.value });
    shown.innerHTML = await answer.text(); // cleaned by the server's allow-list
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    tell(form, error.errors);
  }
}

async function submit(form, one, path, fields, { root, done, close }) {
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  tell(form, {});
  try {
    const url = `${root.dataset.chunks}${one.dataset.chunk}/${path}`;
    const answer = await post(root, url, { ...fields, seen: one.dataset.seen });
    close();
    await done(await answer.json(), one.dataset.chunk);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    tell(form, error.errors, error.status === 401 ? root.dataset : null);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

function tell(form, errors, sign) {
  for (const place of form.querySelectorAll("[data-errors]")) {
    const said = [errors[place.dataset.errors] ?? []].flat();
    place.hidden = !said.length;
    place.textContent = said.join(" ");
  }
  if (!sign) return;
  const link = document.createElement("a");
  Object.assign(link, { href: sign.login, target: "_blank", textContent: sign.saySignIn });
  form.querySelector("[data-errors='']").append(" ", link);
}
