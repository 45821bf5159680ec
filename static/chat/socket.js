// A WebSocket that comes back by itself. Events: "open", "close", "message" (detail: the object),
// "refused" (detail: the code), after which it stays away.
const FIRST_WAIT = 400; // ms, doubled after every failure, with jitter
const LONGEST_WAIT = 10_000;
const PING_EVERY = 20_000;
const REFUSED = [4401, 4403, 4404]; // coming back changes nothing
const SILENCE = 50_000; // without a word for this long the connection is dead

export class Socket extends EventTarget {
  #socket = null;
  #wait = FIRST_WAIT;
  #timer = 0;
  #heard = 0;

  #refused = false;

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
    if (this.#socket || this.#refused) return;
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
    socket.onclose = ({ code }) => this.#lost(socket, code);
  }

  // With what the browser knows of who asks by now.
  again() {
    const socket = this.#socket;
    if (!socket) return this.open();
    this.#socket = null;
    socket.close();
    this.open();
  }

  // Whether it went out; what did not is the caller's to send again after "open".
  send(object) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(object));
    return true;
  }

  #lost(socket, code) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    this.#refused = REFUSED.includes(code);
    if (this.#refused) return this.dispatchEvent(new CustomEvent("refused", { detail: code }));
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
