// The chat page: joins the socket, the conversation, the composer and the drawer.
import { Bridge } from "./bridge.js";
import { Composer } from "./composer.js";
import { Drawer } from "./drawer.js";
import { History } from "./history.js";
import { Log, fill } from "./log.js";
import { Outbox } from "./outbox.js";
import { Satisfaction } from "./satisfaction.js";
import { Scroll } from "./scroll.js";
import { Socket } from "./socket.js";
import { lasting } from "./stored.js";
import { config, say } from "./strings.js";
import { themeButton } from "./themes.js";
import { Zoom } from "./zoom.js";

const CONVERSATION = "conversation";
const RETRY = 2_000; // ms, while the database is away
const TYPING_EVERY = 3_000; // ms, told to who is there
const TYPING_FOR = 5_000; // ms that the other is shown to type
const BEGUN_WITHIN = 3_000; // ms; later the visitor is told that the message is there
const ACK_WITHIN = 15_000; // ms; later the visitor may send again

const at = (id) => document.getElementById(id);
const { embedded } = config; // in the frame of a site: which, and from where
const bridge = embedded && new Bridge(embedded);
const socket = new Socket(embedded ? `/ws/chat/?${address()}` : "/ws/chat/");
const outbox = new Outbox();
const log = new Log(at("log"), { onRetry: transmit });
const scroll = new Scroll(at("main"), at("latest"), () => log.anchor());
const drawer = new Drawer(at("drawer"));
const zoom = new Zoom(at("zoom"));
const composer = new Composer(at("composer"), { onSend: send });
const satisfaction = new Satisfaction(at("satisfaction"), {
  onRate: (given) => socket.send({ type: "satisfaction", ...given }),
});
const history = new History(at("history"), at("past"), {
  onAsk: (wanted) => socket.send({ type: "history", ...wanted }),
  onOpen: (uuid) => start(uuid),
});
themeButton(at("theme"));

const title = document.title;
let unread = 0;
let typed = 0;
let away = false; // the frame is shut
let live = null; // {turn, html, citations} of the answer in the making
let joined = false; // the server has told us the conversation as it stands
let begun = false; // a new conversation was asked for
let identifying = false;
let conversation = lasting.get(CONVERSATION);

function address() {
  const { site, base } = embedded;
  return new URLSearchParams({ site, base, language: document.documentElement.lang });
}

// --- what goes out -------------------------------------------------------------
function hello() {
  socket.send({ type: "hello", conversation, after: log.last });
}

// Another conversation, or with null a new one.
function start(uuid) {
  conversation = uuid;
  begun ||= uuid === null;
  log.clear();
  hello();
}

function send(message) {
  const id = outbox.add(message);
  log.sending(id, message);
  scroll.stick();
  transmit(id);
  showEmpty();
}

function transmit(id) {
  log.note(id, say(onTheWay()));
  const { text, uploads } = outbox.get(id);
  if (joined) socket.send({ type: "message", id, text, uploads: uploads.map((one) => one.id) });
  setTimeout(() => outbox.get(id) && navigator.onLine && log.note(id, say("failed"), true), ACK_WITHIN);
}

function onTheWay() {
  return navigator.onLine ? "sending" : "waiting";
}

function again(id) {
  if (outbox.get(id)) transmit(id);
}

