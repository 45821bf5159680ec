// Screenshots and logs that go with the next message: chosen, pasted or dropped, sent ahead.
import { clone, config, say } from "./strings.js";

const { url, number } = config.uploads;

export class Attachments {
  #items = new Set(); // {element, upload: as the server has it, null on its way}

  constructor(list, { onChange }) {
    this.list = list;
    this.onChange = onChange;
  }

  // Those that are there.
  get uploads() {
    return [...this.#items].map(({ upload }) => upload).filter(Boolean);
  }

  get busy() {
    return [...this.#items].some(({ request }) => request);
  }

  // All have arrived, none failed.
  get whole() {
    return [...this.#items].every(({ upload }) => upload);
  }

  get empty() {
    return !this.#items.size;
  }

  // Files to send; what is one too many is not taken.
  add(files) {
    for (const file of files) {
      const item = this.#show(file.name);
      if (this.#items.size > number) this.#fail(item, say("file.many", { number }));
      else this.#send(item, file);
    }
  }

  // What a draft held.
  restore(uploads) {
    this.clear();
    for (const upload of uploads) this.#done(this.#show(upload.name), upload);
  }

  clear() {
    for (const { request } of this.#items) request?.abort();
    this.#items.clear();
    this.list.replaceChildren();
    this.#changed();
  }

  #show(name) {
    const element = clone("t-file");
    const item = { element, upload: null, request: null };
    element.querySelector(".name").textContent = name;
    const remove = element.querySelector(".remove");
    remove.ariaLabel = say("file.remove", { name });
    remove.addEventListener("click", () => this.#remove(item));
    this.#items.add(item);
    this.list.append(element);
    return item;
  }

  #send(item, file) {
    const request = new XMLHttpRequest(); // fetch tells no progress
    const form = new FormData();
    form.append("file", file, file.name);
    const progress = item.element.querySelector("progress");
    progress.ariaLabel = file.name;
    request.upload.onprogress = ({ loaded, total }) => (progress.value = loaded / total);
    request.onload = () => this.#answered(item, request);
    request.onerror = () => this.#fail(item, say("file.failed"));
    request.open("POST", config.embedded ? `${url}?site=${config.embedded.site}` : url);
    request.setRequestHeader("X-CSRFToken", config.csrf);
    request.responseType = "json";
    item.request = request;
    request.send(form);
    this.#changed();
  }

  #answered(item, { status, response }) {
    if (status === 201) this.#done(item, response);
    else this.#fail(item, response?.detail ?? say("file.failed"));
  }

  #done(item, upload) {
    Object.assign(item, { upload, request: null });
    item.element.querySelector("progress").hidden = true;
    if (upload.kind === "picture") {
      const image = new Image();
      image.alt = "";
      image.src = upload.url;
      item.element.querySelector(".thumb").replaceChildren(image);
    }
    this.#changed();
  }

  #fail(item, sentence) {
    item.request = null;
    item.element.querySelector("progress").hidden = true;
    item.element.querySelector(".wrong").textContent = sentence;
    this.#changed();
  }

  #remove(item) {
    item.request?.abort();
    if (item.upload) {
      fetch(item.upload.url, { method: "DELETE", headers: { "X-CSRFToken": config.csrf } })
        .catch(() => {}); // the server clears away what is never sent
    }
    this.#items.delete(item);
    item.element.remove();
    this.#changed();
  }

  #changed() {
    this.list.hidden = this.empty;
    this.onChange();
  }
}
