// A field of a topic between its row and its JSON Schema. What the rows do not know is kept.

const FORMATS = ["version", "date", "error"];
const KIND_KEYS = ["enum", "x-synonyms", "pattern", "format", "type"];

export function kindOf(field) {
  if (field.enum) return "choice";
  if (field.pattern !== undefined) return "pattern";
  if (field.type === "number" || field.type === "integer") return "number";
  return FORMATS.includes(field.format) ? field.format : "text";
}

// Names as the rows stand: required ones as they are asked for, then the others.
export function ordered(schema) {
  const known = Object.keys(schema.properties);
  const listed = [schema.required, schema["x-order"]].filter(Array.isArray).flat();
  return [...new Set([...listed, ...known])].filter((name) => known.includes(name));
}

export function take(field, key, value) {
  const empty = value === undefined || value === "" || (Array.isArray(value) && !value.length);
  if (empty) delete field[key];
  else field[key] = value;
}

// Makes a field one of another kind; what the row still shows of that kind comes back.
export function put(field, kind, row) {
  for (const key of KIND_KEYS) delete field[key];
  const shown = (name) => row.querySelector(`[data-of=${name}]`).value;
  if (kind === "choice") Object.assign(field, choices(shown("choices")));
  else if (kind === "number") field.type = "number";
  else {
    field.type = "string";
    if (kind === "pattern") field.pattern = shown("pattern");
    if (FORMATS.includes(kind)) field.format = kind;
  }
}

export const apart = (text) => text.split(/[,，、;；]/).map((one) => one.trim()).filter(Boolean);

// "production = live, prod", a choice a line.
export function choices(text) {
  const made = { enum: [], "x-synonyms": {} };
  for (const line of text.split("\n")) {
    const [choice, ...others] = line.split(/[=＝]/);
    if (!choice.trim() || made.enum.includes(choice.trim())) continue;
    made.enum.push(choice.trim());
    const words = apart(others.join(","));
    if (words.length) made["x-synonyms"][choice.trim()] = words;
  }
  return made;
}

export function together(field) {
  const others = field["x-synonyms"] ?? {};
  const line = (one) => (others[one]?.length ? `${one} = ${others[one].join(", ")}` : `${one}`);
  return Array.isArray(field.enum) ? field.enum.map(line).join("\n") : "";
}
