// Rules and alarms in words.

import { ago, number } from "../format.js";
import { plural } from "../plural.js";

export const SEVERITIES = ["critical", "warning", "info"];
const NAMED = 3; // devices, before "and 4 more"
const UNITS_OF_TIME = [["day", "days", 86_400], ["h", "h", 3600], ["min", "min", 60], ["s", "s", 1]];

const REASONS = {
  rule_changed: "The rule was changed",
  rule_off: "The rule was switched off",
  rule_deleted: "The rule was deleted",
  device_deactivated: "The device was deactivated",
};

// In the largest unit that needs no fraction: 600 is "10 min", 5400 is "90 min", 86,400 is "1 day".
export function duration(seconds) {
  const [one, many, length] = UNITS_OF_TIME.find(([, , length]) => seconds >= length && seconds % length === 0) ?? UNITS_OF_TIME.at(-1);
  return `${seconds / length} ${plural(seconds / length, one, many)}`;
}

// About how long something took, in at most two units: "3 min 20 s", "2 days 4 h".
export function about(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const first = UNITS_OF_TIME.findIndex(([, , length]) => whole >= length);
  if (first < 0) return "0 s";
  let rest = whole;
  const parts = UNITS_OF_TIME.slice(first, first + 2).map(([one, many, length]) => {
    const count = Math.floor(rest / length);
    rest -= count * length;
    return count ? `${count} ${plural(count, one, many)}` : "";
  });
  return parts.filter(Boolean).join(" ");
}

const NO_BREAK = "\u00a0"; // before a unit

// A bound, with the decimals that it has, and the unit of the metric.
export function bound(value, metric, catalogue) {
  return [number(value), catalogue.unit(metric)].filter(Boolean).join(NO_BREAK);
}

// A value that was measured, as the catalogue has it.
export function quantity(value, metric, catalogue) {
  return [catalogue.number(metric, value), catalogue.unit(metric)].filter(Boolean).join(NO_BREAK);
}

// The condition of a rule, as the API returns it: "temperature above 30 °C for 10 min". `catalogue`: of metrics.js.
export function condition(rule, catalogue) {
  const metric = rule.metric ? catalogue.label(rule.metric) : null;
  const value = (one) => bound(one, rule.metric, catalogue);
  if (rule.kind === "silence") {
    const what = metric ? `no ${metric}` : "nothing";
    return rule.seconds ? `${what} received for ${duration(rule.seconds)}` : `${what} received for 5 report intervals`;
  }
  if (rule.kind === "stuck") {
    const within = rule.tolerance ? ` by more than ${value(rule.tolerance)}` : "";
    return `${metric} has not changed${within} for ${duration(rule.seconds)}`;
  }
  if (rule.kind === "rate") return `${metric} changes by more than ${value(rule.change)} within ${duration(rule.per)}`;
  const bounds = [["above", rule.above], ["below", rule.below]].filter(([, limit]) => limit !== null && limit !== undefined);
  const time = rule.for ? ` for ${duration(rule.for)}` : "";
  return `${metric} ${bounds.map(([side, limit]) => `${side} ${value(limit)}`).join(" or ")}${time}`;
}

// The devices a rule applies to: "all devices", "mote-1", "mote-1, mote-2, mote-3 and 2 more".
export function appliesTo({ devices = [], tags = [] }) {
  if (tags.length) return `devices tagged ${tags.join(" and ")}`;
  if (!devices.length) return "all devices";
  const more = devices.length - NAMED;
  return more > 0 ? `${devices.slice(0, NAMED).join(", ")} and ${more} more` : devices.join(", ");
}

// The values of an alarm: "Temperature 31.5 °C, at worst 35 °C". Of a silence only the metric, if it is about one.
export function values({ metric, value, worst }, catalogue) {
  const name = metric ? capital(catalogue.label(metric)) : "";
  if (value === null) return name;
  const opened = `${name} ${quantity(value, metric, catalogue)}`;
  return worst === null || worst === value ? opened : `${opened}, at worst ${quantity(worst, metric, catalogue)}`;
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// How long the condition of an open alarm has held: "since 7 h".
export const since = ({ began_at: began }, now = Date.now()) => `since ${ago(Date.parse(began), now).replace("just now", "now").replace(" ago", "")}`;

// How a resolved alarm ended; empty if its condition ended.
export const ending = ({ reason }) => REASONS[reason] ?? "";

export function acknowledgement({ acknowledged_by: by, comment }) {
  if (!by) return "";
  return comment ? `${by}: ${comment}` : `Acknowledged by ${by}`;
}
