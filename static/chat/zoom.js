// A picture over the whole window: fitted, or at its own size.
export class Zoom {
  constructor(dialog) {
    this.dialog = dialog;
    this.image = dialog.querySelector("img");
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.querySelector(".picture").addEventListener("click", () =>
      dialog.classList.toggle("full"));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  open({ src, alt }) {
    this.image.src = src;
    this.image.alt = alt;
    this.dialog.querySelector("p").textContent = alt;
    this.dialog.classList.remove("full");
    this.dialog.showModal();
  }
}
