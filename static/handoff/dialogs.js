// Questions back to the agent: to whom, until when; and the list of colleagues.
import { say } from "../chat/strings.js";

// What was chosen: the value of the button, or to whom and with which note.
export function ask(dialog, to = null) {
  const form = dialog.querySelector("form");
  if (to) fill(form, to);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(to && dialog.returnValue ? chosen(form) : dialog.returnValue), { once: true });
  });
}

function fill(form, { team, me, action }) {
  const select = form.elements.to;
  const agents = team.agents.filter(({ id }) => id !== me.id || action === "assign");
  const options = agents.map((agent) => new Option(`${agent.name} · ${about(agent)}`, `agent:${agent.id}`));
  if (action === "transfer") {
    options.push(...team.teams.map(({ id, name }) => new Option(name, `team:${id}`)));
    options.push(new Option(say("queue.waiting"), "queue:0"));
  }
  select.replaceChildren(...options);
  form.querySelector(".with-note").hidden = action !== "transfer";
  form.elements.text.value = "";
}

function chosen(form) {
  const [kind, id] = form.elements.to.value.split(":");
  const text = form.elements.text.value;
  return { text, ...(kind === "queue" ? {} : { [kind]: Number(id) }) };
}

function about({ there, load, capacity }) {
  const busy = say("load", { load, capacity });
  return there ? busy : `${say("absent")}, ${busy}`;
}

export function fillColleagues(dialog, { agents }, rows) {
  const lines = agents.map(({ name, there, load, capacity }) => {
    const line = document.createElement("tr");
    for (const text of [name, say(there ? "duty.on" : "absent"), `${load} / ${capacity}`]) {
      line.insertCell().textContent = text;
    }
    return line;
  });
  dialog.querySelector("tbody").replaceChildren(...lines);
  const waiting = rows.filter(({ state }) => ["queued", "offered"].includes(state)).length;
  dialog.querySelector(".figures").textContent = say("team.figures", { waiting, all: rows.length });
}
