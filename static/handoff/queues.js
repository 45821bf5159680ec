// The queues: rows as the server ranks them, counted, with what was not read yet.
import { lasting } from "../chat/stored.js";
import { clone, say } from "../chat/strings.js";
import { tell } from "./timers.js";

const KEY = "console.read"; // conversation → seq
const KEPT = 300;

export class Queues {
  #rows = [];
  #found = null; // rows of a search
  #queue = "mine";
  #current = null;
  #me = null;
  #read = new Map(lasting.read(KEY) ?? []);

  constructor(list, { onOpen }) {
    this.list = list;
    this.onOpen = onOpen;
    this.tabs = [...document.querySelectorAll("[data-queue]")];
    for (const tab of this.tabs) tab.addEventListener("click", () => this.look(tab.dataset.queue));
    document.querySelector(".tabs").addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      const here = this.tabs.findIndex((tab) => tab.ariaSelected === "true");
      if (step) this.nth((here + step + this.tabs.length) % this.tabs.length).focus();
    });
  }

  get all() {
    return this.#rows;
  }

  get unread() {
    return this.#rows.filter((row) => this.#mine(row) && this.#unread(row)).length;
  }

  // What is new in it: {wrote: conversations of mine whose customer wrote, waits: new ones}.
  put(rows, me) {
    const before = new Map(this.#rows.map((row) => [row.conversation, row]));
    const first = !this.#me;
    this.#rows = rows.map((row) => ({ told: Date.now(), ...row })); // since when its clocks count on
    this.#me = me;
    for (const tab of this.tabs) tab.querySelector("b").textContent = this.#count(tab.dataset.queue);
    this.#draw();
    const later = (row) => row.last_seq > (before.get(row.conversation)?.last_seq ?? 0);
    return {
      wrote: first ? [] : rows.filter((row) => this.#mine(row) && this.#unread(row) && later(row)),
      waits: first ? [] : rows.filter(({ conversation, state }) => state === "queued" && before.get(conversation)?.state !== "queued"),
    };
  }

  // How many there are; of what calls somebody, how many they have not looked at.
  #count(queue) {
    const there = this.#rows.filter((row) => this.#in(row, queue));
    return queue === "mentioned" ? there.filter(({ called }) => called).length : there.length;
  }

  // What has changed of a row, or a new one; where it stands is settled by the next `put`.
  patch(row) {
    const known = this.#rows.some(({ conversation }) => conversation === row.conversation);
    if (!known && !row.requested_at) return { wrote: [], waits: [] };
    const told = row.timers ? { told: Date.now() } : {};
    const patched = (one) => (one.conversation === row.conversation ? { ...one, ...told, ...row } : one);
    return this.put(known ? this.#rows.map(patched) : [row, ...this.#rows], this.#me);
  }

  found(rows) {
    this.#found = rows;
    document.getElementById("finding").hidden = !rows;
    this.#draw();
  }

  look(queue) {
    this.#queue = queue;
    for (const tab of this.tabs) {
      tab.ariaSelected = String(tab.dataset.queue === queue);
      tab.tabIndex = tab.dataset.queue === queue ? 0 : -1;
    }
    this.found(null);
  }

  nth(n) {
    this.tabs[n].click();
    return this.tabs[n];
  }

  step(by) {
    const shown = this.#shown();
    const here = shown.findIndex(({ conversation }) => conversation === this.#current);
    const next = shown[Math.max(0, Math.min(shown.length - 1, here + by))];
    if (next) this.onOpen(next.conversation);
  }

  mark(conversation) {
    this.#current = conversation;
    for (const row of this.list.querySelectorAll(".row")) {
      row.ariaCurrent = row.dataset.conversation === conversation ? "true" : null;
    }
  }

  read(conversation, seq) {
    if ((this.#read.get(conversation) ?? 0) >= seq) return;
    this.#read.delete(conversation);
    this.#read.set(conversation, seq);
    lasting.write(KEY, [...this.#read].slice(-KEPT));
    this.#draw();
  }

  // Whether a colleague called this agent into it, who has not looked.
  calls(conversation) {
    return this.#rows.some((row) => row.conversation === conversation && row.called);
  }

  // Waiting times go on.
  tick() {
    for (const element of this.list.querySelectorAll(".row")) times(element, element.row);
  }

  #mine({ owner, offered_to: offered }) {
    return [owner?.id, offered?.id].includes(this.#me?.id);
  }

  #in(row, queue) {
    const asleep = row.snoozed_until && new Date(row.snoozed_until) > Date.now();
    if (queue === "snoozed") return asleep && this.#mine(row);
    if (queue === "mine") return this.#mine(row) && !asleep;
    if (queue === "unassigned") return ["queued", "offered"].includes(row.state);
    if (queue === "mentioned") return (row.called ?? null) !== null;
    return ["queued", "offered", "human"].includes(row.state);
  }

  #unread({ conversation, last_seq: last, said_by: by }) {
    return by === "customer" && last > (this.#read.get(conversation) ?? 0);
  }

  #shown() {
    return this.#found ?? this.#rows.filter((row) => this.#in(row, this.#queue));
  }

  #draw() {
    const shown = this.#shown();
    const focused = document.activeElement?.closest(".row")?.dataset.conversation;
    this.list.replaceChildren(...shown.map((row) => this.#row(row)));
    if (focused) this.list.querySelector(`[data-conversation="${focused}"]`)?.focus();
    const none = document.getElementById("none");
    none.hidden = shown.length > 0;
    none.textContent = say(this.#me ? "queue.empty" : "loading");
    this.mark(this.#current);
  }

  #row(row) {
    const item = clone("t-row");
    const button = item.firstElementChild;
    button.row = row;
    button.dataset.conversation = row.conversation;
    button.classList.toggle("unread", this.#unread(row) || row.called === true);
    button.querySelector(".title").textContent = row.title || say("visitor");
    button.querySelector(".preview").textContent = row.preview ?? "";
    button.querySelector(".state").textContent = state(row);
    button.querySelector(".preview").hidden = !row.preview;
    button.querySelector(".marks").append(...marks(row));
    times(button, row);
    button.addEventListener("click", () => this.onOpen(row.conversation));
    return item;
  }
}

function state({ state, owner, offered_to: offered, reason }) {
  const what = {
    human: owner?.name, queued: say("queue.waiting"), bot: say("queue.bot"),
    resolved: say("queue.resolved"), offered: say("queue.offered", { agent: offered?.name }),
  }[state];
  return [what, reason].filter(Boolean).join(" · ");
}

// What it is marked with: its priority unless that is normal, its tags, a call.
function marks({ priority, tags = [], called }) {
  const named = [priority > 1 && say(`priority.${priority}`), ...tags.map((tag) => `#${tag}`), called && "@"];
  return named.filter(Boolean).map((text, i) => {
    const mark = document.createElement("span");
    mark.className = i === 0 && priority > 1 ? "mark high" : "mark";
    mark.textContent = text;
    return mark;
  });
}

function times(element, { state, timers = [], told, snoozed_until: asleep, requested_at: since }) {
  const line = element.querySelector(".due");
  const { text, level } = timers.length ? tell(timers[0], told, true) : { text: "", level: "" };
  [line.textContent, line.className] = [text, `due ${level}`];
  const when = element.querySelector(".when");
  if (asleep && new Date(asleep) > Date.now()) when.textContent = say("queue.snoozed", { time: clock(asleep) });
  else when.textContent = since && state !== "human" ? say("queue.waits", { time: span(Date.now() - new Date(since)) }) : "";
}

function clock(iso) {
  return new Date(iso).toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
}

function span(ms) {
  const [n, unit] = ms < 3_600_000 ? [ms / 60_000, "minute"] : ms < 86_400_000 ? [ms / 3_600_000, "hour"] : [ms / 86_400_000, "day"];
  const format = { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 };
  return Math.floor(Math.max(0, n)).toLocaleString(document.documentElement.lang, format);
}
