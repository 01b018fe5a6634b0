// Numbers and times as the pages show them.

// Integers are exact up to 2^53, which is a little less than this, so none of them is shown rounded.
const EXPONENT_FROM = 1e16;
const EXPONENT_BELOW = 1e-6;

// Every digit before the point, and `decimals` after it; null: as many as a reader needs. `shown` in devices/metrics.py is
// the same.
export function number(value, decimals = null) {
  const size = Math.abs(value);
  if (size >= EXPONENT_FROM || (decimals === null && size > 0 && size < EXPONENT_BELOW)) return withExponent(value, 4).replace(/\.?0+e/, "e");
  if (decimals !== null) {
    const text = value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    return /[1-9]/.test(text) ? text : text.replace("-", ""); // no minus before a zero
  }
  if (size === 0) return "0"; // also -0
  if (size < 1) return value.toLocaleString("en", { maximumSignificantDigits: 4 });
  return value.toLocaleString("en", { maximumFractionDigits: size < 10 ? 3 : size < 1000 ? 2 : 1 });
}

// 1.25e-7, 1.0e300.
export const withExponent = (value, decimals) => value.toExponential(decimals).replace("e+", "e");

const UNITS = [["d", 86_400], ["h", 3600], ["min", 60]];

// A length of time: 30 s, 5 min, 2 h, 7 d.
export function duration(seconds) {
  const [unit, size] = UNITS.find(([, size]) => seconds >= size && seconds % size === 0) ?? ["s", 1];
  return `${whole(seconds / size)} ${unit}`;
}

export const whole = (value) => value.toLocaleString("en");
export const metricName = (metric) => metric.replaceAll("_", " ");

// The exact moment, for tooltips: 2026-05-09 12:00:00 UTC.
export const utc = (moment) => `${new Date(moment).toISOString().slice(0, 19).replace("T", " ")} UTC`;

export function ago(moment, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - moment) / 1000));
  if (seconds < 5) return "just now";
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86_400)} days ago`;
}

// In the reader's time zone. Without the year if it is this year; seconds only if asked for.
export function localMoment(moment, { seconds = false } = {}) {
  return new Date(moment).toLocaleString("en-GB", {
    day: "numeric", month: "short", year: new Date(moment).getFullYear() === new Date().getFullYear() ? undefined : "numeric",
    hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined, hourCycle: "h23",
  });
}
