// Keeps the newest in view without taking out of it where to read from.
const NEAR = 60; // px

export class Scroll {
  #sticking = true;
  #target = 0;

  constructor(view, button, anchor) {
    this.view = view;
    this.button = button;
    this.anchor = anchor;
    view.addEventListener("scroll", () => this.#moved(), { passive: true });
    button.addEventListener("click", () => this.stick());
    new ResizeObserver(() => this.#sticking && this.follow()).observe(view);
  }

  // From now on the newest is followed.
  stick() {
    this.#sticking = true;
    this.follow();
  }

  follow() {
    if (!this.#sticking) {
      this.button.hidden = false;
      return;
    }
    const { view } = this;
    const bottom = view.scrollHeight - view.clientHeight;
    const anchor = this.anchor();
    this.#target = anchor ? Math.min(bottom, anchor.offsetTop - 8) : bottom;
    view.scrollTop = this.#target;
    this.button.hidden = true;
  }

  #moved() {
    const { scrollTop, scrollHeight, clientHeight } = this.view;
    const atBottom = scrollHeight - clientHeight - scrollTop < NEAR;
    this.#sticking = atBottom || Math.abs(scrollTop - this.#target) < NEAR;
    if (this.#sticking) this.button.hidden = true;
  }
}
