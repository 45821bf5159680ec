// The console: joins the socket, the queues, the open conversations and what is known beside them.
import { Composer } from "../chat/composer.js";
import { Drawer } from "../chat/drawer.js";
import { Outbox } from "../chat/outbox.js";
import { Scroll } from "../chat/scroll.js";
import { Socket } from "../chat/socket.js";
import { lasting } from "../chat/stored.js";
import { say } from "../chat/strings.js";
import { themeButton } from "../chat/themes.js";
import { Zoom } from "../chat/zoom.js";
import { Alerts } from "./alerts.js";
import { Assist } from "./assist.js";
import { shortcuts } from "./keys.js";
import { showBackground, showMarks } from "./background.js";
import { drawHead, drawTimers } from "./head.js";
import { Held } from "./held.js";
import { Menu } from "./menu.js";
import { Open } from "./open.js";
import { Queues } from "./queues.js";
import { ask, fillColleagues } from "./dialogs.js";

const ACK_WITHIN = 15_000; // ms; later it may be sent again
const RETRY = 2_000;
const TYPING_EVERY = 3_000;
const SHOWN = 5_000; // ms that somebody is said to type

const at = (id) => document.getElementById(id);
const socket = new Socket("/ws/console/");
const outbox = new Outbox("console.outbox");
const opened = new Map(); // conversation → Open
const scroll = new Scroll(at("view"), at("latest"), () => null);
const drawer = new Drawer(at("drawer"));
const zoom = new Zoom(at("zoom"));
const alerts = new Alerts(at("notify"));
const queues = new Queues(at("rows"), { onOpen: show });
const composer = new Composer(at("composer"), { onSend: send });
const held = new Held(at("held"));
const assist = new Assist(at("assist"), {
  onAsk: (wanted) => socket.send({ conversation: current?.conversation, ...wanted }),
  onSend: (draft) => write({ uploads: [], ...draft }, "reply"),
  current: () => current,
  text: at("text"),
});
const menu = new Menu(at("composer"), at("canned"), {
  noting: () => noting(), onReply: (text) => assist.write(text), onMacro: hold,
});
themeButton(at("theme"));

let me = null;
let team = { agents: [], teams: [], supervisor: false };
let current = null; // the Open that is shown
let joined = false;
let private_ = false; // what is written is a note
let typed = 0;

// --- what goes out -------------------------------------------------------------
function act(action, more = {}) {
  if (!current?.standing) return;
  const { conversation, epoch } = current.standing;
  socket.send({ type: "act", action, conversation, epoch, ...more });
}

function send({ text, uploads }) {
  const { cites, draft } = current;
  [current.cites, current.draft] = [[], null];
  write({ text, uploads, cites, draft }, noting() ? "note" : "reply");
}

function write({ text, uploads, cites, draft }, action) {
  const { conversation, epoch } = current.standing;
  const id = outbox.add({ action, conversation, epoch, text, uploads, cites, draft });
  current.sending(id, { action, text, uploads, author: me.name });
  scroll.stick();
  transmit(id);
}

// A macro says things to the customer: for a moment it can be taken back.
function hold({ macro, name, steps }) {
  const { conversation } = current;
  held.hold(say("macro.held", { name, steps: steps.join(" → ") }), () => {
    const { epoch } = opened.get(conversation)?.standing ?? {};
    transmit(outbox.add({ action: "macro", conversation, epoch, macro, uploads: [] }));
  });
}

function transmit(id) {
  const { uploads, ...message } = outbox.get(id);
  const log = opened.get(message.conversation)?.log;
  log?.note(id, say("sending"));
  if (joined) socket.send({ type: "act", id, ...message, uploads: uploads.map((one) => one.id) });
  setTimeout(() => outbox.get(id) && log?.note(id, say("failed"), true), ACK_WITHIN);
}

// What is sent again is sent as things stand now: its writer has seen them.
function retry(id) {
  const message = outbox.get(id);
  if (!message) return;
  message.epoch = opened.get(message.conversation)?.standing.epoch ?? message.epoch;
  transmit(id);
}

function show(conversation) {
  held.flush();
  let one = opened.get(conversation);
  if (!one) {
    one = new Open(conversation, at("logs"), { onRetry: retry });
    opened.set(conversation, one);
    socket.send({ type: "open", conversation, after: 0 });
  }
  if (current) current.hide();
  current = one;
  one.show();
  location.hash = conversation;
  draw();
  assist.clear();
  menu.put(null);
  socket.send({ type: "canned", conversation });
  composer.of(conversation, { begun: false }); // once it is seen: it measures itself
  read();
  scroll.stick();
}

