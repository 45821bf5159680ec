// The supervisors' page: draws what the server tells, and says what shall be done about it.
import { Socket } from "../chat/socket.js";
import { config, say } from "../chat/strings.js";
import { themeButton } from "../chat/themes.js";
import { tell } from "./timers.js";

const at = (id) => document.getElementById(id);
const socket = new Socket("/ws/overview/");
themeButton(at("theme"));

let told = null;
let since = 0; // ms, when it was told
let fading = 0;

// --- what is drawn -----------------------------------------------------------------
function draw() {
  if (!told) return;
  const focused = document.activeElement?.dataset.key;
  today(told.today);
  fill("teams", told.teams.map(team));
  fill("waiting", told.waiting.map(waiting), say("nobody.waits"));
  fill("agents", told.agents.map(agent), say("no.agents"));
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function fill(id, rows, none) {
  const table = at(id);
  const titles = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  for (const row of rows) [...row.cells].forEach((cell, n) => (cell.dataset.title = titles[n]));
  table.tBodies[0].replaceChildren(...rows);
  if (!none) return;
  table.hidden = !rows.length;
  const line = table.nextElementSibling;
  line.hidden = Boolean(rows.length);
  line.textContent = none;
}

function today({ waited, longest, promised, kept, score, rated, ...counts }) {
  for (const [name, count] of Object.entries(counts)) at(name).textContent = count;
  const minutes = (n) => (n === null ? say("nothing") : say("minutes", { n }));
  at("waited").textContent = minutes(waited);
  at("longest").textContent = minutes(longest);
  at("kept").textContent = promised ? say("of", { part: kept, whole: promised }) : say("nothing");
  at("score").textContent = rated ? `${score} (${rated})` : say("nothing");
}

function team({ name, waiting, longest, taken, snoozed, broken, at_risk: risk, opens, agents }) {
  const row = document.createElement("tr");
  const first = cell(row, name || say("all"), "th");
  first.scope = "row";
  if (opens) first.append(small(say("closed", { time: clock(opens) })));
  number(row, waiting);
  number(row, longest ? span(longest) : "");
  for (const [count, level] of [[taken], [snoozed], [broken, "over"], [risk, "near"]]) number(row, count, level);
  number(row, say("of", { part: agents.there, whole: agents.all }), !agents.there && waiting ? "over" : "");
  return row;
}

function waiting(one) {
  const row = document.createElement("tr");
  cell(row, link(one), "th").scope = "row";
  cell(row, one.team || say("all"));
  cell(row, one.reason);
  const waits = cell(row, span(one.requested_at));
  if (one.offered_to) waits.append(small(say("offered", { agent: one.offered_to.name })));
  timer(cell(row, ""), one);
  cell(row, button("assign", one, () => assign(one, "assign")));
  return row;
}

function agent(one) {
  const row = document.createElement("tr");
  const first = cell(row, one.name, "th");
  first.scope = "row";
  if (one.teams.length) first.append(small(one.teams.join(", ")));
  cell(row, presence(one)).className = one.there ? "there" : one.on_duty ? "away" : "off";
  const load = document.createElement("meter");
  Object.assign(load, { max: Math.max(1, one.capacity), value: one.load });
  load.ariaLabel = say("load", one);
  const full = document.createElement("span");
  full.append(load, " ", say("load", one));
  cell(row, full);
  const list = document.createElement("ul");
  list.append(...one.holds.map(held));
  cell(row, one.holds.length ? list : "");
  const duty = button(one.on_duty ? "duty.release" : "duty.call", { conversation: `agent ${one.id}` }, () =>
    socket.send({ type: "duty", agent: one.id, on: !one.on_duty }));
  cell(row, duty);
  return row;
}

function held(one) {
  const item = document.createElement("li");
  const line = document.createElement("span");
  timer(line, one);
  item.append(link(one), " ", line, " ", button("reassign", one, () => assign(one, "reassign")));
  if (one.state === "human") item.append(button("requeue", one, () => act("transfer", one)));
  return item;
}

function presence({ there, on_duty: duty, seen_at: seen }) {
  if (there) return say("there");
  if (!duty) return say("off");
  return seen ? say("away", { time: clock(seen) }) : say("never");
}

function timer(place, { timers }) {
  if (!timers?.length) return;
  const { text, level } = tell(timers[0], since);
  place.textContent = text;
  place.className = level;
}

// --- pieces --------------------------------------------------------------------------
function cell(row, content, kind = "td") {
  const made = document.createElement(kind);
  made.append(content);
  row.append(made);
  return made;
}

function number(row, content, level = "") {
  cell(row, content === 0 ? "0" : String(content)).className = `n ${content ? level : ""}`;
}

function small(text) {
  const made = document.createElement("small");
  made.textContent = text;
  return made;
}

function link({ conversation, title }) {
  const made = document.createElement("a");
  made.href = `${config.console}#${conversation}`;
  made.textContent = title || say("visitor");
  return made;
}

function button(what, { conversation, title = "" }, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "button";
  made.textContent = say(what);
  if (title) made.ariaLabel = `${say(what)}: ${title}`;
  made.dataset.key = `${what} ${conversation}`;
  made.addEventListener("click", onClick);
  return made;
}

function clock(iso) {
  const [then, lang] = [new Date(iso), document.documentElement.lang];
  const day = then.toDateString() === new Date().toDateString() ? {} : { month: "numeric", day: "numeric" };
  return then.toLocaleString(lang, { ...day, hour: "2-digit", minute: "2-digit" });
}

function span(iso) {
  const minutes = Math.max(0, Math.floor((Date.now() - new Date(iso)) / 60_000));
  if (minutes < 60) return say("minutes", { n: minutes });
  return say("timer.hours", { hours: Math.floor(minutes / 60), minutes: String(minutes % 60).padStart(2, "0") });
}

// --- what is done ----------------------------------------------------------------------
function act(action, { conversation, epoch }, more = {}) {
  socket.send({ type: "act", action, conversation, epoch, ...more });
}

function assign(one, action) {
  const dialog = at("assign");
  for (const name of dialog.querySelectorAll("h2, .primary")) name.textContent = say(action);
  const select = dialog.querySelector("select");
  const options = told.agents
    .filter(({ id }) => id !== one.owner?.id)
    .map(({ id, name, there, load, capacity }) => {
      const busy = say("load", { load, capacity });
      return new Option(`${name} · ${there ? busy : `${say("absent")}, ${busy}`}`, id);
    });
  select.replaceChildren(...options);
  at("assigned").textContent = one.title || say("visitor");
  dialog.returnValue = "";
  dialog.addEventListener("close", () => {
    if (dialog.returnValue && select.value) act("assign", one, { agent: Number(select.value) });
  }, { once: true });
  dialog.showModal();
}

function warn(sentence) {
  at("warning").textContent = sentence;
  at("warning").hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => (at("warning").hidden = true), 8_000);
}

function banner(sentence) {
  at("banner").textContent = sentence;
  at("banner").hidden = !sentence;
}

const receive = {
  overview(picture) {
    [told, since] = [picture, Date.now()];
    banner("");
    draw();
  },
  error({ code, text }) {
    warn(text);
    if (code === "conflict") socket.send({ type: "hello" });
  },
};

setInterval(() => !at("assign").open && draw(), 10_000); // times go on
socket.addEventListener("open", () => socket.send({ type: "hello" }));
socket.addEventListener("close", () => banner(say("reconnecting")));
socket.addEventListener("refused", ({ detail }) => banner(say(`refused.${detail}`)));
socket.addEventListener("message", ({ detail }) => receive[detail.type]?.(detail));
socket.open();
