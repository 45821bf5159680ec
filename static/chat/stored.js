// What the browser keeps for this page; in a frame that may keep nothing, until it is left.
import { config } from "./strings.js";

const prefix = config.embedded ? `opsdesk.${config.embedded.site}.` : "opsdesk.";

class Kept {
  #fallback = new Map();
  #storage = null;

  constructor(name) {
    try {
      this.#storage = window[name];
    } catch (error) {
      if (error.name !== "SecurityError") throw error;
    }
  }

  get(key) {
    return this.#storage ? this.#storage.getItem(prefix + key) : (this.#fallback.get(key) ?? null);
  }

  set(key, value) {
    if (this.#storage) this.#storage.setItem(prefix + key, value);
    else this.#fallback.set(key, value);
  }

  // As text, so that JSON goes through these two.
  read(key) {
    return JSON.parse(this.get(key) ?? "null");
  }

  write(key, value) {
    this.set(key, JSON.stringify(value));
  }
}

export const lasting = new Kept("localStorage");
export const ofTab = new Kept("sessionStorage");
