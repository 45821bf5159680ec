// In the frame of a site: speaks with the script in the page around, which has one origin.
import { config } from "./strings.js";

const PATIENCE = 10_000; // ms for the site to say who its visitor is

export class Bridge extends EventTarget {
  #waiting = null;

  constructor({ site, origin }) {
    super();
    this.site = site;
    this.origin = origin;
    addEventListener("message", (event) => {
      if (event.source === parent && event.origin === origin) this.#heard(event.data ?? {});
    });
  }

  tell(kind, more = {}) {
    parent.postMessage({ opsdesk: kind, ...more }, this.origin);
  }

  // Asks the site who its visitor is, and keeps it with the server. Whether it is known now.
  async identify() {
    const token = await new Promise((resolve) => {
      this.#waiting = resolve;
      setTimeout(resolve, PATIENCE, "");
      this.tell("identity");
    });
    return this.#keep(typeof token === "string" ? token : "");
  }

  async #keep(token) {
    const { embedded } = config;
    if (!token && !embedded.cookie) return false; // there is nothing to forget
    const answer = await fetch(`/embed/${this.site}/identity/`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    });
    embedded.cookie = Boolean(token) && answer.ok;
    if (!answer.ok) console.warn("OpsDesk:", (await answer.json()).detail); // for its developers
    return embedded.cookie;
  }

  #heard({ opsdesk: kind, token }) {
    if (kind === "identity") this.#waiting?.(token);
    else if (kind) this.dispatchEvent(new CustomEvent(kind));
  }
}
