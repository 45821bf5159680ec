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
import { showBackground } from "./background.js";
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
const assist = new Assist(at("assist"), {
  onSend: (wanted) => socket.send({ conversation: current?.conversation, ...wanted }),
  current: () => current,
  composer: at("composer"),
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
  const { conversation, epoch } = current.standing;
  const action = noting() ? "note" : "reply";
  const { cites, draft } = current;
  const id = outbox.add({ action, conversation, epoch, text, uploads, cites, draft });
  [current.cites, current.draft] = [[], null];
  current.sending(id, { action, text, uploads, author: me.name });
  scroll.stick();
  transmit(id);
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
    for (const [id] of outbox.all) transmit(id);
  },
  people,
  queues({ rows }) {
    queues.put(rows, me);
    for (const row of rows) opened.get(row.conversation)?.stands(row);
    draw();
    count();
  },
  passages: (told) => told.conversation === current?.conversation && assist.found(told),
  draft: (told) => told.conversation === current?.conversation && assist.drafted(told),
  canned: (told) => told.conversation === current?.conversation && assist.canned(told),
  ran({ text, url }) {
    warn(text);
    if (!url) return;
    const link = document.createElement("a");
    Object.assign(link, { href: url, target: "_blank", textContent: url });
    at("warning").append(" ", link);
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
      if (message.conversation === conversation && !one.log.knows(id)) one.sending(id, { ...message, author: me.name });
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
    if (message.role === "customer") {
      one.customer = "here";
      if (document.hidden && one.standing.owner?.id === me.id) alerts.tell(say("notify.message"), message.text);
    }
    if (one !== current) return;
    read();
    doing();
    scroll.follow();
  },
  standing(told) {
    const one = opened.get(told.conversation);
    one?.stands(told);
    if (one === current) draw();
    refresh(one);
  },
  done({ id, conversation, seq, action }) {
    if (seq) {
      outbox.remove(id);
      opened.get(conversation)?.log.stored(id, seq);
    }
    if (["claim", "accept", "take_over", "reopen"].includes(action)) at("text").focus();
    if (action === "snooze" || action === "resolve") queues.look("mine");
  },
  offer({ conversation }) {
    alerts.tell(say("notify.offer"), "");
    queues.look("mine");
    if (!current) show(conversation);
  },
  customer({ conversation, what }) {
    const one = opened.get(conversation);
    if (!one) return;
    one.customer = what;
    if (what === "typing") later(one, () => one.customer === "typing" && (one.customer = "here"));
    if (one === current) doing();
  },
  here({ conversation, window, name, agent, typing }) {
    const one = opened.get(conversation);
    if (!one) return;
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
    if (id && outbox.get(id)) one?.log.note(id, text, true);
    else warn(text);
    if (code === "forbidden" || code === "not_found") forget(conversation);
    else if (code === "conflict" && one) reopen(one);
  },
};

function people({ me: told, agents, teams, supervisor }) {
  me = told;
  team = { agents, teams, supervisor };
  at("duty").ariaChecked = String(me.on_duty);
  at("duty").textContent = say(me.on_duty ? "duty.on" : "duty.off");
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
  if (one !== current) return;
  current = null;
  location.hash = "";
  draw();
}

// --- what is shown ----------------------------------------------------------------
function draw() {
  at("conversation").hidden = !current;
  at("choose").hidden = Boolean(current);
  at("context").hidden = !current;
  at("facts").replaceChildren();
  queues.mark(current?.conversation);
  if (!current?.standing) return;
  const { title, state, owner, offered_to, offered_until, snoozed_until } = current.standing;
  const mine = owner?.id === me.id;
  const offered = state === "offered" && offered_to?.id === me.id;
  at("title").textContent = title || say("visitor");
  at("owner").textContent = whose(current.standing, mine, offered);
  const may = {
    claim: state === "queued" || (state === "offered" && !offered),
    accept: offered, decline: offered, take_over: state === "bot", reopen: state === "resolved",
    resolve: mine, transfer: mine, snooze: mine && !snoozed_until, wake: mine && snoozed_until,
    return_to_bot: mine || state === "queued", assign: team.supervisor && !mine,
  };
  for (const button of document.querySelectorAll(".actions [data-action], .actions [data-open]")) {
    button.hidden = !may[button.dataset.action ?? button.dataset.open];
  }
  at("as-reply").disabled = !mine;
  at("locked").textContent = mine ? "" : say("take.first");
  mode(private_);
  pin(current.background);
  showBackground(at("facts"), current.background, show, (name) =>
    socket.send({ type: "run", conversation: current.conversation, name }));
  at("before").hidden = current.first <= 1;
  doing();
}

function whose({ state, owner, offered_to, offered_until }, mine, offered) {
  if (mine) return say("owner.you");
  if (state === "human") return say("owner.other", { agent: owner.name });
  const seconds = Math.max(0, Math.round((new Date(offered_until) - Date.now()) / 1000));
  if (offered) return say("owner.offered.you", { seconds });
  if (state === "offered") return say("owner.offered", { agent: offered_to?.name });
  return say({ queued: "owner.none", bot: "owner.bot", resolved: "owner.resolved" }[state]);
}

function pin(background) {
  const { summary, reason } = background ?? {};
  at("pinned").hidden = !summary && !reason;
  at("pinned").querySelector("summary").textContent = reason ?? "";
  at("pinned").querySelector("p").textContent = summary ?? "";
}

function noting() {
  return private_ || current.standing.owner?.id !== me.id;
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

function read() {
  if (!current || document.hidden) return;
  queues.read(current.conversation, current.log.last);
  count();
}

function count() {
  alerts.count(queues.unread);
}

let fading = 0;

function warn(sentence) {
  at("warning").textContent = sentence;
  at("warning").hidden = !sentence;
  clearTimeout(fading);
  fading = setTimeout(() => (at("warning").hidden = true), 8_000);
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

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action], [data-open]");
  if (button?.dataset.action) (actions[button.dataset.action] ?? act)(button.dataset.action);
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
at("before").addEventListener("click", () =>
  socket.send({ type: "earlier", conversation: current.conversation, before: current.first }));
at("duty").addEventListener("click", () => socket.send({ type: "duty", on: !me.on_duty }));
at("team").addEventListener("click", () => {
  socket.send({ type: "people" });
  at("colleagues").showModal();
});
at("keys").addEventListener("click", () => at("help").showModal());
at("beside").addEventListener("click", ({ currentTarget }) => {
  const open = document.body.classList.toggle("beside");
  currentTarget.ariaExpanded = String(open);
});
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
setInterval(() => {
  queues.tick();
  if (current?.standing?.state === "offered") draw();
}, 1000);

socket.addEventListener("open", hello);
socket.addEventListener("close", () => {
  joined = false;
  banner(say("reconnecting"));
});
socket.addEventListener("refused", ({ detail }) => banner(say(`refused.${detail}`)));
socket.addEventListener("message", ({ detail }) => receive[detail.type]?.(detail));
socket.open();
