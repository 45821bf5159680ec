// The chat page: joins the socket, the conversation, the composer and the drawer.
import { Composer } from "./composer.js";
import { Drawer } from "./drawer.js";
import { Log } from "./log.js";
import { Outbox } from "./outbox.js";
import { Scroll } from "./scroll.js";
import { Socket } from "./socket.js";
import { say } from "./strings.js";
import { themeButton } from "./themes.js";
import { Zoom } from "./zoom.js";

const CONVERSATION = "opsdesk.conversation";
const RETRY = 2_000; // ms, while the database is away
const ACK_WITHIN = 15_000; // ms; later the visitor may send again

const at = (id) => document.getElementById(id);
const socket = new Socket("/ws/chat/");
const outbox = new Outbox();
const log = new Log(at("log"), { onRetry: transmit });
const scroll = new Scroll(at("main"), at("latest"), () => log.question());
const drawer = new Drawer(at("drawer"));
const zoom = new Zoom(at("zoom"));
new Composer(at("composer"), { onSend: send });
themeButton(at("theme"));

const title = document.title;
let unread = 0;
let joined = false; // the server has told us the conversation as it stands
let conversation = localStorage.getItem(CONVERSATION);

// --- what goes out -------------------------------------------------------------
function hello() {
  socket.send({ type: "hello", conversation, after: log.last });
}

// Another conversation, or with null a new one.
function start(uuid) {
  conversation = uuid;
  log.clear();
  hello();
}

function send(text) {
  const id = outbox.add(text);
  log.sending(id, text);
  scroll.stick();
  transmit(id);
  showEmpty();
}

function transmit(id) {
  log.note(id, say("sending"));
  if (joined) socket.send({ type: "message", id, text: outbox.text(id) });
  setTimeout(() => outbox.text(id) && log.note(id, say("failed"), true), ACK_WITHIN);
}

function again(id) {
  if (outbox.text(id)) transmit(id);
}

// --- what comes in -------------------------------------------------------------
const receive = {
  welcome({ conversation: uuid, messages, ...state }) {
    if (uuid !== conversation) log.clear();
    conversation = uuid;
    localStorage.setItem(CONVERSATION, uuid);
    joined = true;
    banner("");
    messages.forEach(put);
    receive.state(state);
    for (const [id, text] of outbox.all) {
      if (!log.knows(id)) log.sending(id, text);
      transmit(id);
    }
    scroll.stick();
    showEmpty();
  },
  ack({ id, seq }) {
    outbox.remove(id);
    log.stored(id, seq);
  },
  message({ message }) {
    // Something in between is missing: ask for it, it brings this one along.
    if (message.seq > log.last + 1) return hello();
    const fresh = !log.has(message.seq);
    put(message);
    if (fresh && document.hidden && message.role !== "customer") count(unread + 1);
    showEmpty();
    scroll.follow();
  },
  step({ step }) {
    at("step").textContent = say(`step.${step}`);
    if (step !== "answer") hush();
    scroll.follow();
  },
  delta({ text }) {
    at("live").hidden = false;
    at("live").firstElementChild.append(text);
    scroll.follow();
  },
  state({ state, agent, waiting, staffed }) {
    const called = waiting > 0 ? "state.ahead" : "state.queued";
    const key = { queued: staffed ? called : "state.nobody", offered: "state.queued",
      human: agent ? "state.human" : "state.human.unnamed", resolved: "state.resolved" }[state];
    at("state").hidden = !key;
    at("state").textContent = key ? say(key, { agent, waiting }) : "";
    const withPerson = ["queued", "offered", "human"].includes(state);
    at("person").disabled = withPerson;
    if (!withPerson) return;
    at("step").textContent = "";
    hush(); // an answer in the making is no longer wanted
  },
  error({ code, id, text }) {
    if (code === "not_found") return start(null); // another person's by now
    if (code === "unavailable") setTimeout(() => (id ? again(id) : hello()), RETRY);
    else if (id) log.note(id, text, true);
    if (!id) banner(text);
  },
};

function put(message) {
  if (message.role === "customer" && message.id) outbox.remove(message.id);
  if (message.role !== "customer") {
    at("step").textContent = "";
    hush();
  }
  log.put(message);
}

function hush() {
  at("live").hidden = true;
  at("live").firstElementChild.textContent = "";
}

socket.addEventListener("open", hello);
socket.addEventListener("close", () => {
  joined = false;
  banner(say("offline"));
});
socket.addEventListener("message", ({ detail }) => receive[detail.type]?.(detail));

// --- what is clicked -------------------------------------------------------------
function cited(element, n) {
  const { citations } = element.closest(".message").message;
  return citations.find((citation) => citation.n === Number(n));
}

const clicks = {
  ".cite, .source": (hit) => {
    const citation = cited(hit, hit.dataset.n);
    if (citation) drawer.open(citation);
  },
  ".option:not(.reason), .example": (hit) => send(hit.textContent),
  ".rate": (hit) => {
    const { rating } = hit.closest(".message").message;
    const helpful = hit.dataset.helpful === "true";
    rate(hit, { helpful: rating?.helpful === helpful ? null : helpful }); // again takes it back
  },
  ".reason": (hit) => {
    const { reason, comment } = hit.closest(".message").message.rating;
    const { reason: chosen } = hit.dataset;
    rate(hit, { helpful: false, reason: chosen === reason ? "" : chosen, comment });
  },
  ".why .person": () => socket.send({ type: "person" }),
  ".another button": restart,
  ".figures .picture": (hit) => zoom.open(hit.querySelector("img")),
  ".copy": (hit) => copy(hit, hit.closest(".message").message.text),
  ".copy-code": (hit) => copy(hit, hit.previousElementSibling.textContent),
};

document.addEventListener("click", (event) => {
  for (const [selector, act] of Object.entries(clicks)) {
    const hit = event.target.closest(selector);
    if (hit) act(hit);
  }
});

function rate(part, rating) {
  socket.send({ type: "rate", seq: part.closest(".message").message.seq, ...rating });
}

at("log").addEventListener("submit", (event) => {
  event.preventDefault();
  const { comment } = event.target.elements;
  if (comment) {
    const { reason } = event.target.closest(".message").message.rating;
    return rate(event.target, { helpful: false, reason, comment: comment.value });
  }
  socket.send({ type: "contact", text: event.target.elements.contact.value });
});
at("person").addEventListener("click", () => socket.send({ type: "person" }));
at("new").addEventListener("click", restart);

function restart() {
  outbox.clear();
  socket.send({ type: "new" });
}

async function copy(button, text) {
  await navigator.clipboard.writeText(text);
  const label = button.textContent;
  button.textContent = say("copied");
  setTimeout(() => (button.textContent = label), 1500);
}

// --- around it ---------------------------------------------------------------------
function banner(sentence) {
  at("banner").textContent = sentence;
  at("banner").hidden = !sentence;
}

function showEmpty() {
  at("empty").hidden = !joined || !log.empty;
}

function count(n) {
  unread = n;
  document.title = n ? `(${n}) ${title}` : title;
}

document.addEventListener("visibilitychange", () => document.hidden || count(0));
socket.open();
