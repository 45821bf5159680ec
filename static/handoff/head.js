// Above the conversation: what it is about, whose it is, what is promised, what can be done.
import { say } from "../chat/strings.js";
import { tell } from "./timers.js";

const at = (id) => document.getElementById(id);

export function drawHead(standing, me, team) {
  const { title, state, owner, offered_to: offeredTo, snoozed_until: asleep } = standing;
  const mine = owner?.id === me.id;
  const offered = state === "offered" && offeredTo?.id === me.id;
  at("title").textContent = title || say("visitor");
  at("owner").textContent = whose(standing, mine, offered);
  const may = {
    claim: state === "queued" || (state === "offered" && !offered),
    accept: offered, decline: offered, take_over: state === "bot", reopen: state === "resolved",
    resolve: mine, transfer: mine, snooze: mine && !asleep, wake: mine && asleep,
    return_to_bot: mine || state === "queued", assign: team.supervisor && !mine,
  };
  for (const button of document.querySelectorAll(".actions [data-action], .actions [data-open]")) {
    button.hidden = !may[button.dataset.action ?? button.dataset.open];
  }
  at("as-reply").disabled = !mine;
  at("locked").textContent = mine ? "" : say("take.first");
  drawTimers(standing);
}

// Also once a second.
export function drawTimers({ timers = [], told }) {
  const chips = timers.map((timer) => {
    const { text, level } = tell(timer, told);
    const chip = document.createElement("span");
    Object.assign(chip, { className: `timer ${level}`, textContent: text });
    return chip;
  });
  at("timers").replaceChildren(...chips);
}

function whose({ state, owner, offered_to: offeredTo, offered_until: until }, mine, offered) {
  if (mine) return say("owner.you");
  if (state === "human") return say("owner.other", { agent: owner.name });
  const seconds = Math.max(0, Math.round((new Date(until) - Date.now()) / 1000));
  if (offered) return say("owner.offered.you", { seconds });
  if (state === "offered") return say("owner.offered", { agent: offeredTo?.name });
  return say({ queued: "owner.none", bot: "owner.bot", resolved: "owner.resolved" }[state]);
}
