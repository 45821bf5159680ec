// What is called up while writing: replies and macros by "/", colleagues by "@" in a note.
const SLASH = /^\/(\S*)$/;
const AT = /@([^\s@]{0,20})$/; // before the cursor

const NOTHING = { replies: [], macros: [], colleagues: [] }; // it is not known yet

export class Menu {
  #text;
  #chosen = 0;
  #items = []; // [{label, hint, take()}]
  #hand = NOTHING;
  #held = false; // Enter came before it was known what "/…" calls up
  #asked = false; // by the button: everything, whatever is written

  constructor(composer, list, { noting, onReply, onMacro }) {
    Object.assign(this, { composer, list, noting, onReply, onMacro });
    this.#text = composer.querySelector("textarea");
    composer.addEventListener("keydown", (event) => this.#key(event), true);
    this.#text.addEventListener("input", () => {
      this.#held = false;
      this.#match();
    });
    this.#text.addEventListener("blur", () => {
      this.#held = false;
      this.#close();
    });
    const slash = composer.querySelector("#slash");
    slash.addEventListener("mousedown", (event) => event.preventDefault()); // keeps the field
    slash.addEventListener("click", () => this.#toggle());
  }

  // What may be called up in this conversation; null while it is not known.
  put(hand) {
    const held = this.#held && hand;
    this.#hand = hand ?? NOTHING;
    this.#held = false;
    this.#match();
    if (!held) return;
    if (this.#items.length) this.#take(0);
    else this.composer.requestSubmit();
  }

  #toggle() {
    this.#text.focus();
    this.#asked = this.list.hidden;
    this.#match(this.#asked);
  }

  #match(asked = false) {
    this.#asked = asked;
    this.#items = asked ? this.#called("") : this.#matching();
    this.#chosen = 0;
    this.list.replaceChildren(...this.#items.map((item, i) => this.#option(item, i)));
    this.list.hidden = !this.#items.length;
    this.#mark();
  }

  #matching() {
    const { value, selectionStart } = this.#text;
    const slash = SLASH.exec(value);
    if (slash) return this.#called(slash[1]);
    const named = this.noting() && AT.exec(value.slice(0, selectionStart));
    if (!named) return [];
    const found = this.#hand.colleagues.filter(({ name }) => name.includes(named[1]));
    return found.map(({ name }) => ({ label: `@${name}`, hint: "", take: () => this.#name(name, named[1]) }));
  }

  #called(typed) {
    const wanted = ({ name }) => name.includes(typed);
    const replies = this.#hand.replies.filter(wanted).map(({ name, text }) => ({
      label: `/${name}`, hint: text, take: () => this.#reply(text),
    }));
    const macros = this.#hand.macros.filter(wanted).map((macro) => ({
      label: `⚡ ${macro.name}`, hint: macro.steps.join(" → "), take: () => this.#macro(macro),
    }));
    return [...replies, ...macros];
  }

  #option({ label, hint }, i) {
    const option = document.createElement("li");
    Object.assign(option, { role: "option", id: `option-${i}` });
    const [name, about] = [document.createElement("b"), document.createElement("span")];
    [name.textContent, about.textContent] = [label, hint.slice(0, 80)];
    option.append(name, " ", about);
    option.addEventListener("mousedown", (event) => {
      event.preventDefault();
      this.#take(i);
    });
    return option;
  }

  #key(event) {
    if (event.isComposing || event.keyCode === 229) return;
    if (this.list.hidden) return this.#hold(event);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const takes = ["Enter", "Tab"].includes(event.key);
    if (!step && !takes && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    if (step) {
      this.#chosen = (this.#chosen + step + this.#items.length) % this.#items.length;
      this.#mark();
    } else if (takes) this.#take(this.#chosen);
    else this.#close();
  }

  // What "/…" means is on its way: Enter waits for it.
  #hold(event) {
    const calls = this.#hand === NOTHING && SLASH.test(this.#text.value);
    if (event.key !== "Enter" || event.shiftKey || !calls) return;
    event.preventDefault();
    event.stopPropagation();
    this.#held = true;
  }

  #take(i) {
    const { take } = this.#items[i];
    this.#close();
    take();
  }

  #reply(text) {
    const rest = SLASH.test(this.#text.value) ? "" : this.#text.value.trim();
    this.onReply(rest ? `${rest}\n\n${text}` : text);
  }

  #macro(macro) {
    if (SLASH.test(this.#text.value)) this.onReply("");
    this.onMacro(macro);
  }

  #name(name, typed) {
    const { value, selectionStart: end } = this.#text;
    const before = value.slice(0, end - typed.length);
    this.onReply(`${before}${name} ${value.slice(end)}`);
    const at = before.length + name.length + 1;
    this.#text.setSelectionRange(at, at);
  }

  #close() {
    this.list.hidden = true;
    this.#text.removeAttribute("aria-activedescendant");
  }

  #mark() {
    [...this.list.children].forEach((option, i) => (option.ariaSelected = String(i === this.#chosen)));
    const chosen = this.list.children[this.#chosen];
    if (!chosen) return this.#close();
    this.#text.setAttribute("aria-activedescendant", chosen.id);
    chosen.scrollIntoView({ block: "nearest" });
  }
}
