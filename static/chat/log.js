// The conversation as it stands: one element a message, in the order of `seq`, none twice.
import { drawFormulas } from "./formulas.js";
import { clone, say, time } from "./strings.js";

const HEADINGS = "h1, h2, h3, h4, h5, h6";
const FORM = ["nobody_on_duty", "still_waiting"]; // asks how the visitor can be reached
const WAITS = ["handoff_requested", "nobody_on_duty", "still_waiting", "noted"]; // for a person
const ALONE = ["contact_saved", "noted_later"]; // a person answers here, some time
const CELLS = /![A-Z]+\d+:[A-Z]+\d+$/; // of a named sheet, whose number adds nothing

export class Log {
  #messages = new Map(); // seq → element
  #pending = new Map(); // client id → element

  constructor(element, { onRetry }) {
    this.element = element;
    this.onRetry = onRetry;
    this.last = 0; // the highest seq shown
  }

  get empty() {
    return !this.#messages.size && !this.#pending.size;
  }

  clear() {
    this.element.replaceChildren();
    this.#messages.clear();
    this.#pending.clear();
    this.last = 0;
  }

  knows(id) {
    return this.#pending.has(id);
  }

  has(seq) {
    return this.#messages.has(seq);
  }

  // A message of the server's; one shown before is drawn anew.
  put(message) {
    const element = draw(message);
    const before = this.#messages.get(message.seq);
    // Pictures that are there stay: the window that shows one gives the focus back to it.
    const there = (before ?? this.#pending.get(message.id))?.querySelector(".uploads");
    if (there) element.querySelector(".uploads")?.replaceWith(there);
    if (before) {
      before.replaceWith(element);
    } else {
      this.#drop(message.id);
      const next = [...this.element.children].find(
        (other) => !other.dataset.seq || Number(other.dataset.seq) > message.seq,
      );
      this.element.insertBefore(element, next ?? null);
    }
    this.#messages.set(message.seq, element);
    this.last = Math.max(this.last, message.seq);
    this.#tidy();
    return element;
  }

  // What the visitor just wrote, until the server has it.
  sending(id, message) {
    const element = draw({ role: "customer", ...message });
    this.#pending.set(id, element);
    element.querySelector(".retry").addEventListener("click", () => this.onRetry(id));
    this.element.append(element);
    this.note(id, say("sending"));
    this.#tidy();
  }

  note(id, sentence, failed = false) {
    const line = this.#pending.get(id)?.querySelector(".sending");
    if (!line) return;
    line.hidden = false;
    line.classList.toggle("failed", failed);
    line.querySelector("span").textContent = sentence;
    line.querySelector(".retry").hidden = !failed;
  }

  // The server has stored it as `seq`; the message itself may have come before, or comes next.
  stored(id, seq) {
    const element = this.#pending.get(id);
    if (!element) return;
    if (this.has(seq)) return this.#drop(id);
    this.#pending.delete(id);
    element.querySelector(".sending").hidden = true;
    element.dataset.seq = seq;
    this.#messages.set(seq, element);
  }

  // From where to read: the last question, or what a person said last.
  anchor() {
    return [...this.element.querySelectorAll(".customer, .agent")].at(-1);
  }

  #drop(id) {
    this.#pending.get(id)?.remove();
    this.#pending.delete(id);
  }

  // Buttons and forms belong to the newest message that asks for something.
  #tidy() {
    const newest = this.element.lastElementChild;
    for (const part of this.element.querySelectorAll(".options")) {
      part.hidden = !newest.contains(part);
    }
    const events = [...this.element.querySelectorAll("[data-event]")];
    const asks = events.findLast(({ dataset }) => dataset.event !== "noted"); // which takes no form away
    for (const part of this.element.querySelectorAll(".contact")) part.hidden = !asks.contains(part);
    for (const part of this.element.querySelectorAll(".another")) part.hidden = !events.at(-1).contains(part);
  }
}