// --- what comes in -------------------------------------------------------------
const receive = {
  welcome({ conversation: uuid, messages, verified, ...state }) {
    if (uuid !== conversation) {
      log.clear();
      at("step").textContent = "";
    }
    conversation = uuid;
    lasting.set(CONVERSATION, uuid);
    composer.of(uuid, { begun });
    begun = false;
    joined = true;
    banner("");
    at("past").hidden = !verified;
    at("log").ariaBusy = true; // what was said before is not announced
    messages.forEach(put);
    at("log").ariaBusy = false;
    receive.state(state);
    for (const [id, message] of outbox.all) {
      if (!log.knows(id)) log.sending(id, message);
      transmit(id);
    }
    scroll.stick();
    showEmpty();
  },
  ack({ id, seq }) {
    outbox.remove(id);
    log.stored(id, seq);
    const of = conversation;
    const received = () => of === conversation && unanswered(seq) && (at("step").textContent = say("received"));
    setTimeout(received, BEGUN_WITHIN);
  },
  message({ message }) {
    // Something in between is missing: ask for it, it brings this one along.
    if (message.seq > log.last + 1) return hello();
    const fresh = !log.has(message.seq);
    put(message);
    if (fresh && (document.hidden || away) && message.role !== "customer") count(unread + 1);
    showEmpty();
    scroll.follow();
  },
  step({ step }) {
    at("step").textContent = say(`step.${step}`);
    if (step !== "answer") hush();
    scroll.follow();
  },
  citations({ turn, citations }) {
    live = { turn, html: "", citations };
  },
  delta({ turn, html }) {
    if (live?.turn !== turn) live = { turn, citations: [] };
    live.html = html;
    at("live").message = live;
    at("live").hidden = false;
    fill(at("live").firstElementChild, live);
    scroll.follow();
  },
  afresh: hush, // what was written of the answer is taken back
  notice({ text }) {
    if (at("step").textContent !== text) at("step").textContent = text; // else it is read aloud again
    scroll.follow();
  },
  typing({ agent }) {
    const sentence = say("typing", { agent });
    at("step").textContent = sentence;
    setTimeout(() => at("step").textContent === sentence && (at("step").textContent = ""), TYPING_FOR);
    scroll.follow();
  },
  history(found) {
    history.show(found);
  },
  state({ state, agent, waiting, staffed, satisfaction: given = null }) {
    const called = waiting > 0 ? "state.ahead" : "state.queued";
    const key = { queued: staffed ? called : "state.nobody", offered: "state.queued",
      human: agent ? "state.human" : "state.human.unnamed", resolved: "state.resolved" }[state];
    satisfaction.show(given);
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
    if (code === "identity_expired") return identifyAgain(text);
    if (code === "unavailable") setTimeout(() => (id ? again(id) : hello()), RETRY);
    else if (id) log.note(id, text, true);
    if (!id) banner(text);
  },
};

// Nothing has come of what was asked as `seq`, and no person is to answer it.
function unanswered(seq) {
  return log.last <= seq && !live && !at("step").textContent && !at("person").disabled;
}

function put(message) {
  if (message.role === "customer" && message.id) outbox.remove(message.id);
  if (message.role !== "customer") {
    at("step").textContent = "";
    hush();
  }
  log.put(message);
}

function hush() {
  live = null;
  at("live").hidden = true;
  at("live").firstElementChild.textContent = "";
}

// The word of the site is good for minutes.
async function identifyAgain(sentence) {
  if (identifying) return;
  identifying = true;
  joined = false;
  const known = await bridge.identify();
  identifying = false;
  if (known) socket.again();
  else banner(sentence);
}

socket.addEventListener("open", hello);
socket.addEventListener("close", () => {
  joined = false;
  banner(say(navigator.onLine ? "reconnecting" : "offline"));
  for (const [id] of outbox.all) log.note(id, say(onTheWay()));
});
socket.addEventListener("refused", ({ detail }) => banner(say(`refused.${detail}`)));
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
  ".option:not(.reason), .example": (hit) => {
    const keyed = hit.matches(":focus-visible"); // it is hidden by what is sent
    send({ text: hit.textContent, uploads: [] });
    if (keyed) document.querySelector("#text").focus();
  },
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
  ".another .new": restart,
  ".another .withdraw": () => socket.send({ type: "withdraw" }),
  ":is(.figures, .uploads) .picture": (hit) => zoom.open(hit.querySelector("img")),
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
  const { contact, about } = event.target.elements;
  if (about.value.trim()) send({ text: about.value.trim(), uploads: [] }); // asked, and kept
  socket.send({ type: "contact", text: contact.value });
});
at("text").addEventListener("input", () => {
  // Only a person wants to know.
  if (!at("person").disabled || Date.now() - typed < TYPING_EVERY) return;
  typed = Date.now();
  socket.send({ type: "typing" });
});
at("person").addEventListener("click", () => socket.send({ type: "person" }));
at("new").addEventListener("click", restart);

function restart() {
  outbox.clear();
  begun = true;
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
  bridge?.tell("unread", { count: n });
}

document.addEventListener("visibilitychange", () => document.hidden || away || count(0));

// --- in a frame ----------------------------------------------------------------------
function frame() {
  bridge.addEventListener("shown", () => {
    away = false;
    count(0);
    at("text").focus();
  });
  bridge.addEventListener("hidden", () => (away = true));
  bridge.addEventListener("identify", () => bridge.identify().then(() => socket.again()));
  at("leave").addEventListener("click", () => bridge.tell("close"));
  document.addEventListener("keydown", ({ key, isComposing }) => {
    if (key !== "Escape" || isComposing || document.querySelector("dialog[open]")) return;
    bridge.tell("close");
  });
  bridge.tell("ready");
  return bridge.identify();
}

if (bridge) await frame();
socket.open();
