// The original behind a citation, with the cited place marked.
import { drawFormulas } from "./formulas.js";
import { place } from "./log.js";
import { say } from "./strings.js";

export class Drawer {
  #citation = null;
  #original = null; // {title, name, kind, pages, page_names, original}
  #page = 1;

  constructor(dialog) {
    this.dialog = dialog;
    this.part = (name) => dialog.querySelector(name);
    this.sheet = this.part(".sheet");
    this.part(".close").addEventListener("click", () => dialog.close());
    this.part(".previous").addEventListener("click", () => this.#turn(this.#page - 1));
    this.part(".next").addEventListener("click", () => this.#turn(this.#page + 1));
    this.part(".back").addEventListener("click", () => this.#turn(this.#home()));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  async open(citation) {
    this.#citation = citation;
    this.#original = null;
    this.part("h2").textContent = citation.title;
    this.part(".locator").textContent = place(citation);
    this.part(".pager").hidden = true;
    this.part(".original").hidden = true;
    this.part(".address").hidden = true;
    this.sheet.replaceChildren();
    this.sheet.ariaBusy = true;
    if (!this.dialog.open) this.dialog.showModal();
    const answer = citation.url ? await get(citation.url) : null;
    if (citation !== this.#citation) return; // another was opened meanwhile
    if (!answer) return this.#quote();
    this.#original = await answer.json();
    this.part(".original").href = this.#original.original;
    this.part(".original").hidden = false;
    if (this.#original.address) this.part(".address").href = this.#original.address;
    this.part(".address").hidden = !this.#original.address;
    this.part(".pager").hidden = this.#original.pages <= 1;
    await this.#turn(this.#home());
  }

  #home() {
    const region = this.#citation.regions[0];
    const page = region?.page ?? this.#citation.page;
    // Formats without pages are shown so many blocks at a time.
    return page ?? Math.floor((region?.block ?? 0) / this.#original.blocks) + 1;
  }

  async #turn(page) {
    const { pages, kind, page_names: names } = this.#original;
    this.#page = Math.min(Math.max(page, 1), pages);
    this.part(".at").textContent =
      names?.[this.#page - 1] || say("pages", { page: this.#page, pages });
    this.part(".previous").disabled = this.#page === 1;
    this.part(".next").disabled = this.#page === pages;
    this.sheet.ariaBusy = true;
    await (kind === "image" ? this.#picture() : this.#text());
  }

  async #picture() {
    const page = this.#page;
    const frame = document.createElement("div");
    frame.className = "page";
    const image = new Image();
    image.alt = this.part(".at").textContent;
    image.src = `${this.#citation.url}pages/${page}.png`;
    frame.append(image);
    for (const { page: on, box } of this.#citation.regions) {
      if (on === page && box) frame.append(mark(box));
    }
    const loaded = await image.decode().then(() => true, () => false);
    if (page !== this.#page) return;
    if (!loaded) return this.#quote();
    this.#show(frame);
  }

  async #text() {
    const page = this.#page;
    const row = this.#citation.regions.find((region) => region.rows)?.rows[0] ?? "";
    const answer = await get(`${this.#citation.url}pages/${page}.html?row=${row}`);
    const html = await answer?.text();
    if (page !== this.#page) return;
    if (!answer) return this.#quote();
    const frame = document.createElement("div");
    frame.className = "prose";
    frame.innerHTML = html; // cleaned by the server's allow-list
    for (const region of this.#citation.regions) cite(frame, region);
    this.#show(frame);
  }

  async #show(frame) {
    this.sheet.replaceChildren(frame);
    for (const wide of frame.querySelectorAll("pre, .table")) wide.tabIndex = 0; // they scroll
    await drawFormulas(frame); // before the place is looked for: they take room
    this.sheet.ariaBusy = false;
    const cited = frame.querySelector(".cited");
    if (!cited) return void (this.sheet.scrollTop = 0);
    const [at, room] = [cited, this.sheet].map((part) => part.getBoundingClientRect());
    // Only the sheet moves: the page that it stands beside stays where it is read.
    this.sheet.scrollTop += at.top - room.top - Math.max((room.height - at.height) / 2, 0);
  }

  #quote() {
    const words = document.createElement("p");
    words.textContent = say("original.missing");
    const quote = document.createElement("blockquote");
    quote.textContent = this.#citation.quote;
    const frame = document.createElement("div");
    frame.className = "prose";
    frame.append(words, quote);
    this.#show(frame);
  }
}

async function get(url) {
  try {
    const answer = await fetch(url);
    return answer.ok ? answer : null;
  } catch (error) {
    if (error instanceof TypeError) return null; // no network
    throw error;
  }
}

// A box in shares of the page, from its top left.
function mark([left, top, right, bottom]) {
  const box = document.createElement("div");
  box.className = "cited box";
  Object.assign(box.style, {
    left: `${left * 100}%`, top: `${top * 100}%`,
    width: `${(right - left) * 100}%`, height: `${(bottom - top) * 100}%`,
  });
  return box;
}

function cite(frame, { block, rows }) {
  const element = frame.querySelector(`#block-${block}`);
  if (!element) return;
  if (!rows) return element.classList.add("cited");
  for (const row of element.querySelectorAll("[data-row]")) {
    const n = Number(row.dataset.row);
    if (n >= rows[0] && n <= rows[1]) row.classList.add("cited");
  }
}
