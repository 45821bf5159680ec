// Where the visitor writes. The draft survives a reload.
import { config, say } from "./strings.js";

const DRAFT = "opsdesk.draft";
const SHOW_LEFT = 200; // characters before the limit

export class Composer {
  constructor(form, { onSend }) {
    this.form = form;
    this.onSend = onSend;
    this.text = form.querySelector("textarea");
    this.left = form.querySelector("#left");
    this.text.value = localStorage.getItem(DRAFT) ?? "";
    this.text.addEventListener("input", () => this.#changed());
    this.text.addEventListener("keydown", (event) => this.#key(event));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#changed();
  }

  #key(event) {
    // Enter that chooses a word of an input method is not a wish to send.
    const composing = event.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = this.text.value.trim();
    if (!text || text.length > config.length) return;
    this.text.value = "";
    this.#changed();
    this.onSend(text);
    this.text.focus();
  }

  #changed() {
    const { text } = this;
    localStorage.setItem(DRAFT, text.value);
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
    const left = config.length - text.value.trim().length;
    const sentence = left < 0 ? say("over", { over: -left }) : say("left", { left });
    this.left.textContent = left < SHOW_LEFT ? sentence : "";
    text.ariaInvalid = left < 0;
    this.form.querySelector("[type=submit]").disabled = left < 0;
  }
}