// --- what comes in -------------------------------------------------------------
const receive = {
  welcome(told) {
    people(told);
    joined = true;
    banner("");
    const wanted = location.hash.slice(1);
    if (wanted && !opened.size) show(wanted);
    else if (current) socket.send({ type: "canned", conversation: current.conversation });
    for (const [id] of outbox.all) transmit(id);
  },
  people,
  queues({ rows }) {
    const news = queues.put(rows, me);
    for (const row of rows) opened.get(row.conversation)?.stands(row);
    if (current?.standing) drawHead(current.standing, me, team);
    tell(news);
  },
  background({ conversation, background }) {
    const one = opened.get(conversation);
    if (!one) return;
    one.background = background;
    if (one === current) draw();
  },
  mentioned({ by, text }) {
    alerts.tell(say("notify.mention", { agent: by }), text);
  },
  passages: (told) => told.conversation === current?.conversation && assist.found(told),
  draft: (told) => told.conversation === current?.conversation && assist.drafted(told),
  canned: (told) => told.conversation === current?.conversation && menu.put(told),
  ran({ conversation, text, url }) {
    warn(text, url);
    if (opened.has(conversation)) reopen(opened.get(conversation)); // what can be done now
  },
  found({ rows }) {
    queues.found(rows);
  },
  opened({ conversation, standing, background, messages, after }) {
    const one = opened.get(conversation);
    if (!one) return;
    one.stands(standing);
    one.background = background;
    one.fill(messages, after);
    for (const [id, message] of outbox.all) {
      if (message.conversation === conversation && message.action !== "macro" && !one.log.knows(id)) one.sending(id, { ...message, author: me.name });
    }
    if (one === current) {
      draw();
      read();
      scroll.stick();
    }
  },
  earlier({ conversation, messages }) {
    const one = opened.get(conversation);
    const view = at("view");
    const below = view.scrollHeight - view.scrollTop;
    one?.earlier(messages);
    view.scrollTop = view.scrollHeight - below;
    draw();
  },
  message({ conversation, message }) {
    const one = opened.get(conversation);
    if (!one) return;
    // Something in between is missing: ask for it, it brings this one along.
    if (message.seq > one.log.last + 1) return reopen(one);
    if (message.id) outbox.remove(message.id);
    one.put(message);
    if (message.public && message.role !== "system") {
      tell(queues.patch({ conversation, preview: message.text.slice(0, 80), said_by: message.role, last_seq: message.seq }));
    }
    if (message.role === "customer") {
      one.customer = "here";
    }
    if (one !== current) return;
    read();
    doing();
    scroll.follow();
  },
  rated({ conversation, message }) {
    opened.get(conversation)?.put(message);
  },
  row({ row }) {
    const one = opened.get(row.conversation);
    one?.stands(row);
    if (one && one === current) drawHead(one.standing, me, team);
    tell(queues.patch(row));
  },
  standing(told) {
    const one = opened.get(told.conversation);
    one?.stands(told);
    tell(queues.patch(told));
    if (one === current) draw();
    refresh(one);
  },
  done({ id, conversation, seq, action }) {
    outbox.remove(id);
    if (seq) opened.get(conversation)?.stored(id, seq);
    if (["claim", "accept", "take_over", "reopen"].includes(action)) at("text").focus();
    if (action === "snooze" || action === "resolve") queues.look("mine");
  },
  offer({ conversation }) {
    alerts.tell(say("notify.offer"), "");
    queues.look("mine");
    if (!current) show(conversation);
  },
  customer({ conversation, what, seq }) {
    const one = opened.get(conversation);
    if (!one) return;
    one.customer = what;
    one.receipts(seq);
    if (what === "typing") later(one, () => one.customer === "typing" && (one.customer = "here"));
    if (one === current) doing();
  },
  here({ conversation, window, name, agent, typing }) {
    const one = opened.get(conversation);
    if (!one || agent === me.id) return; // in another window of one's own
    one.here(window, { name, agent, typing });
    later(one, () => one.quiet(window));
    if (one === current) doing();
  },
  gone({ conversation, window }) {
    const one = opened.get(conversation);
    one?.gone(window);
    if (one && one === current) doing();
  },
  error({ code, id, conversation, text }) {
    const one = opened.get(conversation);
    if (code === "unavailable") return setTimeout(() => (id ? retry(id) : hello()), RETRY);
    if (id && outbox.get(id)?.action === "macro") outbox.remove(id); // all or nothing: nothing
    if (id && outbox.get(id)) one?.log.note(id, text, true);
    else if (["no_draft", "failed"].includes(code)) assist.failed(text);
    else warn(text);
    if (code === "forbidden" || code === "not_found") forget(conversation);
    else if (code === "conflict" && one) reopen(one);
  },
};

