// What was written and not sent, of each conversation; of the latest few.
import { lasting } from "./stored.js";

const KEY = "drafts";
const KEPT = 20;

export function draft(conversation) {
  const [, found] = all().find(([of]) => of === conversation) ?? [];
  return found ?? { text: "", uploads: [] };
}

export function keepDraft(conversation, text, uploads) {
  const others = all().filter(([of]) => of !== conversation);
  const empty = !text && !uploads.length;
  lasting.write(KEY, empty ? others : [[conversation, { text, uploads }], ...others].slice(0, KEPT));
}

const all = () => lasting.read(KEY) ?? [];
