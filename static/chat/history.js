// Earlier conversations of who is known: searched, opened again.
import { clone, time } from "./strings.js";

const TYPING = 250; // ms after the last key

export class History {
  #timer = 0;
  #query = "";
  #shown = 0;

  constructor(dialog, button, { onAsk, onOpen }) {
    this.dialog = dialog;
    this.button = button;
    this.onAsk = onAsk;
    this.onOpen = onOpen;
    this.part = (name) => dialog.querySelector(name);
    button.addEventListener("click", () => this.open());
    this.part(".close").addEventListener("click", () => dialog.close());
    this.part(".further button").addEventListener("click", () => this.#ask(this.#shown));
    this.part("input").addEventListener("input", ({ target }) => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#search(target.value.trim()), TYPING);
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  open() {
    this.part("input").value = "";
    this.#search("");
    this.dialog.showModal();
  }

  #search(query) {
    this.#query = query;
    this.#ask(0);
  }

  #ask(offset) {
    this.onAsk({ query: this.#query, offset });
  }

  // What the server found; of an older question nothing is shown.
  show({ query, offset, items, more }) {
    if (query !== this.#query) return;
    const list = this.part("ol");
    if (!offset) list.replaceChildren();
    list.append(...items.map((item) => this.#row(item)));
    this.#shown = offset + items.length;
    this.part(".nothing").hidden = this.#shown > 0;
    this.part(".further").hidden = !more;
  }

  #row({ conversation, title, updated_at: at }) {
    const row = clone("t-past");
    row.querySelector(".title").textContent = title;
    row.querySelector(".when").textContent = time(at);
    row.querySelector("button").addEventListener("click", () => {
      this.dialog.close();
      this.onOpen(conversation);
    });
    return row;
  }
}
