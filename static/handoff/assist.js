// What helps to write: passages beside the conversation, a draft by OpsDesk.
import { place } from "../chat/log.js";
import { clone, say } from "../chat/strings.js";

const EXCERPT = 300; // characters of a passage that is quoted
const HEADING = /^#{1,6} /;
const FRAME = /^(\||!\[)/; // tables, pictures

export class Assist {
  #box;
  #text;

  constructor(box, { onAsk, onSend, current, text }) {
    this.#box = box;
    Object.assign(this, { ask: onAsk, send: onSend, current });
    this.#text = text;
    const input = box.querySelector("input");
    input.addEventListener("keydown", ({ key, isComposing }) => {
      if (key === "Enter" && !isComposing) this.#search(input.value);
    });
    box.querySelector("#draft").addEventListener("click", () => this.#draft());
  }

  // Another conversation: what was found for the last one goes.
  clear() {
    this.#list([]);
    this.#say("");
  }

  // What was asked for did not come.
  failed(sentence) {
    this.#say(sentence);
  }

  found({ passages }) {
    this.#list(passages.map((passage) => this.#passage(passage)));
    this.#say(passages.length ? "" : say("assist.none"));
  }

  // `cites`: the passages that its marks mean, of which some may be gone.
  drafted({ draft, text, cites, citations, confidence, guessed, html }) {
    if (!draft) return this.#say(say("assist.no.draft"));
    const item = clone("t-draft");
    item.querySelector(".prose").innerHTML = html; // cleaned by the server's allow-list
    const sure = confidence === null ? "" : `${Math.round(confidence * 100)}%`;
    item.querySelector(".sure").textContent = say(guessed ? "assist.draft.guessed" : "assist.draft", { sure });
    item.querySelector("ol").append(...citations.map(source));
    item.querySelector(".send").addEventListener("click", () => {
      this.send({ text, cites, draft });
      item.remove();
    });
    item.querySelector(".insert").addEventListener("click", () => {
      this.#insert(text, cites, draft);
      this.ask({ type: "inserted", draft });
      item.remove();
    });
    item.querySelector(".dismiss").addEventListener("click", () => {
      this.ask({ type: "dismiss", draft });
      item.remove();
    });
    this.#list([item]);
    this.#say("");
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
    item.querySelector(".quote").innerHTML = passage.html; // cleaned by the server's allow-list
    const insert = item.querySelector(".insert");
    insert.addEventListener("mousedown", (event) => event.preventDefault()); // keeps what is chosen
    insert.addEventListener("click", () =>
      this.#insert(marked(selected(item) || excerpt(passage.quote), 1), [passage.chunk], null));
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
    this.write(written ? `${written}\n\n${shifted}` : shifted);
  }

  write(text) {
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
}

// What is chosen of it with the mouse.
function selected(item) {
  const chosen = getSelection();
  return item.contains(chosen.anchorNode) && item.contains(chosen.focusNode) ? String(chosen).trim() : "";
}

// The first paragraphs of its first section, whole ones as far as they go.
function excerpt(quote) {
  const paragraphs = quote.split(/\n\s*\n/).map((paragraph) => paragraph.trim()).filter(Boolean);
  let text = "";
  for (const paragraph of paragraphs) {
    if (HEADING.test(paragraph) && text) break;
    if (HEADING.test(paragraph) || FRAME.test(paragraph)) continue;
    if (text && text.length + paragraph.length > EXCERPT) break;
    text += text ? `\n\n${paragraph}` : paragraph;
  }
  return text || paragraphs[0];
}

// Behind it, or beneath what ends in code, of which it would become a part.
function marked(text, n) {
  return `${text}${text.endsWith("```") ? "\n\n" : " "}[${n}]`;
}

function source(citation) {
  const item = document.createElement("li");
  item.textContent = [citation.title, place(citation)].filter(Boolean).join(" · ");
  item.title = citation.quote;
  return item;
}
