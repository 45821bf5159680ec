// What calls an agent who looks elsewhere: the title, and for who wants it sound and a notice.
import { lasting } from "../chat/stored.js";
import { say } from "../chat/strings.js";

const KEY = "console.notify";

export class Alerts {
  #title = document.title;

  constructor(button) {
    this.button = button;
    button.addEventListener("click", () => this.#switch());
    this.#show();
  }

  get #on() {
    return lasting.get(KEY) === "on";
  }

  count(unread) {
    document.title = unread ? `(${unread}) ${this.#title}` : this.#title;
  }

  tell(title, body) {
    if (!this.#on) return;
    beep();
    if (window.Notification?.permission !== "granted" || document.hasFocus()) return;
    const notice = new Notification(title, { body: body.slice(0, 80), tag: "opsdesk" });
    notice.onclick = () => window.focus();
  }

  async #switch() {
    lasting.set(KEY, this.#on ? "off" : "on");
    this.#show();
    if (!this.#on) return;
    beep();
    if (window.Notification?.permission === "default") await Notification.requestPermission();
  }

  #show() {
    this.button.ariaPressed = String(this.#on);
    this.button.title = say(this.#on ? "notify.on" : "notify.off");
  }
}

let audio = null;

// Made here: no file to fetch, and quiet.
function beep() {
  audio ??= new AudioContext();
  const [tone, volume] = [audio.createOscillator(), audio.createGain()];
  tone.frequency.value = 880;
  volume.gain.setValueAtTime(0.08, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.25);
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.25);
}
