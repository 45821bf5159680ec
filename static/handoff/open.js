// A conversation that is followed: its transcript, whose it is, who else looks at it.
import { Log } from "../chat/log.js";
import { say, time } from "../chat/strings.js";

export class Open {
  standing = null;
  background = null;
  customer = ""; // "here", "typing", "left"
  cites = []; // ids of passages that marks in what is being written mean
  draft = null; // that it was made of
  first = 0; // the lowest seq shown
  loading = true; // what was said before is on its way
  #receipt = Object.assign(document.createElement("p"), { className: "receipt" });
  #delivered = 0; // the last seq that the customer's page has
  #others = new Map(); // window → {name, agent, typing}
  #asked = 0; // the epoch at which the background was asked for

  constructor(conversation, place, { onRetry }) {
    this.conversation = conversation;
    this.element = document.createElement("div");
    this.element.className = "log";
    this.element.role = "log";
    this.element.hidden = true;
    place.append(this.element);
    this.log = new Log(this.element, { onRetry });
  }

  show() {
    this.element.hidden = false;
  }

  hide() {
    this.element.hidden = true;
  }

  remove() {
    this.element.remove();
  }

  // What the server says, unless something later was heard.
  stands(standing) {
    if (this.standing && standing.epoch < this.standing.epoch) return;
    this.standing = { ...this.standing, ...standing, told: Date.now() };
    for (const gone of ["owner", "offered_to", "snoozed_until"]) {
      if (!(gone in standing)) this.standing[gone] = null;
    }
    if (!("timers" in standing)) this.standing.timers = [];
    if (!("priority" in standing)) delete this.standing.priority; // it is with nobody any more
  }

  // Whether it changed hands since what is known beside it came.
  changed() {
    if (this.standing.epoch === this.#asked) return false;
    this.#asked = this.standing.epoch;
    return true;
  }

  fill(messages, after) {
    this.#asked = this.standing.epoch;
    this.loading = false;
    if (!after) this.first = messages[0]?.seq ?? 1;
    this.element.ariaBusy = "true";
    messages.forEach((message) => this.put(message));
    this.element.ariaBusy = "false";
  }

  earlier(messages) {
    this.first = messages[0]?.seq ?? 1;
    messages.forEach((message) => this.put(message));
  }

  put(message) {
    const element = this.log.put(message);
    if (!message.public && message.role !== "system") element.classList.add("private");
    stamp(element, message);
    if (message.role === "customer") this.#delivered = Math.max(this.#delivered, message.seq);
    if (message.role === "agent") this.receipts();
  }

  // Under the last reply: that it is stored, or has arrived at the customer's page.
  receipts(seq = 0) {
    this.#delivered = Math.max(this.#delivered, seq);
    const last = [...this.element.querySelectorAll(".agent:not(.private)[data-seq]")].at(-1);
    last?.append(this.#receipt);
    this.#receipt.textContent = say(Number(last?.dataset.seq) <= this.#delivered ? "delivered" : "stored");
  }

  stored(id, seq) {
    this.log.stored(id, seq);
    this.receipts();
  }

  sending(id, { action, text, uploads, author }) {
    const escaped = document.createElement("p");
    escaped.textContent = text;
    const message = { role: "agent", author, text, html: escaped.outerHTML, uploads };
    this.log.sending(id, message);
    this.element.lastElementChild.classList.toggle("private", action === "note");
  }

  here(window, who) {
    this.#others.set(window, who);
  }

  quiet(window) {
    const who = this.#others.get(window);
    if (who) who.typing = false;
  }

  gone(window) {
    this.#others.delete(window);
  }

  get others() {
    const all = [...this.#others.values()];
    const names = (typing) => [...new Set(all.filter((one) => Boolean(one.typing) === typing).map(({ name }) => name))];
    return { typing: names(true), viewing: names(false) };
  }
}

// Who said it, and when; a note says that it is one.
function stamp(element, { role, author, public: shown, rating, created_at: at }) {
  const line = element.querySelector(".who");
  const name = author || (role === "assistant" ? say("queue.bot") : "");
  line.hidden = role === "system";
  line.textContent = [!shown && role !== "system" && say("note"), name, time(at), rating && (rating.helpful ? "👍" : "👎")].filter(Boolean).join(" · ");
}
