// What is done in a moment, so that it can be taken back: a reply that was read cannot.
const HOLD = 5_000; // ms

export class Held {
  #run = null;
  #timer = 0;

  constructor(box) {
    this.box = box;
    box.querySelector(".undo").addEventListener("click", () => this.#end());
    box.querySelector(".now").addEventListener("click", () => this.flush());
    addEventListener("pagehide", () => this.flush());
  }

  // Says `sentence`, and runs after a moment unless that is taken back.
  hold(sentence, run) {
    this.flush();
    this.box.querySelector("span").textContent = sentence;
    this.box.hidden = false;
    this.#run = run;
    this.#timer = setTimeout(() => this.flush(), HOLD);
  }

  // What waits is done now.
  flush() {
    const run = this.#run;
    this.#end();
    run?.();
  }

  #end() {
    clearTimeout(this.#timer);
    this.#run = null;
    this.box.hidden = true;
  }
}
