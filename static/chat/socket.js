// A WebSocket that comes back by itself. Events: "open", "close", "message" (detail: the object).
const FIRST_WAIT = 400; // ms, doubled after every failure, with jitter
const LONGEST_WAIT = 10_000;
const PING_EVERY = 20_000;
const SILENCE = 50_000; // without a word for this long the connection is dead

export class Socket extends EventTarget {
  #socket = null;
  #wait = FIRST_WAIT;
  #timer = 0;
  #heard = 0;

  constructor(path) {
    super();
    this.url = new URL(path, location.href);
    this.url.protocol = location.protocol.replace("http", "ws");
    addEventListener("online", () => this.open());
    addEventListener("offline", () => this.#socket?.close());
    document.addEventListener("visibilitychange", () => document.hidden || this.open());
    setInterval(() => this.#beat(), PING_EVERY);
  }

  open() {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#wait = FIRST_WAIT;
      this.#heard = Date.now();
      this.dispatchEvent(new Event("open"));
    };
    socket.onmessage = ({ data }) => {
      this.#heard = Date.now();
      this.dispatchEvent(new CustomEvent("message", { detail: JSON.parse(data) }));
    };
    socket.onclose = () => this.#lost(socket);
  }

  // Whether it went out; what did not is the caller's to send again after "open".
  send(object) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(object));
    return true;
  }

  #lost(socket) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    this.#timer = setTimeout(() => this.open(), this.#wait * (0.5 + Math.random()));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    this.dispatchEvent(new Event("close"));
  }

  #beat() {
    if (!this.send({ type: "ping" })) return;
    if (Date.now() - this.#heard < SILENCE) return;
    const socket = this.#socket;
    socket.close(); // a dead peer never answers the closing handshake
    this.#lost(socket);
  }
}
