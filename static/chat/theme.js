// Loaded before the page is drawn, so that it never flashes. The key is the admin's own.
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "auto";
