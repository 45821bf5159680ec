// What the page was given to say: every sentence comes from the server, in the visitor's language.
export const config = JSON.parse(document.getElementById("config").textContent);

export function say(key, values = {}) {
  return config.strings[key].replace(/%\((\w+)\)s/g, (_, name) => values[name] ?? "");
}

export function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

export function time(iso) {
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  return at.toLocaleString(document.documentElement.lang, {
    ...(today ? {} : { month: "numeric", day: "numeric" }), hour: "2-digit", minute: "2-digit",
  });
}
