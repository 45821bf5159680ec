// Loaded before the page is drawn, so that it never flashes. The key is the admin's own.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch (error) {
    if (error.name !== "SecurityError") throw error; // a frame that may keep nothing
  }
  chosen ??= new URLSearchParams(location.search).get("theme");
  const known = ["light", "dark"].includes(chosen);
  document.documentElement.dataset.theme = known ? chosen : "auto";
})();
