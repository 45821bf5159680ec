// What helps to write: passages beside the conversation, a draft by OpsDesk, replies by "/".
import { place } from "../chat/log.js";
import { clone, say } from "../chat/strings.js";

const EXCERPT = 300; // characters of a passage that is quoted

export class Assist {
  #box;
  #text;
  #canned = [];
  #chosen = 0;

  constructor(box, { onSend, current, composer }) {
    this.#box = box;
    this.ask = onSend;
    this.current = current;
    this.#text = composer.querySelector("textarea");
    this.menu = composer.querySelector("#canned");
    const input = box.querySelector("input");
    input.addEventListener("keydown", ({ key, isComposing }) => {
      if (key === "Enter" && !isComposing) this.#search(input.value);
    });
    box.querySelector("#draft").addEventListener("click", () => this.#draft());
    composer.addEventListener("keydown", (event) => this.#key(event), true);
    this.#text.addEventListener("input", () => this.#match());
  }

  // Another conversation: what was found for the last one goes.
  clear() {
    this.#list([]);
    this.#say("");
    this.#canned = [];
    this.menu.hidden = true;
    this.ask({ type: "canned" });
  }

  found({ passages }) {
    this.#list(passages.map((passage) => this.#passage(passage)));
    this.#say(passages.length ? "" : say("assist.none"));
  }

  drafted({ draft, text, citations, confidence, html }) {
    if (!draft) return this.#say(say("assist.no.draft"));
    const item = clone("t-draft");
    item.querySelector(".prose").innerHTML = html; // cleaned by the server's allow-list
    const sure = confidence === null ? "" : `${Math.round(confidence * 100)}%`;
    item.querySelector(".sure").textContent = say("assist.draft", { sure });
    item.querySelector("ol").append(...citations.map(source));
    item.querySelector(".insert").addEventListener("click", () => {
      this.#insert(text, citations.map(({ chunk }) => chunk), draft);
      item.remove();
    });
    item.querySelector(".dismiss").addEventListener("click", () => {
      this.ask({ type: "dismiss", draft });
      item.remove();
    });
    this.#list([item]);
    this.#say("");
  }

  canned({ replies }) {
    this.#canned = replies;
  }

  #search(query) {
    if (!query.trim()) return;
    this.#say(say("step.recall"));
    this.ask({ type: "knowledge", query });
  }

  #draft() {
    this.#say(say("assist.drafting"));
    this.ask({ type: "draft" });
  }

  #passage(passage) {
    const item = clone("t-passage");
    item.querySelector(".title").textContent = [passage.title, place(passage)].filter(Boolean).join(" · ");
    item.querySelector(".quote").textContent = passage.quote;
    item.querySelector(".insert").addEventListener("click", () =>
      this.#insert(`${passage.quote.slice(0, EXCERPT).trim()} [1]`, [passage.chunk], null));
    return item;
  }

  // Into what is being written; its marks go on from those that are there.
  #insert(text, chunks, draft) {
    const one = this.current();
    const before = one.cites.length;
    one.cites.push(...chunks);
    one.draft = draft ?? one.draft;
    const shifted = text.replace(/\[(\d{1,2})\]/g, (_, n) => `[${Number(n) + before}]`);
    const written = this.#text.value.trim();
    this.#write(written ? `${written}\n\n${shifted}` : shifted);
  }

  #write(text) {
    this.#text.value = text;
    this.#text.dispatchEvent(new Event("input", { bubbles: true }));
    this.#text.focus();
  }

  #list(items) {
    this.#box.querySelector(".results").replaceChildren(...items);
  }

  #say(sentence) {
    this.#box.querySelector(".status").textContent = sentence;
  }

  // --- replies by "/" ------------------------------------------------------------------
  get #matching() {
    const typed = /^\/(\S*)$/.exec(this.#text.value);
    return typed ? this.#canned.filter(({ name }) => name.includes(typed[1])) : [];
  }

  #match() {
    const matching = this.#matching;
    this.#chosen = 0;
    this.menu.hidden = !matching.length;
    this.menu.replaceChildren(...matching.map(({ name, text }, i) => {
      const option = document.createElement("li");
      option.role = "option";
      option.textContent = `/${name}  ${text.slice(0, 60)}`;
      option.addEventListener("mousedown", (event) => {
        event.preventDefault();
        this.#take(i);
      });
      return option;
    }));
    this.#mark();
  }

  #key(event) {
    if (this.menu.hidden || event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const takes = ["Enter", "Tab"].includes(event.key);
    if (!step && !takes && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    if (step) {
      this.#chosen = (this.#chosen + step + this.menu.children.length) % this.menu.children.length;
      this.#mark();
    } else if (takes) this.#take(this.#chosen);
    else this.menu.hidden = true;
  }

  #take(i) {
    this.#write(this.#matching[i].text);
    this.menu.hidden = true;
  }

  #mark() {
    [...this.menu.children].forEach((option, i) => (option.ariaSelected = String(i === this.#chosen)));
  }
}

function source(citation) {
  const item = document.createElement("li");
  item.textContent = [citation.title, place(citation)].filter(Boolean).join(" · ");
  item.title = citation.quote;
  return item;
}
