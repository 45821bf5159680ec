// The chat of OpsDesk in a page of another site:
// <script async src="https://…/widget.js" data-site="KEY"></script>
(() => {
  const { currentScript: tag } = document;
  if (!tag || window.OpsDesk) return;
  const SAID = {{ strings|safe }};
  const PATIENCE = 15000; // ms for the frame to show itself
  const { origin } = new URL(tag.src);
  const { site, base = "", position = "right", colour = "#0f766e", theme = "", title } = tag.dataset;
  const language = language_();
  const say = (key, count) => SAID[language][key].replace("%(count)s", count);
  const name = title || say("title");

  const CSS = `
    :host { all: initial !important; } /* whatever the page says of its own elements */
    button { position: fixed; bottom: 20px; ${position === "left" ? "left" : "right"}: 20px; z-index: 2147483000;
      width: 56px; height: 56px; padding: 0; border: 0; border-radius: 50%; cursor: pointer;
      box-shadow: 0 2px 6px rgb(0 0 0 / 25%), 0 8px 24px rgb(0 0 0 / 18%); }
    button:focus-visible { outline: 3px solid currentColor; outline-offset: -6px; }
    svg { width: 28px; height: 28px; vertical-align: middle; }
    .badge { position: absolute; top: -2px; right: -2px; min-width: 20px; padding: 0 5px; border-radius: 10px;
      background: #b3261e; color: #fff; font: 600 12px/20px system-ui, sans-serif; box-sizing: border-box; }
    [hidden] { display: none !important; }
    .panel { position: fixed; bottom: 88px; ${position === "left" ? "left" : "right"}: 20px; z-index: 2147483001;
      width: 400px; max-width: calc(100vw - 40px); height: min(640px, calc(100dvh - 108px));
      border-radius: 12px; overflow: hidden; background: #fff; box-shadow: 0 8px 40px rgb(0 0 0 / 30%); }
    iframe { display: block; width: 100%; height: 100%; border: 0; }
    p { margin: 0; padding: 24px; color: #1d2529; font: 15px/1.6 system-ui, sans-serif; }
    @media (max-width: 480px), (max-height: 480px) { /* a phone, either way up, or a small frame */
      .panel { inset: 0; width: 100%; max-width: none; height: 100%; border-radius: 0; }
    }`;
  const ICON = "M4 5h16v11H9l-5 4z";

  let frame = null;
  let identity; // a token, or a function that gives or promises one
  const host = document.createElement("div");
  host.id = "opsdesk-widget";
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet(); // a page whose policy forbids inline styles allows this
  sheet.replaceSync(CSS);
  root.adoptedStyleSheets = [sheet];

  const panel = document.createElement("div");
  panel.className = "panel";
  panel.id = "panel";
  panel.hidden = true;
  const launcher = document.createElement("button");
  launcher.type = "button";
  launcher.setAttribute("aria-controls", "panel");
  launcher.setAttribute("aria-haspopup", "dialog");
  const badge = document.createElement("span");
  badge.className = "badge";
  badge.hidden = true;
  launcher.append(icon(), badge);
  panel.role = "dialog";
  panel.ariaLabel = name;
  root.append(launcher, panel);

  function language_() {
    const wanted = (tag.dataset.language || document.documentElement.lang || navigator.language).toLowerCase();
    const found = Object.keys(SAID).find((one) => one === wanted || one.split("-")[0] === wanted.split("-")[0]);
    return found ?? Object.keys(SAID)[0];
  }

  function icon() {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", ICON);
    path.setAttribute("fill", "none");
    path.setAttribute("stroke", "currentColor");
    path.setAttribute("stroke-width", "2");
    path.setAttribute("stroke-linejoin", "round");
    svg.append(path);
    return svg;
  }

  // The site's colour, and black or white on it, whichever is read better.
  function paint() {
    launcher.style.backgroundColor = "#0f766e";
    launcher.style.backgroundColor = colour; // a wrong one is not taken
    const [r, g, b] = getComputedStyle(launcher).backgroundColor.match(/[\d.]+/g).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    launcher.style.color = 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff";
  }

  function label(count = 0) {
    const open = !panel.hidden;
    launcher.ariaLabel = open ? say("close") : count ? say("unread", count) : say("open");
    launcher.ariaExpanded = String(open);
    badge.textContent = count > 99 ? "99+" : count;
    badge.hidden = open || !count;
  }

  function load() {
    frame = document.createElement("iframe");
    frame.title = name;
    frame.allow = "clipboard-write";
    const asked = { origin: location.origin, language, base, theme, title: title || "" };
    frame.src = `${origin}/embed/${encodeURIComponent(site)}/?${new URLSearchParams(asked)}`;
    panel.append(frame);
    frame.waiting = setTimeout(missing, PATIENCE);
  }

  function missing() {
    const words = document.createElement("p");
    words.textContent = say("missing");
    panel.replaceChildren(words);
    frame = null;
  }

  function tell(kind, more = {}) {
    if (frame?.ready) frame.contentWindow?.postMessage({ opsdesk: kind, ...more }, origin);
  }

  function open() {
    if (!panel.hidden) return;
    panel.hidden = false;
    label();
    if (!frame) {
      panel.replaceChildren();
      load();
    }
    frame.focus();
    tell("shown");
  }

  function close() {
    if (panel.hidden) return;
    panel.hidden = true;
    label();
    tell("hidden");
    launcher.focus();
  }

  async function token() {
    identity ??= window.opsdeskIdentity;
    try {
      return String((typeof identity === "function" ? await identity() : identity) ?? "");
    } catch (error) {
      console.error("OpsDesk: who the visitor is could not be told:", error);
      return "";
    }
  }

  const heard = {
    ready() {
      clearTimeout(frame.waiting);
      frame.ready = true; // before, what is told would reach no page of ours
      tell(panel.hidden ? "hidden" : "shown");
    },
    async identity() {
      tell("identity", { token: await token() });
    },
    unread({ count }) {
      label(Number(count) || 0);
    },
    close,
  };

  addEventListener("message", (event) => {
    if (!frame || event.origin !== origin || event.source !== frame.contentWindow) return;
    const kind = event.data?.opsdesk;
    if (Object.hasOwn(heard, kind)) heard[kind](event.data);
  });
  addEventListener("keydown", ({ key, isComposing }) => key === "Escape" && !isComposing && close());
  launcher.addEventListener("click", () => (panel.hidden ? open() : close()));

  function start() {
    document.documentElement.append(host); // beside the body: a transformed one would take it along
    paint();
    label();
  }

  window.OpsDesk = {
    open, close,
    // Who the visitor is from now on: a token, or a function that gives or promises one.
    identify(source) {
      identity = source;
      tell("identify");
    },
  };
  if (document.body) start();
  else addEventListener("DOMContentLoaded", start);
})();
