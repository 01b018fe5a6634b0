// Numbers and times as the pages show them.

export function number(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e7)) return value.toExponential(3);
  return value.toLocaleString("en", { maximumFractionDigits: size < 10 ? 3 : size < 1000 ? 2 : 1 });
}

// For statistics, which have more digits than a reader needs.
export function rounded(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e7)) return value.toExponential(2);
  return value.toLocaleString("en", { maximumFractionDigits: size < 10 ? 3 : size < 1000 ? 1 : 0 });
}

export const whole = (value) => value.toLocaleString("en");
export const short = (value) => value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 4 });
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
