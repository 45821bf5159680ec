// As the system, light, dark, and round again. theme.js applies the choice on the next load.
const ORDER = ["auto", "light", "dark"];

export function themeButton(button) {
  const root = document.documentElement;
  button.addEventListener("click", () => {
    const next = ORDER[(ORDER.indexOf(root.dataset.theme) + 1) % ORDER.length];
    root.dataset.theme = next;
    localStorage.setItem("theme", next);
  });
}
