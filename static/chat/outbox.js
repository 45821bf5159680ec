// Messages written and not yet stored by the server. They survive a reload and go out again
// after a reconnect; the server knows them by their id, so twice is once.
import { ofTab } from "./stored.js";

export class Outbox {
  #messages; // id → {text, uploads}

  constructor(key = "outbox") {
    this.key = key;
    this.#messages = new Map(ofTab.read(key) ?? []);
  }

  get all() {
    return [...this.#messages];
  }

  add(message) {
    const id = newId();
    this.#messages.set(id, message);
    this.#save();
    return id;
  }

  get(id) {
    return this.#messages.get(id);
  }

  remove(id) {
    this.#messages.delete(id);
    this.#save();
  }

  clear() {
    this.#messages.clear();
    this.#save();
  }

  #save() {
    ofTab.write(this.key, this.all);
  }
}

// crypto.randomUUID is missing on plain http from another machine.
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0")).join("");
}
