// What is known about a customer, in the third pane.
import { clone, say, time } from "../chat/strings.js";

export function showBackground(place, background, open, run) {
  if (!background) return;
  const { facts, contacts, rating, collected, earlier, changes, actions } = background;
  const pane = clone("t-context");
  const trust = say(facts.verified ? "verified" : "unverified");
  define(pane.querySelector(".facts dl"), [
    [say("fact.who"), `${facts.who || say("visitor")} (${trust})`],
    [say("fact.contact"), contacts.join(" · ")],
    [say("fact.channel"), [facts.channel, facts.site].filter(Boolean).join(" · ")],
    [say("fact.base"), facts.base],
    [say("fact.language"), facts.language],
    [say("fact.since"), time(facts.since)],
    [say("fact.rating"), rating && `${stars(rating.score)} ${rating.comment}`],
  ]);
  define(pane.querySelector(".collected dl"), collected);
  pane.querySelector(".collected").hidden = !collected.length;
  pane.querySelector(".past ul").append(...earlier.map((one) => row(one, open)));
  if (!earlier.length) pane.querySelector(".past ul").replaceWith(say("earlier.none"));
  pane.querySelector(".changes ul").append(...changes.map(change));
  pane.querySelector(".changes").hidden = !changes.length;
  pane.querySelector(".doings").append(...actions.map((action) => doing(action, run)));
  place.replaceChildren(pane);
}

// Priority and tags; left alone while somebody writes in them.
export function showMarks(place, { priority, tags }) {
  place.hidden = priority === undefined;
  if (place.hidden || place.contains(document.activeElement)) return;
  place.querySelector("[name=priority]").value = priority;
  place.querySelector("[name=tags]").value = tags.join(", ");
}

function stars(score) {
  return "★".repeat(score) + "☆".repeat(5 - score);
}

function define(list, pairs) {
  for (const [label, value] of pairs) {
    if (!value) continue;
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, text.textContent] = [label, value];
    list.append(term, text);
  }
}

function doing({ name, title, refused }, run) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "button", textContent: title });
  if (refused) return not(button, name, refused);
  button.addEventListener("click", () => {
    button.disabled = true; // until what is known comes anew
    run(name);
  });
  return button;
}

// What one may not do, with the reason for all to read: what is disabled shows no hint.
function not(button, name, refused) {
  const [part, why] = [document.createElement("span"), document.createElement("small")];
  part.className = "refused";
  Object.assign(why, { id: `why-not-${name}`, textContent: refused });
  button.disabled = true;
  button.setAttribute("aria-describedby", why.id);
  part.append(button, why);
  return part;
}

function row({ conversation, title, state, channel, by, updated_at: at }, open) {
  const item = clone("t-earlier");
  const button = item.querySelector("button");
  button.textContent = title || say("visitor");
  button.addEventListener("click", () => open(conversation));
  item.querySelector("time").textContent = time(at);
  item.querySelector(".known-by").textContent = [channel, state, say(`by.${by}`)].join(" · ");
  return item;
}

function change({ text, actor, at }) {
  const item = document.createElement("li");
  item.textContent = [time(at), actor, text].filter(Boolean).join(" · ");
  return item;
}