function draw(message) {
  const element = clone("t-message");
  element.classList.add(message.role);
  if (message.seq) element.dataset.seq = message.seq;
  if (message.event) element.dataset.event = message.event;
  const prose = element.querySelector(".prose");
  if (message.role === "assistant" || message.role === "agent") {
    fill(prose, message);
  } else {
    prose.textContent = message.text;
    prose.hidden = !message.text;
  }
  if (message.uploads?.length) element.append(uploaded(message.uploads));
  if (message.role === "agent") {
    const who = element.querySelector(".who");
    who.hidden = false;
    who.textContent = message.author || say("person");
  }
  if (FORM.includes(message.event)) element.append(clone("t-contact"));
  if (WAITS.includes(message.event)) element.append(clone("t-withdraw"));
  if (ALONE.includes(message.event)) element.append(clone("t-another"));
  const ready = message.options?.length ? options(message.options) : null;
  if (ready && message.outcome === "clarifying") element.append(ready); // before where each is from
  const shown = message.figures?.map((one) => figure(one, message.citations)).filter((one) => !repeats(one, prose));
  if (shown?.length) element.append(figures(shown));
  if (message.degraded) element.append(degraded(message.degraded));
  if (message.citations?.length) element.append(sources(message.citations));
  if (message.originals?.length) element.append(originals(message.originals));
  if (ready && !ready.parentElement) element.append(ready);
  if (message.exports) element.append(actions(message));
  if (message.rating?.helpful === false) element.append(why(message.rating));
  element.message = message;
  return element;
}

// What is said, also while it is still being written.
export function fill(prose, { html, citations }) {
  prose.innerHTML = html; // cleaned by the server's allow-list
  enrich(prose, citations ?? []);
  drawFormulas(prose);
}

// Marks open their source, tables scroll inside themselves, code can be copied.
function enrich(prose, citations) {
  thin([...prose.querySelectorAll(".cite")]);
  for (const mark of prose.querySelectorAll(".cite")) mark.replaceWith(button(mark, citations));
  for (const table of prose.querySelectorAll("table")) table.replaceWith(scrolling(table));
  for (const code of prose.querySelectorAll("pre")) {
    const frame = document.createElement("div");
    frame.className = "code";
    code.tabIndex = 0;
    code.replaceWith(frame);
    frame.append(code, clone("t-copy"));
  }
}

// What follows one another from the same source is marked once, at its end: no mark at a
// heading, none on a line of its own beneath code that the line above has led to.
function thin(marks) {
  const block = (mark) => mark.closest(`p, li, td, th, ${HEADINGS}`);
  marks.forEach((mark, i) => {
    const [before, after] = [marks[i - 1], marks[i + 1]];
    const same = (other) => other?.dataset.n === mark.dataset.n;
    const alone = block(mark)?.textContent.trim() === mark.textContent;
    if (same(after) && (block(after) === block(mark) || block(mark)?.matches(HEADINGS))) {
      mark.remove();
    } else if (alone && same(before)) {
      block(mark).remove();
    }
  });
}

function button({ dataset, textContent }, citations) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "cite";
  element.dataset.n = dataset.n;
  element.textContent = textContent;
  const { title } = citations.find(({ n }) => n === Number(dataset.n)) ?? { title: "" };
  element.ariaLabel = say("source", { n: dataset.n, title });
  element.title = title;
  return element;
}

function scrolling(table) {
  const frame = document.createElement("div");
  frame.className = "wide-table";
  frame.tabIndex = 0;
  frame.append(table.cloneNode(true));
  return frame;
}

function options(labels) {
  const line = clone("t-options");
  for (const label of labels) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "option";
    button.textContent = label;
    line.append(button);
  }
  return line;
}

function degraded(sentence) {
  const line = clone("t-degraded");
  line.textContent = sentence;
  return line;
}

