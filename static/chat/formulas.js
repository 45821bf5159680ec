// Formulas are drawn by KaTeX, which is loaded when the first one is seen.
import { config } from "./strings.js";

const OPTIONS = { trust: false, strict: "ignore", maxSize: 20, maxExpand: 200 };
let loading = null;

export async function drawFormulas(root) {
  const found = [...root.querySelectorAll(".math, pre.formula > code")];
  if (!found.length) return;
  loading ??= load();
  if (!(await loading)) return; // the TeX is there to read
  for (const element of found) draw(element);
}

function draw(element) {
  const tex = element.textContent;
  const displayMode = !element.matches("span.math:not(.display)");
  try {
    globalThis.katex.render(tex, element, { ...OPTIONS, displayMode });
    if (displayMode) element.tabIndex = 0; // a wide one is scrolled by keyboard
  } catch (error) {
    if (!(error instanceof globalThis.katex.ParseError)) throw error;
    element.classList.add("unread");
    element.textContent = tex;
  }
}

async function load() {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = config.katex.style;
  document.head.append(style);
  return import(config.katex.script).then(() => true, () => false);
}