// What is new in the queues, to who looks elsewhere.
function tell({ wrote, waits }) {
  read();
  count();
  const unseen = ({ conversation }) => document.hidden || conversation !== current?.conversation;
  for (const { title, preview } of wrote.filter(unseen)) alerts.tell(title || say("notify.message"), preview);
  if (me.on_duty) for (const { title } of waits) alerts.tell(say("notify.waits"), title);
}

function people({ me: told, agents, teams, supervisor }) {
  me = told;
  team = { agents, teams, supervisor };
  at("duty").ariaChecked = String(me.on_duty);
  at("duty").textContent = say(me.on_duty ? "duty.on" : "duty.off");
  at("choose").textContent = say(me.on_duty ? "choose.on" : "choose.off");
  fillColleagues(at("colleagues"), team, queues.all);
}

function later(one, then) {
  setTimeout(() => {
    then();
    if (one === current) doing();
  }, SHOWN);
}

function hello() {
  const open = Object.fromEntries([...opened].map(([pk, one]) => [pk, one.log.last]));
  socket.send({ type: "hello", open });
}

function reopen(one) {
  socket.send({ type: "open", conversation: one.conversation, after: one.log.last });
}

// What is known beside it changes with its hands.
function refresh(one) {
  if (one && one.changed()) reopen(one);
}

function forget(conversation) {
  const one = opened.get(conversation);
  if (!one) return;
  one.remove();
  opened.delete(conversation);
  if (one === current) leave();
}

// Back to the queues.
function leave() {
  held.flush();
  current?.hide();
  current = null;
  location.hash = "";
  draw();
}

// --- what is shown ----------------------------------------------------------------
function draw() {
  document.body.classList.toggle("reading", Boolean(current));
  at("conversation").hidden = !current?.standing;
  at("choose").hidden = Boolean(current);
  at("loading").hidden = !current || Boolean(current.standing);
  at("context").hidden = !current?.standing;
  at("facts").replaceChildren();
  queues.mark(current?.conversation);
  if (!current?.standing) return;
  drawHead(current.standing, me, team);
  mode(private_);
  pin(current.background);
  showMarks(at("marks"), current.standing);
  showBackground(at("facts"), current.background, show, (name) =>
    socket.send({ type: "run", conversation: current.conversation, name }));
  at("before").hidden = current.first <= 1;
  doing();
}

function pin(background) {
  const { summary, reason } = background ?? {};
  at("pinned").hidden = !summary && !reason;
  at("pinned").querySelector("summary").textContent = reason ?? "";
  at("pinned").querySelector("p").textContent = summary ?? "";
}

function noting() {
  return private_ || current?.standing?.owner?.id !== me?.id;
}

function mode(note) {
  private_ = note;
  const noted = noting();
  at("composer").classList.toggle("noting", noted);
  at("as-note").ariaChecked = String(noted);
  at("as-reply").ariaChecked = String(!noted);
  at("text").placeholder = say(noted ? "note.placeholder" : "reply.placeholder");
}

// Who else is here, and what the customer does.
function doing() {
  const { viewing, typing } = current.others;
  const names = (key, who) => (who.length ? say(key, { who: who.join(", ") }) : "");
  const customer = current.customer ? say(`customer.${current.customer}`) : "";
  const parts = [customer, names("here.typing", typing), names("here.viewing", viewing)];
  at("doing").textContent = parts.filter(Boolean).join(" · ");
  at("doing").classList.toggle("collision", Boolean(typing.length));
}

// What is known, over the conversation where there is no room beside it.
function beside() {
  const open = document.body.classList.toggle("beside");
  at("beside").ariaExpanded = String(open);
  (open ? at("aside") : at("beside")).focus();
}

function read() {
  if (!current || document.hidden) return;
  queues.read(current.conversation, current.log.last);
  if (queues.calls(current.conversation)) socket.send({ type: "seen", conversation: current.conversation });
  count();
}

function count() {
  alerts.count(queues.unread);
}

let fading = 0;