// The finished files that the answer is from.
function originals(files) {
  const line = clone("t-originals");
  for (const { title, kind, size, url } of files) {
    const link = document.createElement("a");
    Object.assign(link, { href: url, download: "", textContent: title });
    const about = document.createElement("span");
    about.textContent = `${kind.toUpperCase()} · ${bytes(size)}`;
    line.append(link, about);
  }
  return line;
}

function bytes(size) {
  const [number, unit] = size < 1e6 ? [size / 1e3, "kilobyte"] : [size / 1e6, "megabyte"];
  const format = { style: "unit", unit, maximumFractionDigits: number < 10 ? 1 : 0 };
  return number.toLocaleString(document.documentElement.lang, format);
}

function uploaded(uploads) {
  const list = document.createElement("p");
  list.className = "uploads";
  list.append(...uploads.map((upload) => (upload.kind === "picture" ? shot(upload) : file(upload))));
  return list;
}

function shot({ url, name, width, height }) {
  return picture({ url, width, height }, name);
}

function file({ url, name, size }) {
  const link = document.createElement("a");
  const textContent = `${name} · ${bytes(size)}`;
  Object.assign(link, { href: url, textContent, target: "_blank", rel: "noopener" });
  return link;
}

export function place({ page, locator }) {
  return [page && !CELLS.test(locator) && say("page", { page }), locator].filter(Boolean).join(" · ");
}

function sources(citations) {
  const section = clone("t-sources");
  for (const citation of citations) {
    const item = clone("t-source");
    const button = item.querySelector("button");
    button.dataset.n = citation.n;
    button.querySelector(".n").textContent = citation.n;
    button.querySelector(".title").textContent = citation.title;
    button.querySelector(".locator").textContent = place(citation);
    section.lastElementChild.append(item);
  }
  return section;
}

function figures(elements) {
  const section = clone("t-figures");
  section.append(...elements);
  return section;
}

function figure({ n, kind, number, caption, ...rest }, citations) {
  const element = clone("t-figure");
  const name = caption.startsWith(number) ? [caption] : [number, caption];
  const label = [...name, place(rest)].filter(Boolean).join(" · ");
  const mark = button({ dataset: { n }, textContent: n }, citations);
  element.querySelector("figcaption").append(label, mark);
  const shown = kind === "picture" ? picture(rest, label) : table(rest, label);
  element.querySelector(".body").append(shown);
  return element;
}

// A table that the answer itself holds whole.
function repeats(element, prose) {
  const cells = (table) => [...table.querySelectorAll("th, td")].map((cell) => cell.innerText.trim());
  const wanted = String(element.querySelector("table") && cells(element));
  return [...prose.querySelectorAll("table")].some((table) => String(cells(table)) === wanted);
}

function picture({ url, width, height }, caption) {
  const button = clone("t-zoom");
  const image = button.querySelector("img");
  if (width && height) Object.assign(image, { width, height });
  image.alt = caption;
  image.src = url;
  image.onerror = () => button.replaceWith(say("picture.missing"));
  return button;
}

function table({ html }, caption) {
  const frame = document.createElement("div");
  frame.className = "wide-table";
  frame.tabIndex = 0;
  frame.role = "region";
  frame.ariaLabel = caption;
  frame.innerHTML = html; // cleaned by the server's allow-list
  return frame;
}

function actions(message) {
  const line = clone("t-actions");
  line.querySelector(".pdf").href = message.exports.pdf;
  line.querySelector(".docx").href = message.exports.docx;
  const rated = message.outcome === "answered";
  for (const button of line.querySelectorAll(".rate")) {
    button.hidden = !rated;
    button.ariaPressed = String(String(message.rating?.helpful) === button.dataset.helpful);
  }
  const at = line.querySelector("time");
  at.dateTime = message.created_at;
  at.textContent = time(message.created_at);
  return line;
}

// What is wrong with an answer that did not help: a reason, a sentence.
function why({ reason, comment }) {
  const form = clone("t-why");
  for (const button of form.querySelectorAll(".reason")) {
    button.ariaPressed = String(button.dataset.reason === reason);
  }
  form.elements.comment.value = comment;
  return form;
}
