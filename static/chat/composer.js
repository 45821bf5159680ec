// Where the visitor writes. What is not sent yet is kept, each conversation's for itself.
import { Attachments } from "./attachments.js";
import { draft, keepDraft } from "./drafts.js";
import { config, say } from "./strings.js";

const SHOW_LEFT = 200; // characters before the limit
const NEW = ""; // the conversation is not known yet

export class Composer {
  #conversation = NEW;
  #waiting = false; // to be sent when the last file has arrived

  constructor(form, { onSend }) {
    this.form = form;
    this.onSend = onSend;
    this.text = form.querySelector("textarea");
    this.left = form.querySelector("#left");
    this.attachments = new Attachments(form.querySelector("#attached"), {
      onChange: () => this.#changed(),
    });
    this.text.addEventListener("input", () => {
      this.#waiting = false; // there is more to say
      this.#changed();
    });
    this.text.addEventListener("keydown", (event) => this.#key(event));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#takeFiles();
    this.#restore();
  }

  // From now on what is written belongs to this conversation. To one just begun goes along
  // what is there; another has its own.
  of(conversation, { begun }) {
    if (conversation === this.#conversation) return;
    const carried = begun || this.#conversation === NEW;
    const there = this.text.value || !this.attachments.empty;
    if (carried && there) keepDraft(this.#conversation, "", []);
    this.#conversation = conversation;
    this.#waiting &&= carried;
    if (carried && there) this.#changed();
    else this.#restore();
  }

  #restore() {
    const { text, uploads } = draft(this.#conversation);
    this.text.value = text;
    this.attachments.restore(uploads);
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
    const { uploads, busy } = this.attachments;
    if (text.length > config.length || (!text && !uploads.length && !busy)) return;
    this.#waiting = busy;
    if (busy) return this.#changed();
    this.text.value = "";
    this.attachments.clear();
    this.onSend({ text, uploads });
    this.text.focus();
  }

  #changed() {
    if (!this.attachments) return; // still being made
    const { text } = this;
    const { uploads, busy, whole } = this.attachments;
    keepDraft(this.#conversation, text.value, uploads);
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
    const left = config.length - text.value.trim().length;
    const sentence = left < 0 ? say("over", { over: -left }) : say("left", { left });
    const files = say(this.#waiting ? "file.waiting" : "file.sending");
    this.left.textContent = busy ? files : left < SHOW_LEFT ? sentence : "";
    text.ariaInvalid = left < 0;
    this.form.querySelector("[type=submit]").disabled = left < 0 || busy;
    if (!this.#waiting || busy) return;
    this.#waiting = false;
    if (whole) this.#send();
  }

  // --- files: chosen, pasted, dropped -------------------------------------------------
  #takeFiles() {
    const files = this.form.querySelector("#files");
    this.form.querySelector("#attach").addEventListener("click", () => files.click());
    files.addEventListener("change", () => {
      this.attachments.add(files.files);
      files.value = "";
    });
    this.text.addEventListener("paste", (event) => this.#pasted(event));
    document.addEventListener("dragover", (event) => {
      if (![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) document.body.classList.remove("dropping");
    });
    document.addEventListener("drop", (event) => {
      document.body.classList.remove("dropping");
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      this.attachments.add(event.dataTransfer.files);
    });
  }

  // A screenshot, or a text that is no message any more but a log.
  #pasted(event) {
    const { clipboardData } = event;
    const text = clipboardData.getData("text/plain");
    if (clipboardData.files.length && !text) {
      event.preventDefault();
      this.attachments.add(clipboardData.files);
    } else if (text.length + this.text.value.length > config.length) {
      event.preventDefault();
      const type = { type: "text/plain" };
      this.attachments.add([new File([text], say("file.pasted"), type)]);
    }
  }
}
