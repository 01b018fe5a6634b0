// The blanks of a rule's sentence, and the rule that they say. Blanks are texts, as people type them.

export const UNITS = { s: 1, min: 60, h: 3600, days: 86_400 };

const EMPTY = {
  kind: "threshold", severity: "warning", metric: "temperature", side: "above", above: "", below: "",
  for: "0", forUnit: "min", margin: "0", clear: "0", clearUnit: "min",
  whose: "offline", seconds: "10", secondsUnit: "min", tolerance: "0", change: "", per: "10", perUnit: "min",
};

// Three rules to begin with, which most fleets need.
export const READY_MADE = {
  silent: { name: "Silent", kind: "silence", severity: "critical", metric: "", whose: "offline" },
  range: {
    name: "Out of range", kind: "threshold", metric: "temperature", side: "outside", above: "30", below: "5", for: "10", margin: "1", clear: "5",
  },
  battery: { name: "Battery low", kind: "threshold", metric: "voltage", side: "below", below: "3.4", for: "30", margin: "0.1", clear: "30" },
};

export const blank = (given = {}) => ({ ...EMPTY, ...given });

// 600 is ["10", "min"]: the largest unit without a fraction.
export function split(seconds) {
  const [unit, length] = Object.entries(UNITS).reverse().find(([, length]) => seconds >= length && seconds % length === 0) ?? ["min", 60];
  return [String(seconds / length), unit];
}

// The blanks of a rule as the API returns it.
export function fieldsOf(rule) {
  const text = (value) => (value === null || value === undefined ? "" : String(value));
  const fields = blank({ kind: rule.kind, severity: rule.severity, metric: rule.metric ?? "" });
  const time = (name, seconds) => ([fields[name], fields[`${name}Unit`]] = split(seconds ?? 0));
  Object.assign(fields, {
    above: text(rule.above), below: text(rule.below), margin: text(rule.clear_margin ?? 0), tolerance: text(rule.tolerance ?? 0), change: text(rule.change),
    side: rule.above === null ? "below" : rule.below === null ? "above" : "outside",
    whose: rule.kind === "silence" && rule.seconds === null ? "offline" : "seconds",
  });
  time("for", rule.for);
  time("clear", rule.clear_for);
  if (rule.seconds !== null) time("seconds", rule.seconds);
  if (rule.per !== null) time("per", rule.per);
  return fields;
}

// { rule, missing }: the part of the rule that decides, for the API, and the names of the blanks that are empty or no number.
export function ruleOf(fields) {
  const missing = [];
  const value = (name) => {
    const text = fields[name].trim().replace(",", ".");
    const found = Number(text);
    if (text === "" || !Number.isFinite(found)) missing.push(name);
    return found;
  };
  const time = (name) => Math.round(value(name) * UNITS[fields[`${name}Unit`]]);
  const rule = { kind: fields.kind, severity: fields.severity };
  const clearing = () => ({ clear_for: time("clear") });
  if (fields.metric) rule.metric = fields.metric;
  else if (fields.kind !== "silence") missing.push("metric");
  if (fields.kind === "threshold") {
    if (fields.side !== "below") rule.above = value("above");
    if (fields.side !== "above") rule.below = value("below");
    Object.assign(rule, { for: time("for"), clear_margin: value("margin"), ...clearing() });
  } else if (fields.kind === "silence") {
    if (fields.whose === "seconds") rule.seconds = time("seconds");
  } else if (fields.kind === "stuck") {
    Object.assign(rule, { seconds: time("seconds"), tolerance: value("tolerance") });
  } else {
    Object.assign(rule, { change: value("change"), per: time("per"), ...clearing() });
  }
  return { rule, missing };
}

// What a PATCH has to send besides, so that a bound that was removed is removed.
export const cleared = (rule) => ({ ...EMPTIED[rule.kind], ...rule });
const EMPTIED = { threshold: { above: null, below: null }, silence: { metric: null, seconds: null }, stuck: {}, rate: {} };

// The blanks that a field of the API is about.
export const BLANKS = {
  metric: "metric", above: "above", below: "below", for: "for", clear_margin: "margin", clear_for: "clear", seconds: "seconds",
  tolerance: "tolerance", change: "change", per: "per", name: "name", text: "text", devices: "devices", tags: "tags", severity: "severity",
};
