// One key for what is done all day; none while somebody writes.
export function shortcuts(does) {
  const keys = {
    j: does.next, k: does.previous, a: does.take, r: does.reply, n: does.note,
    t: () => does.press("transfer"), z: () => does.press("snooze"), e: () => does.press("resolve"),
    s: does.search, d: does.draft, "?": does.help,
  };
  document.addEventListener("keydown", (event) => {
    const { key, target, isComposing, ctrlKey, metaKey, altKey } = event;
    if (isComposing || ctrlKey || metaKey || altKey || document.querySelector("dialog[open]")) return;
    const writing = target.matches("input, textarea, select");
    if (writing) return key === "Escape" ? target.blur() : undefined;
    const act = "12345".includes(key) ? () => does.queue(Number(key) - 1) : keys[key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
