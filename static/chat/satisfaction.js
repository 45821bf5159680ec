// The customer's word on how a person helped: five stars and a comment, changeable for a day.
import { say } from "./strings.js";

export class Satisfaction {
  #given = null; // {score, comment, open} as the server has it
  #changing = false;

  constructor(form, { onRate }) {
    this.form = form;
    this.comment = form.querySelector(".comment");
    this.thanks = form.querySelector(".thanks");
    form.addEventListener("change", () => (this.comment.hidden = false));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const { score, comment } = form.elements;
      this.#changing = false;
      onRate({ score: Number(score.value), comment: comment.value.trim() });
    });
    this.thanks.querySelector("button").addEventListener("click", () => {
      this.#changing = true;
      this.#draw();
    });
  }

  // Null hides it: nothing was resolved by a person, or it is long ago.
  show(given) {
    if (JSON.stringify(given) === JSON.stringify(this.#given)) return; // it may be half filled in
    this.#given = given;
    if (given) this.#fill(given);
    this.#draw();
  }

  #fill({ score, comment }) {
    this.form.elements.score.value = score ?? "";
    if (!score) for (const radio of this.form.elements.score) radio.checked = false;
    this.form.elements.comment.value = comment;
  }

  #draw() {
    this.form.hidden = !this.#given;
    if (!this.#given) return;
    const { score, open } = this.#given;
    const told = Boolean(score) && !this.#changing;
    this.form.querySelector(".scores").hidden = told;
    this.comment.hidden = told || !score;
    this.thanks.hidden = !told;
    this.thanks.querySelector("span").textContent = score ? say("rated", { score }) : "";
    this.thanks.querySelector("button").hidden = !open;
  }
}