// What came of something, with where to go on; what leads nowhere goes by itself.
function warn(sentence, url = "") {
  at("warning").firstElementChild.textContent = sentence;
  at("warning").querySelector("a").hidden = !url;
  at("warning").querySelector("a").href = url || "#";
  at("warning").hidden = !sentence;
  clearTimeout(fading);
  if (!url) fading = setTimeout(() => (at("warning").hidden = true), 8_000);
  if (!current) banner(sentence);
}

function banner(sentence) {
  at("banner").textContent = sentence;
  at("banner").hidden = !sentence;
}

// --- what is clicked and typed ---------------------------------------------------------
const actions = {
  wake: () => act("snooze", { minutes: null }),
  resolve: () => act("resolve"),
};

const dialogs = {
  async snooze() {
    const minutes = Number(await ask(at("snooze")));
    if (minutes) act("snooze", { minutes });
  },
  transfer: () => choose("transfer"),
  assign: () => choose("assign"),
};

async function choose(action) {
  const to = await ask(at("transfer"), { team, me, action });
  if (to) act(action, to);
}

at("marks").addEventListener("change", ({ target }) => {
  const { name, value } = target;
  if (name === "priority") act("priority", { priority: Number(value) });
  else act("tags", { tags: value.split(/[,，、]/) });
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action], [data-open]");
  if (button?.dataset.action) {
    held.flush();
    (actions[button.dataset.action] ?? act)(button.dataset.action);
  }
  if (button?.dataset.open) dialogs[button.dataset.open]();
  const cited = event.target.closest(".cite, .source");
  if (cited) {
    const { citations } = cited.closest(".message").message;
    const citation = citations.find(({ n }) => n === Number(cited.dataset.n));
    if (citation) drawer.open(citation);
  }
  const picture = event.target.closest(":is(.figures, .uploads) .picture");
  if (picture) zoom.open(picture.querySelector("img"));
  const code = event.target.closest(".copy-code");
  if (code) navigator.clipboard.writeText(code.previousElementSibling.textContent);
});
at("as-reply").addEventListener("click", () => mode(false));
at("as-note").addEventListener("click", () => mode(true));
at("back").addEventListener("click", leave);
at("dismiss").addEventListener("click", () => warn(""));
at("before").addEventListener("click", () =>
  socket.send({ type: "earlier", conversation: current.conversation, before: current.first }));
at("duty").addEventListener("click", () => socket.send({ type: "duty", on: !me.on_duty }));
at("team").addEventListener("click", () => {
  socket.send({ type: "people" });
  at("colleagues").showModal();
});
at("keys").addEventListener("click", () => at("help").showModal());
for (const button of [at("beside"), at("aside")]) button.addEventListener("click", beside);
at("text").addEventListener("input", () => {
  if (!current || Date.now() - typed < TYPING_EVERY) return;
  typed = Date.now();
  socket.send({ type: "typing", conversation: current.conversation, note: noting() });
});
at("search").addEventListener("keydown", ({ key, isComposing, target }) => {
  if (key === "Enter" && !isComposing) socket.send({ type: "search", query: target.value });
});
at("unfind").addEventListener("click", () => queues.found(null));
document.addEventListener("visibilitychange", read);
shortcuts({
  next: () => queues.step(1), previous: () => queues.step(-1), queue: (n) => queues.nth(n),
  take: () => document.querySelector(".actions .primary:not([hidden])")?.click(),
  reply: () => { mode(false); at("text").focus(); },
  note: () => { mode(true); at("text").focus(); },
  press: (name) => document.querySelector(`.actions [data-open=${name}]:not([hidden]), .actions [data-action=${name}]:not([hidden])`)?.click(),
  draft: () => current && at("draft").click(),
  search: () => at("search").focus(),
  help: () => at("help").showModal(),
});
addEventListener("hashchange", () => {
  const wanted = location.hash.slice(1);
  if (wanted === (current?.conversation ?? "")) return;
  if (wanted) show(wanted);
  else leave();
});
setInterval(() => {
  queues.tick();
  if (current?.standing?.state === "offered") drawHead(current.standing, me, team);
  else if (current?.standing) drawTimers(current.standing);
}, 1000);

socket.addEventListener("open", hello);
socket.addEventListener("close", () => {
  joined = false;
  banner(say("reconnecting"));
});
socket.addEventListener("refused", ({ detail }) => banner(say(`refused.${detail}`)));
socket.addEventListener("message", ({ detail }) => receive[detail.type]?.(detail));
socket.open();
